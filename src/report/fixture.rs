//! Runs made by hand, for tests.

use super::read::{RunRecord, Status};
use crate::analysis::token_shift::{ResponseShift, TokenShift};
use crate::config::Config;
use crate::eval::Score;
use crate::metrics::StepReport;
use crate::run::{Evaluation, SampledEpisode, SampledGroup};
use std::collections::BTreeMap;

/// A config of settings `section.key=value`.
pub fn config(settings: &[&str]) -> Config {
    let layers: Vec<_> = settings.iter().map(|s| Config::setting(s).unwrap()).collect();
    Config::resolve(&layers).unwrap()
}

/// A finished run of `steps` equal, uneventful steps, without evaluations and samples.
pub fn run(name: &str, steps: u32) -> RunRecord {
    let report = |step| StepReport {
        step,
        lr: 8e-4,
        loss: -0.5,
        loss_sft: 0.1,
        loss_self: -0.6,
        grad_norm: 0.5,
        reward: Some(0.2),
        accuracy: Some(0.6),
        reward_demo: Some(1.0),
        advantage_demo: Some(0.4),
        groups_all_right: Some(0.2),
        groups_all_wrong: Some(0.1),
        entropy: Some(0.3),
        entropy_demo: Some(0.2),
        w_sft: Some(0.41),
        w_rl: Some(0.13),
        clip_share: Some(0.0),
        response_tokens: Some(12.5),
        truncated_share: Some(0.0),
        rollout_tokens: 1000,
        trained_tokens: 1200,
        rollout_secs: 0.25,
        train_secs: 0.5,
        ..Default::default()
    };
    RunRecord {
        path: format!("runs/{name}").into(),
        name: name.into(),
        config: config(&[&format!("train.steps={}", steps.max(1))]),
        steps: (1..=steps).map(report).collect(),
        evaluations: Vec::new(),
        samples: Vec::new(),
        status: Status::Finished,
        diverged: None,
        summary: None,
        device: Some("CPU (flex)".into()),
        shift: None,
        dynamics: None,
        notes: Vec::new(),
    }
}

/// An evaluation of (suite, out of distribution, accuracy), each with an interval of 0.03 on either side.
pub fn evaluation(step: u32, suites: &[(&str, bool, f64)]) -> Evaluation {
    let score = |&(suite, ood, accuracy): &(&str, bool, f64)| Score {
        suite: suite.into(),
        ood,
        n: 200,
        samples: 1,
        accuracy,
        interval: [accuracy - 0.03, accuracy + 0.03],
        pass: accuracy,
        pass_interval: [accuracy - 0.03, accuracy + 0.03],
        rewards: BTreeMap::new(),
        unscored: 0,
    };
    Evaluation { step, eval_secs: 1.5, scores: suites.iter().map(score).collect() }
}

/// A group of rollouts, right (1) or wrong (−1), with a right demonstration.
pub fn group(step: u32, prompt: &str, responses: &[(&str, bool)]) -> SampledGroup {
    let episode = |&(response, right): &(&str, bool)| SampledEpisode {
        response: response.into(),
        reward: if right { 1.0 } else { -1.0 },
        right,
        truncated: false,
        ..SampledEpisode::default()
    };
    SampledGroup {
        step,
        suite: "add".into(),
        prompt: prompt.into(),
        answer: "4".into(),
        demonstration: Some("2+2>4".into()),
        demonstration_reward: Some(1.0),
        episodes: responses.iter().map(episode).collect(),
        ..SampledGroup::default()
    }
}

/// The token shift of one response of two tokens, the first of them `token`.
pub fn shift(token: &str) -> TokenShift {
    let response = ResponseShift {
        suite: "add".into(),
        prompt: "2+2=".into(),
        tokens: vec![token.into(), "<eos>".into()],
        before: vec![0.8, 0.1],
        after: vec![0.4, 0.2],
        delta_p: vec![-0.4, 0.1],
        delta_logp: vec![-0.69, 0.69],
    };
    TokenShift::new("tiny", "runs/a/best", vec![response])
}
