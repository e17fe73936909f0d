//! What a page and the trainer say to each other: one record a message, as JSON.
//!
//! `web/package/protocol.d.ts` is generated from this file; a test holds the two together. Bytes of
//! files travel beside a message, not in it.

use crate::error::{Error, Kind};
use crate::eval::Score;
use crate::metrics::StepReport;
use serde::{Deserialize, Serialize};

/// From the page.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Opens a device, tests its kernels and makes the runs; answered by `ready`.
    Start(Start),
    /// One step of every run, then pause.
    Step,
    /// Steps until paused, stopped or done.
    Resume,
    /// Stops after the present step; answered by `state`.
    Pause,
    /// Ends the runs; their weights are dropped. `start` or `load` begin anew.
    Stop,
    /// Evaluates the base and every run now; answered by an `evaluation` each.
    Evaluate {
        /// Suites by name; none: all.
        suites: Vec<String>,
        /// Problems a suite.
        examples: u32,
    },
    /// The base and every run answer a prompt; answered by `sample`.
    Ask {
        /// The prompt, for example `59+63=`.
        prompt: String,
        /// 0 is greedy.
        temperature: f64,
    },
    /// Takes a group of a run's last step apart; answered by `group`.
    Inspect {
        /// Which run.
        run: u32,
        /// Index of the prompt within the step.
        prompt: u32,
    },
    /// Packs the run folders into a file; answered by `saved` and its bytes.
    Save,
    /// Takes up the runs of a file, whose bytes come with the message; answered by `ready`.
    Load {
        /// `auto`, `cpu` or `webgpu`.
        device: String,
    },
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// `auto` (a real GPU, else the CPU), `cpu` or `webgpu` (a software adapter too).
    pub device: String,
    /// `section.key=value` for every run, over the preset that the device gets.
    pub settings: Vec<String>,
    /// The runs, in the order they are shown.
    pub runs: Vec<RunRequest>,
}

/// One run of several.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// `srft`, `sft`, `grpo`, …: see `srft config`.
    pub method: String,
    /// `section.key=value` for this run alone.
    pub settings: Vec<String>,
}

/// To the page.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The runs are there, paused.
    Ready(Ready),
    /// What the trainer is doing.
    State {
        /// Playing, paused, done or stopped.
        state: State,
        /// Steps that every run has done.
        step: u32,
    },
    /// A run has done a step.
    Step {
        /// Which run.
        run: u32,
        /// Its metrics: a line of `metrics.jsonl`.
        report: StepReport,
    },
    /// A run's view of the probes.
    Strip {
        /// Which run.
        run: u32,
        /// Steps done.
        step: u32,
        /// One a probe, in the order of `ready`.
        probes: Vec<TokenScores>,
        /// Mean |Δ ln p| from the base over all tokens of all probes, nats.
        shift: f64,
    },
    /// An evaluation: pass@1 by sampling.
    Evaluation {
        /// Which run; the base's where there is none.
        run: Option<u32>,
        /// Steps done; 0 is the base.
        step: u32,
        /// Suite by suite.
        scores: Vec<Score>,
        /// Asked for, rather than due by `eval.every`.
        asked: bool,
    },
    /// A group, taken apart.
    Group(GroupView),
    /// Answers to a prompt: the base's, then each run's.
    Sample {
        /// The prompt.
        prompt: String,
        /// The answers.
        answers: Vec<Answer>,
    },
    /// The runs as a file, whose bytes come with the message: a zip of run folders that
    /// `srft train --resume` takes up.
    Saved {
        /// A name for the file.
        name: String,
        /// Steps done.
        step: u32,
    },
    /// Something went wrong.
    Error(Complaint),
}

/// What the trainer is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Stepping.
    Playing,
    /// Waiting.
    Paused,
    /// Every run is at its last step.
    Done,
    /// There are no runs.
    Stopped,
}

/// What there is, before the first step.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Ready {
    /// Version of srft.
    pub version: String,
    /// Where it computes.
    pub adapter: AdapterView,
    /// Kernels that passed their self-test on it.
    pub self_test: Vec<String>,
    /// The runs.
    pub runs: Vec<RunView>,
    /// Steps of every run.
    pub steps: u32,
    /// Steps done: above 0 for runs that were loaded.
    pub step: u32,
    /// The base model's numbers.
    pub model: ModelView,
    /// Suites of the task.
    pub suites: Vec<SuiteView>,
    /// The responses of the token strip, scored by the base.
    pub probes: Vec<Probe>,
}

