//! What a step reports: each metric defined once, with unit and formula.

use serde::{Deserialize, Serialize};

/// A metric's definition.
pub struct Definition {
    /// Key in `metrics.jsonl`.
    pub name: &'static str,
    /// Meaning, unit, formula.
    pub doc: &'static str,
}

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty;)+) => {
        /// The report of one training step, a line of `metrics.jsonl`.
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct StepReport { $($(#[doc = $doc])+ pub $name: $type,)+ }

        /// The definitions, in the order of the keys.
        pub const DEFINITIONS: &[Definition] =
            &[$(Definition { name: stringify!($name), doc: concat!($($doc),+).trim_ascii() },)+];
    };
}

metrics! {
    /// Updates done, counted from 1.
    step: u32;
    /// Learning rate of the update.
    lr: f64;
    /// The whole loss, Eq. 13: sum of the four terms below.
    loss: f64;
    /// Supervised term L_SFT, Eq. 8.
    loss_sft: f64;
    /// Reinforcement term on demonstrations, Eqs. 9-10.
    loss_rl_demo: f64;
    /// Self term on rollouts, Eqs. 11-12 or the clipped ratio.
    loss_self: f64;
    /// Entropy bonus: -coefficient times the mean entropy.
    loss_entropy: f64;
    /// Global L2 norm of the gradient before clipping.
    grad_norm: f64;
    /// Mean reward of the rollouts, in the configured reward values.
    reward: f64;
    /// Share of rollouts that the verifier accepts.
    accuracy: f64;
    /// Mean reward of the demonstrations.
    reward_demo: f64;
    /// Mean advantage of the demonstrations, Eq. 7.
    advantage_demo: f64;
    /// Share of groups whose rollouts are all right.
    groups_all_right: f64;
    /// Share of groups whose rollouts are all wrong.
    groups_all_wrong: f64;
    /// Mean entropy of the sampling policy over rollout tokens, nats.
    entropy: f64;
    /// Mean entropy of the policy over demonstration tokens, nats.
    entropy_demo: f64;
    /// Mean w_SFT over demonstrations, Eq. 8.
    w_sft: f64;
    /// Mean w_RL over all rollouts, Eq. 11; applied to the positive ones only.
    w_rl: f64;
    /// Share of rollout tokens whose ratio was clipped.
    clip_share: f64;
    /// Mean response length of the rollouts, tokens with end-of-text.
    response_tokens: f64;
    /// Share of rollouts cut by the length limit.
    truncated_share: f64;
    /// Tokens sampled.
    rollout_tokens: u64;
    /// Response tokens that carried loss.
    trained_tokens: u64;
    /// Wall time of sampling and scoring, seconds.
    rollout_secs: f64;
    /// Wall time of the update, seconds.
    train_secs: f64;
}

impl StepReport {
    /// The report without wall times: what must be equal, bit for bit, between two runs of one
    /// seed on one adapter.
    pub fn without_times(&self) -> Self {
        Self { rollout_secs: 0.0, train_secs: 0.0, ..self.clone() }
    }
}

/// The mean of an iterator; 0 where it is empty.
pub fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0u32), |(s, n), v| (s + v, n + 1));
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}

/// `docs/metrics.md`: a row a metric.
pub fn as_markdown() -> String {
    let mut text = String::from(
        "# Metrics\n\nOne line a step in `metrics.jsonl`. Written by `srft config --metrics`; a test \
         holds this file against the code.\n\n| key | meaning |\n|---|---|\n",
    );
    for d in DEFINITIONS {
        text += &format!("| `{}` | {} |\n", d.name, d.doc.replace('|', "\\|"));
    }
    text
}
