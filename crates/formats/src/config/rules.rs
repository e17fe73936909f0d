//! The checks across keys. The check of a single key is beside it, in the table.

use super::{
    AdvantageOf, ClipOf, Comparison, EntropyControl, GroupOf, KlForm, Mix, Objective, Prefix,
    RatioOf, SelfTerm, Settings, SftGate, SftOver, SftTokenWeight, Truncated,
};
use crate::error::{Error, Result};
use crate::names::REASONING_GYM;
use toml::Value;

/// Most rollouts per step. More is a typing error: no memory would hold them.
const MOST_ROLLOUTS: usize = 1_000_000;

/// Valid settings: each value passes its own check and the checks across keys.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config(Settings);

impl std::ops::Deref for Config {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.0
    }
}

impl Config {
    /// The config of these settings, if they are valid.
    pub fn new(settings: Settings) -> Result<Self> {
        let infinite = |value: &Value| value.as_float().is_some_and(|v| !v.is_finite());
        if let Some((section, key, _)) = settings.flat().iter().find(|(.., value)| infinite(value))
        {
            return Err(broken(&key.of(section), "a finite number"));
        }
        match settings.broken_key().or_else(|| settings.broken_rule()) {
            Some((key, must)) => Err(broken(key, must)),
            None => Ok(Self(settings)),
        }
    }

    /// This config with a change, if that leaves it valid.
    pub fn with(&self, change: impl FnOnce(&mut Settings)) -> Result<Self> {
        let mut settings = self.0.clone();
        change(&mut settings);
        Self::new(settings)
    }
}

fn broken(key: &str, must: &str) -> Error {
    Error::input(format!("{key} must be {must}"))
        .next(format!("set {key} in the TOML file or with --set {key}=VALUE"))
}