/// An adapter, for people.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct AdapterView {
    /// The vendor's name for it.
    pub name: String,
    /// `webgpu`, `flex` (the CPU), or natively vulkan, metal, dx12, gl.
    pub backend: String,
    /// Why this one.
    pub reason: String,
    /// A GPU, rather than the CPU or a GPU interface computed by the CPU.
    pub is_gpu: bool,
}

/// The model's size.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ModelView {
    /// Trainable numbers.
    pub parameters: u32,
    /// Transformer layers.
    pub layers: u32,
    /// Hidden width.
    pub hidden: u32,
    /// Entries of the vocabulary: ln of it is the largest entropy, nats.
    pub vocabulary: u32,
}

/// A run as it was resolved.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct RunView {
    /// Its method.
    pub method: String,
    /// `config.toml`: every setting with its meaning.
    pub config: String,
    /// The same as `section.key` → value, for controls.
    #[cfg_attr(test, ts(type = "Record<string, string | number | boolean>"))]
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// Its steps so far, where it was loaded.
    pub reports: Vec<StepReport>,
    /// Its evaluations so far, where it was loaded.
    pub evaluations: Vec<PastEvaluation>,
}

/// An evaluation on file.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct PastEvaluation {
    /// Steps done.
    pub step: u32,
    /// Suite by suite.
    pub scores: Vec<Score>,
}

/// A family of problems.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SuiteView {
    /// Name.
    pub name: String,
    /// Absent from fine-tuning.
    pub ood: bool,
    /// A problem of it.
    pub prompt: String,
    /// The teacher's response to that.
    pub demonstration: String,
}

/// A fixed response whose tokens are watched.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Probe {
    /// Suite of the problem, which is held out.
    pub suite: String,
    /// The problem.
    pub prompt: String,
    /// Who wrote the response: `teacher` or `base`.
    pub author: String,
    /// The response's tokens as text, end-of-text last.
    pub tokens: Vec<String>,
    /// What the base thinks of them.
    pub base: TokenScores,
}

/// What a model thinks of a response's tokens.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct TokenScores {
    /// ln π of each, nats.
    pub logprobs: Vec<f32>,
    /// Entropy of π where each is predicted, nats.
    pub entropies: Vec<f32>,
}

/// A prompt's group in a run's last step: before the update, and after it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct GroupView {
    /// Which run.
    pub run: u32,
    /// Its step, counted from 1.
    pub step: u32,
    /// Index of the prompt within the step.
    pub prompt: u32,
    /// Every prompt of the step, to choose from.
    pub prompts: Vec<PromptView>,
    /// The gold answer.
    pub answer: String,
    /// Rollouts, then the demonstration.
    pub members: Vec<Member>,
    /// Values of the settings that the formulas name.
    pub formula: FormulaView,
}

/// A prompt of a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct PromptView {
    /// Suite.
    pub suite: String,
    /// The prompt.
    pub text: String,
    /// Rollouts that the reward accepted.
    pub right: u32,
    /// Rollouts.
    pub rollouts: u32,
}

/// Switches and scales that stand in the formulas of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct FormulaView {
    /// Scale of w_SFT.
    pub sft_weight_scale: f64,
    /// Sign of H in w_SFT: −1, +1, or 0 where the weights are frozen.
    pub sft_weight_sign: f64,
    /// Scale of w_RL.
    pub self_weight_scale: f64,
    /// Sign of H in w_RL: +1, or 0 where the weights are frozen.
    pub self_weight_sign: f64,
    /// `sequence`, `token` or `batch`: over what the H of a weight is averaged.
    pub entropy_over: String,
    /// γ of f(p) = p / (p + γ); none: f(p) = p.
    pub shaping: Option<f64>,
    /// `none`, `signed` or `advantage`.
    pub self_term: String,
    /// PPO's clip range of the ratio below 1.
    pub clip_low: f64,
    /// PPO's clip range of the ratio above 1.
    pub clip_high: f64,
    /// Coefficient of the entropy bonus.
    pub entropy_coeff: f64,
    /// `token-mean`, `sequence-mean` or `sum-constant`.
    pub aggregate: String,
}

/// A rollout or the demonstration.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Member {
    /// `rollout` or `demonstration`.
    pub role: String,
    /// The response without end-of-text.
    pub response: String,
    /// What the reward gave.
    pub reward: f64,
    /// Cut by the length limit.
    pub truncated: bool,
    /// Â, Eq. 7.
    pub advantage: f64,
    /// Mean entropy of its tokens before the update, nats.
    pub entropy: f64,
    /// Mean over its tokens of w_SFT (demonstration) or w_RL (rollout).
    pub weight: f64,
    /// Whether that weight multiplies anything (w_RL: in the paper on right rollouts only).
    pub weight_applies: bool,
    /// What its token losses are divided by (tokens of the update, for a token mean).
    pub normaliser: f64,
    /// Its share of the loss, each term summed over its tokens.
    pub terms: TermValues,
    /// Token by token.
    pub tokens: Vec<TokenView>,
}

