//! What a step reports: each metric defined once, with unit and formula.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A metric's definition.
pub struct Definition {
    /// Key in `metrics.jsonl`.
    pub name: &'static str,
    /// Unit; empty for a number without one.
    pub unit: &'static str,
    /// Meaning and formula.
    pub doc: &'static str,
}

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $(#[serde($($serde:tt)+)])? $name:ident: $type:ty, $unit:literal;)+) => {
        /// The report of one training step, a line of `metrics.jsonl`.
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct StepReport { $($(#[doc = $doc])+ $(#[serde($($serde)+)])? pub $name: $type,)+ }

        /// The definitions, in the order of the keys.
        pub const DEFINITIONS: &[Definition] = &[$(Definition {
            name: stringify!($name),
            unit: $unit,
            doc: concat!($($doc),+).trim_ascii(),
        },)+];
    };
}

metrics! {
    /// Steps done, counted from 1.
    step: u32, "steps";
    /// Learning rate of this step's updates, after warm-up and schedule.
    lr: f64, "";
    /// The whole loss, Eq. 13: loss_sft + loss_rl_demo + loss_self + loss_entropy + loss_kl; of a step's several updates
    /// the mean, like each of its terms.
    loss: f64, "";
    /// Supervised term, Eq. 8: mean of −w_SFT·ln π over demonstration tokens.
    loss_sft: f64, "nats";
    /// Reinforcement term on demonstrations, Eqs. 9–10: mean of −Â·f(π) over their tokens.
    loss_rl_demo: f64, "";
    /// Self term, Eqs. 11–12: mean over rollout tokens of −w_RL·ln π where right, +ln π where
    /// wrong; or −min(ρ·Â, clip(ρ)·Â) with ρ = π/π_old.
    loss_self: f64, "";
    /// Entropy bonus: −entropy_coeff · mean H over rollout tokens.
    loss_entropy: f64, "";
    /// KL penalty: kl_coeff · mean over demonstration tokens of r − 1 − ln r, r = π_base/π, and rollout_kl · mean over
    /// rollout tokens where that stands in the loss.
    loss_kl: f64, "";
    /// Global L2 norm of the gradient before clipping: √Σg² over all parameters; of several updates the mean.
    grad_norm: f64, "";
    /// Mean reward of the rollouts that the verifier could judge, in the values that objective.reward_values names.
    reward: Option<f64>, "";
    /// Mean score of each reward by its name, from 0 to 1, over the same rollouts; absent where the answer is all that is rewarded.
    // Only where there are any: a table of all other numbers stays one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    rewards: BTreeMap<String, f64>, "score";
    /// Rollouts that the verifier accepts / rollouts that it could judge.
    accuracy: Option<f64>, "share";
    /// Mean reward of the demonstrations that were judged.
    reward_demo: Option<f64>, "";
    /// Mean advantage Â of the demonstrations that were judged, within their groups, Eq. 7.
    advantage_demo: Option<f64>, "";
    /// Groups whose rollouts are all right / groups with a rollout that the verifier could judge.
    groups_all_right: Option<f64>, "share";
    /// Groups whose rollouts are all wrong / groups with a rollout that the verifier could judge.
    groups_all_wrong: Option<f64>, "share";
    /// Mean of H = −Σ p·ln p over rollout tokens, under the policy that sampled them, at its temperature.
    entropy: Option<f64>, "nats";
    /// Mean of H = −Σ p·ln p over the tokens of demonstrations that carry loss, before the update.
    entropy_demo: Option<f64>, "nats";
    /// Coefficient of the entropy bonus in this step, where objective.entropy_control moves it.
    #[serde(default)] // runs of before have no such key
    entropy_coeff: Option<f64>, "1/nat";
    /// Mean of w_SFT = scale·exp(∓H) over the demonstrations that carry loss, Eq. 8.
    w_sft: Option<f64>, "";
    /// Mean of w_RL = scale·exp(H) over the rollouts that carry loss, Eq. 11; the loss uses it on the
    /// positive ones only.
    w_rl: Option<f64>, "";
    /// Rollout tokens whose ratio was clipped / rollout tokens, over all updates of the step.
    clip_share: Option<f64>, "share";
    /// Mean length of a rollout, its end-of-text counted.
    response_tokens: Option<f64>, "tokens";
    /// Rollouts cut by rollout.max_new_tokens or the model's context / rollouts.
    truncated_share: Option<f64>, "share";
    /// Rollouts cut by the model's context before rollout.max_new_tokens / rollouts.
    #[serde(default)] // runs of before have no such key
    context_cut_share: Option<f64>, "share";
    /// Groups that had equal rewards and were drawn anew (objective.refill). What they sampled counts in the means over rollouts.
    #[serde(default)] // runs of before have no such key
    refilled: u64, "groups";
    /// Mean share of its demonstration that a rollout began with (objective.prefix), over the rollouts of prompts that have one.
    #[serde(default)] // runs of before have no such key
    given_share: Option<f64>, "share";
    /// Rollouts of prompts that none or all of them solved, and that were sampled again after another prefix (objective.prefix = success). They count in the means over rollouts.
    #[serde(default)] // runs of before have no such key
    tried: u64, "rollouts";
    /// Rollouts without a teacher's word (objective.advantage_of = teacher): no demonstration, or too long with it. They carry no loss.
    #[serde(default)] // runs of before have no such key
    untaught: u64, "rollouts";
    /// Rollouts that the verifier failed on: left out of the update and of every mean.
    unscored: u64, "rollouts";
    /// Demonstrations that the verifier failed on: still imitated, but not reinforced.
    #[serde(default)] // runs of before have no such key
    unscored_demos: u64, "demonstrations";
    /// Rollouts whose answer has the gold answer's value, but in a form that `math.form = "strict"` refuses.
    #[serde(default)] // runs of before have no such key
    loose_only: u64, "rollouts";
    /// Tokens sampled in this step, those of unscored rollouts too.
    rollout_tokens: u64, "tokens";
    /// Response tokens that carried loss in this step, again for each of its epochs.
    trained_tokens: u64, "tokens";
    /// Wall time of sampling and scoring.
    rollout_secs: f64, "s";
    /// Wall time of loss, gradient and update.
    train_secs: f64, "s";
}

impl StepReport {
    /// The report without wall times: what must be equal, bit for bit, between two runs of one
    /// seed on one adapter.
    pub fn without_times(&self) -> Self {
        Self { rollout_secs: 0.0, train_secs: 0.0, ..self.clone() }
    }
}

/// The mean of an iterator; `None` where it is empty.
pub fn mean_of(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0u32), |(s, n), v| (s + v, n + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// The mean of each reward's score over responses, which all have the same rewards.
pub fn mean_scores<'a>(
    responses: impl Iterator<Item = &'a BTreeMap<String, f64>>,
) -> BTreeMap<String, f64> {
    let (mut means, mut count) = (BTreeMap::<String, f64>::new(), 0.0);
    for scores in responses {
        count += 1.0;
        for (name, score) in scores {
            *means.entry(name.clone()).or_default() += score;
        }
    }
    means.values_mut().for_each(|sum| *sum /= count);
    means
}

/// The mean of an iterator; 0 where it is empty.
pub fn mean(values: impl Iterator<Item = f64>) -> f64 {
    mean_of(values).unwrap_or(0.0)
}

/// `docs/metrics.md`: a row a metric.
pub fn as_markdown() -> String {
    let mut text = String::from(
        "# Metrics\n\nOne line per step in `metrics.jsonl`. Written by `srft config --metrics`; a test \
         holds this file against the code. The means in the loss terms are taken as \
         `objective.aggregate` says. π is the policy, H its entropy, Â the advantage. What a step has no value \
         for is null: `reward` where nothing was sampled, `w_sft` where nothing was imitated.\n\n\
         | key | unit | meaning |\n|---|---|---|\n",
    );
    for d in DEFINITIONS {
        text += &format!("| `{}` | {} | {} |\n", d.name, d.unit, d.doc.replace('|', "\\|"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run that was begun before a key came is reported and resumed all the same.
    #[test]
    fn lines_of_before_are_read() {
        let mut line = serde_json::to_value(StepReport { step: 3, ..Default::default() }).unwrap();
        line.as_object_mut().unwrap().remove("unscored_demos");
        assert_eq!(serde_json::from_value::<StepReport>(line).unwrap().step, 3);
    }
}