impl Settings {
    /// The first key that breaks a rule across keys, and what it must be.
    fn broken_rule(&self) -> Option<(&'static str, &'static str)> {
        let Settings { rollout, objective, data, reward, lora, .. } = self;
        let stages = self.stages();
        let samples = stages.iter().any(Objective::uses_rollouts);
        let has_both = objective.sft && objective.uses_rollouts();
        let weights = self.weights();
        let taken = |name: &str| weights.iter().filter(|(other, _)| *other == name).count() > 1;
        let rules = [
            (
                "rollout.group",
                rollout.group > 1 || stages.iter().all(|o| o.group_of != GroupOf::Shared),
                "at least 2: the demonstration takes the place of a rollout (objective.group_of = shared)",
            ),
            (
                "rollout.group",
                !stages.iter().any(|o| self.compares_nothing(o)),
                "larger: an advantage compares the responses to a prompt, and is 0 if there is \
                 only one",
            ),
            (
                "rollout.prompts",
                rollout.prompts.saturating_mul(rollout.group) <= MOST_ROLLOUTS,
                "smaller: prompts times group may be at most a million rollouts per step",
            ),
            (
                "rollout.temperature",
                rollout.temperature > 0.0 || !samples,
                "above 0 for training: a group's greedy rollouts are all the same",
            ),
            (
                "rollout.top_k",
                rollout.top_k != 1 || !samples,
                "0 (all) or at least 2 for training: a group's greedy rollouts are all the same",
            ),
            (
                "objective.kl_coeff",
                objective.kl_coeff == 0.0 || objective.kl_coeff > 0.0 && objective.sft,
                "0, or positive with objective.sft on: it acts on the SFT term's tokens",
            ),
            (
                "objective.entropy_coeff",
                objective.entropy_coeff == 0.0 || objective.self_term != SelfTerm::None,
                "0 unless objective.self_term is on: the bonus is on the rollouts that it trains",
            ),
            (
                "objective.imitation",
                objective.imitation == 0.0
                    || has_both
                        && objective.sft_token_weight == SftTokenWeight::Probability
                        && !objective.entropy_weights
                        && objective.sft_weight_scale == 1.0,
                "0 unless sft and a term on rollouts are on, with sft_token_weight = p and no other weight: \
                 p says how well a demonstration is known",
            ),
            (
                "objective.entropy_control",
                objective.entropy_control == EntropyControl::None
                    || objective.self_term != SelfTerm::None,
                "none unless objective.self_term is on: the bonus is on the rollouts that it trains",
            ),
            (
                "objective.entropy_coeff",
                objective.entropy_control != EntropyControl::Gradient
                    || objective.entropy_coeff > 0.0,
                "above 0 where objective.entropy_control is gradient, which moves its logarithm",
            ),
            (
                "objective.clip_cov",
                objective.clip_cov == 0.0 || objective.self_term == SelfTerm::Advantage,
                "0 unless objective.self_term is advantage: no other term has an advantage",
            ),
            (
                "objective.clip_cov_low",
                objective.clip_cov_low < objective.clip_cov_high,
                "below objective.clip_cov_high",
            ),
            (
                "objective.rollout_kl",
                objective.rollout_kl == 0.0 || objective.self_term != SelfTerm::None,
                "0 unless objective.self_term is on: the penalty is on the rollouts that it trains",
            ),
            (
                "objective.kl_form",
                objective.kl_form != KlForm::K3Ratio || objective.kl_coeff == 0.0,
                "k3 or k1 where objective.kl_coeff is on: demonstrations have no ratio",
            ),
            (
                "objective.refill",
                objective.refill == 0 || objective.drop_equal_groups,
                "0 unless objective.drop_equal_groups is on: else every group has its place",
            ),
            (
                "objective.advantage_of",
                objective.advantage_of == AdvantageOf::Rewards
                    || objective.self_term == SelfTerm::Advantage,
                "rewards unless objective.self_term is advantage: no other term has an advantage a token",
            ),
            (
                "objective.prefix",
                objective.prefix == Prefix::None || objective.uses_rollouts(),
                "none unless a term on rollouts (self_term or rl_demo) is on: nothing else begins with it",
            ),
            (
                "objective.prefix_end",
                objective.prefix == Prefix::None || objective.prefix_end <= objective.prefix_share,
                "at most objective.prefix_share, from which it falls",
            ),
            (
                "objective.prefix_rollouts",
                objective.prefix_rollouts == 0
                    || objective.prefix != Prefix::Success
                        && objective.prefix_rollouts <= self.rollouts_of(objective),
                "0 (all), or at most a group's rollouts and objective.prefix another than success",
            ),
            (
                "objective.prefix_learned",
                objective.prefix_learned == 0.0
                    || objective.prefix != Prefix::None
                        && objective.self_term != SelfTerm::None
                        && objective.advantage_of == AdvantageOf::Rewards,
                "0 unless objective.prefix and self_term are on, with an advantage a response",
            ),
            (
                "objective.sft_over",
                objective.sft_over == SftOver::Demonstration
                    || objective.prefix != Prefix::None
                        && objective.sft
                        && !objective.rl_demo
                        && objective.buffer == 0,
                "demonstration unless objective.prefix and sft are on, and rl_demo and buffer are not",
            ),
            (
                "objective.ratio",
                objective.ratio == RatioOf::Token || objective.self_term == SelfTerm::Advantage,
                "token unless objective.self_term is advantage: no other term has a ratio",
            ),
            (
                "objective.clip",
                objective.clip == ClipOf::Loss || objective.self_term == SelfTerm::Advantage,
                "loss unless objective.self_term is advantage: no other term has a clip",
            ),
            (
                "objective.dual_clip",
                objective.dual_clip == 0.0 || objective.self_term == SelfTerm::Advantage,
                "0 unless objective.self_term is advantage: no other term has a clip",
            ),
            (
                "objective.top_entropy",
                objective.top_entropy == 1.0 || objective.self_term != SelfTerm::None,
                "1 unless objective.self_term is on: it chooses among the rollouts' tokens",
            ),
            (
                "objective.soft_tokens",
                objective.truncated != Truncated::Soft
                    || (1..=self.objective_at(0).soft_limit).contains(&objective.soft_tokens),
                "1 to objective.soft_limit (or rollout.max_new_tokens) where objective.truncated is soft",
            ),
            (
                "objective.mix",
                objective.mix == Mix::Sum || has_both,
                "sum unless both sft and a term on rollouts (self_term or rl_demo) are on",
            ),
            (
                "objective.sft_gate",
                objective.sft_gate != SftGate::Unsolved || objective.uses_rollouts(),
                "another gate unless a term on rollouts (self_term or rl_demo) is on: without \
                 rollouts no prompt is solved",
            ),
            (
                "objective.buffer",
                objective.buffer == 0 || has_both,
                "0 unless both sft and a term on rollouts (self_term or rl_demo) are on",
            ),
            (
                "objective.group_of",
                objective.group_of != GroupOf::Apart
                    || !objective.rl_demo && objective.sft_gate != SftGate::Advantage,
                "extra or shared if the demonstration's advantage is used",
            ),
            (
                "reward.command",
                data.verifier != Comparison::Command || !reward.command.is_empty(),
                "given if data.verifier is command",
            ),
            (
                "data.verifier",
                data.verifier != Comparison::Task || {
                    let mut all = data.train.iter().chain(&data.eval).peekable();
                    all.peek().is_some() && all.all(|name| name.starts_with(REASONING_GYM))
                },
                "another one than task, unless all data are tasks such as reasoning_gym:chain_sum",
            ),
            (
                "reward.named",
                !weights.iter().any(|(name, _)| taken(name)),
                "a list of rewards with names of their own: the answer's is `answer`, and `format` and `command` \
                 are those of [reward] if it has them",
            ),
            (
                "reward.answer_weight",
                weights.iter().any(|(_, weight)| *weight != 0.0),
                "positive where no other reward has a weight",
            ),
            (
                "lora.targets",
                lora.rank == 0 || !lora.targets.is_empty(),
                "at least one of the model's matrices",
            ),
            (
                "objective",
                objective.uses_rollouts() || objective.uses_demonstrations(),
                "left with at least one term: sft, rl_demo or self_term",
            ),
        ];
        let broken = rules.into_iter().find(|(_, holds, _)| !holds);
        broken.map(|(key, _, must)| (key, must))
    }

    /// How many rollouts a group has.
    fn rollouts_of(&self, objective: &Objective) -> usize {
        self.rollout.group.saturating_sub(usize::from(objective.group_of == GroupOf::Shared))
    }

    /// Whether the self term's advantages are taken over one response, so that its gradient is 0.
    fn compares_nothing(&self, objective: &Objective) -> bool {
        let with_demonstrations = objective.has_demonstrations()
            && objective.group_of != GroupOf::Apart
            && (self.data.demonstrations > 0.0 || !self.data.train.is_empty());
        let rollouts = self.rollouts_of(objective);
        objective.self_term == SelfTerm::Advantage
            && objective.advantage_of != AdvantageOf::Teacher
            && rollouts + usize::from(with_demonstrations) < 2
    }
}