/// A value for each loss term.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct TermValues {
    /// L_SFT, Eq. 8.
    pub sft: f64,
    /// L_RL,demo, Eqs. 9–10.
    pub rl_demo: f64,
    /// L_self, Eqs. 11–12, or the clipped ratio's.
    #[serde(rename = "self")]
    pub self_term: f64,
    /// The entropy bonus.
    pub entropy: f64,
}

/// A token of a response.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct TokenView {
    /// As text.
    pub text: String,
    /// ln p before the update, nats.
    pub logp: f64,
    /// Entropy before the update, nats.
    pub entropy: f64,
    /// ln p after it.
    pub logp_after: f64,
    /// Entropy after it.
    pub entropy_after: f64,
    /// The likeliest tokens before it.
    pub before: Vec<Candidate>,
    /// The likeliest tokens after it.
    pub after: Vec<Candidate>,
    /// ρ = π / π_old, for the ratio form of the self term; none elsewhere.
    pub ratio: Option<f64>,
    /// w_SFT or w_RL at this token.
    pub weight: f64,
    /// Its share of the loss.
    pub terms: TermValues,
    /// ∂L/∂ln p: above 0 the update pushes the token down.
    pub slope: f64,
}

/// A token that could stand there.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Candidate {
    /// As text.
    pub text: String,
    /// Its probability.
    pub p: f64,
}

/// An answer to a prompt.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Answer {
    /// Which run; the base where there is none.
    pub run: Option<u32>,
    /// The response's tokens.
    pub tokens: Vec<AnswerToken>,
    /// Cut by the length limit.
    pub truncated: bool,
}

/// A token of an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct AnswerToken {
    /// As text.
    pub text: String,
    /// Its probability under the policy at temperature 1.
    pub p: f64,
    /// Entropy there, nats.
    pub entropy: f64,
}

/// An error as the page shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Complaint {
    /// `input`, `machine`, `numbers` or `interrupted`.
    pub kind: String,
    /// What failed, with expected and actual values.
    pub what: String,
    /// Where.
    pub place: Option<String>,
    /// What to do next.
    pub next: Option<String>,
    /// The trainer cannot go on: it takes a fresh worker and the last checkpoint.
    pub fatal: bool,
}

impl From<&Error> for Complaint {
    fn from(e: &Error) -> Self {
        let kind = match e.kind {
            Kind::Input => "input",
            Kind::Machine => "machine",
            Kind::Numbers => "numbers",
            Kind::Interrupted => "interrupted",
        };
        Self {
            kind: kind.into(),
            what: e.what.clone(),
            place: e.place.clone(),
            next: e.next.clone(),
            fatal: e.kind == Kind::Machine,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ts_rs::{Config, TS};

    fn declared<T: TS>(config: &Config) -> String {
        let docs = T::docs().map_or(String::new(), |docs| docs.trim_end().to_string() + "\n");
        format!("\n{docs}export {}\n", T::decl(config))
    }

    fn declarations() -> String {
        let config = Config::new().with_large_int("number");
        let mut text = String::from(
            "// Generated from src/lab/protocol.rs by a test, which also holds it against that file:\n\
             //   SRFT_UPDATE=1 cargo test --release --lib protocol\n",
        );
        macro_rules! all {
            ($($type:ty),+ $(,)?) => { $(text += &declared::<$type>(&config);)+ };
        }
        all![
            Command,
            Start,
            RunRequest,
            Event,
            State,
            Ready,
            AdapterView,
            ModelView,
            RunView,
            PastEvaluation,
            SuiteView,
            Probe,
            TokenScores,
            GroupView,
            PromptView,
            FormulaView,
            Member,
            TermValues,
            TokenView,
            Candidate,
            Answer,
            AnswerToken,
            Complaint,
            StepReport,
            Score,
        ];
        text
    }

    #[test]
    fn protocol_d_ts_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/web/package/protocol.d.ts");
        if std::env::var_os("SRFT_UPDATE").is_some() {
            std::fs::write(path, declarations()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == declarations(),
            "{path} is not what src/lab/protocol.rs says; write it again with\n  \
             SRFT_UPDATE=1 cargo test --release --lib protocol"
        );
    }
}
