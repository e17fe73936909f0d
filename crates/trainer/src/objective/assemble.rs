//! From scored groups to the sequences of an update: which terms act on which sequence, with
//! which sign, advantage, gate and normaliser.

use super::advantage::advantages;
use crate::config::{
    AdvantageOf, Aggregate, GroupOf, KlIn, Objective, RlGate, SelfTerm, SftAggregate, SftGate,
    Truncated,
};
use crate::records::{Episode, Group, Origin, Role, Sequence, TermCoefficients};

/// Everything that an update trains on.
#[derive(Debug, Clone)]
pub struct Update {
    /// Rollouts and demonstrations, group by group, the demonstration last.
    pub sequences: Vec<Sequence>,
    /// Â of each group's members, rollouts first, the demonstration last (Eq. 7).
    pub advantages: Vec<Vec<f64>>,
    /// What each sequence's token losses are divided by.
    pub divisors: Vec<Divisors>,
}

/// What a sequence's token losses are divided by, in tokens; the coefficients include it already.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Divisors {
    /// For the SFT term and its KL penalty.
    pub sft: f64,
    /// For all other terms.
    pub rl: f64,
}

/// Assembles the update of `groups`: advantages over each group, then per-sequence coefficients
/// normalised by the token counts of the whole update. `objective` is the one of the update's step
/// ([`Settings::objective_at`](crate::config::Settings::objective_at)).
pub fn assemble(groups: &[Group], objective: &Objective) -> Update {
    let parts: Vec<Part> = groups.iter().map(|g| Part::of(g, objective)).collect();
    let rollouts = Normaliser::new(
        objective.aggregate,
        objective,
        parts.iter().filter(|p| p.reinforces).flat_map(|p| p.rollout_lengths(objective)),
    );
    let demonstrations = Normaliser::new(
        objective.aggregate,
        objective,
        parts.iter().filter(|p| p.graded).filter_map(Part::demonstration_length),
    );
    let imitated = Normaliser::new(
        match objective.sft_aggregate {
            SftAggregate::Same => objective.aggregate,
            SftAggregate::TokenMean => Aggregate::TokenMean,
            SftAggregate::SequenceMean => Aggregate::SequenceMean,
        },
        objective,
        parts.iter().filter(|p| p.imitates).filter_map(Part::demonstration_length),
    );
    let lowest = lowest_entropy(&parts, objective);
    let mut update = Update { sequences: Vec::new(), advantages: Vec::new(), divisors: Vec::new() };
    for part in parts {
        let Part { group, ref advantages, .. } = part;
        for (episode, &advantage) in group.episodes.iter().zip(advantages) {
            let divisor = rollouts.of(episode.tokens.len());
            update.divisors.push(Divisors { sft: divisor, rl: divisor });
            update.sequences.push(Sequence {
                role: Role::Rollout,
                prompt: group.prompt_tokens.clone(),
                response: episode.tokens.clone(),
                learned: Vec::new(),
                old_logprobs: episode.logprobs.clone(),
                factors: factors(episode, objective, lowest),
                temperature: episode.temperature.0,
                terms: match part.reinforces && !masked(objective, episode) {
                    true => rollout_terms(objective, episode, advantage, divisor),
                    false => TermCoefficients::default(),
                },
            });
        }
        if let (Some(length), Some(shown)) = (part.demonstration_length(), &group.demonstration) {
            let divisors = Divisors { sft: imitated.of(length), rl: demonstrations.of(length) };
            update.divisors.push(divisors);
            let prompt = [&group.prompt_tokens[..], &shown.earlier].concat();
            update.sequences.push(Sequence {
                learned: group.learned.clone(),
                terms: demonstration_terms(objective, &part, divisors),
                ..Sequence::to_score(prompt, shown.tokens.clone())
            });
        }
        update.advantages.push(part.advantages);
    }
    update
}

/// Whether a group's rewards are all equal, so that every advantage is 0.
pub fn teaches_nothing(group: &Group, objective: &Objective) -> bool {
    Part::of(group, objective).advantages.iter().all(|&a| a == 0.0)
}

/// What a group contributes to the update.
struct Part<'a> {
    group: &'a Group,
    demonstrates: bool,
    /// Whether the demonstration has a reward: then it is in the RL term, and counts in that term's mean.
    graded: bool,
    /// Â of the rollouts, then of the demonstration.
    advantages: Vec<f64>,
    /// Whether its rollouts carry loss, and count in the self term's mean.
    reinforces: bool,
    /// Whether its demonstration may be imitated, and counts in the SFT term's mean.
    imitates: bool,
}

impl<'a> Part<'a> {
    fn of(group: &'a Group, objective: &Objective) -> Self {
        let demonstration =
            group.demonstration.as_ref().filter(|_| objective.uses_demonstrations());
        let apart = objective.group_of == GroupOf::Apart;
        let demonstration_reward = demonstration.and_then(|d| d.reward);
        let member = demonstration_reward.filter(|_| !apart);
        let rewards: Vec<f64> = group
            .episodes
            .iter()
            .map(|e| reward(e, objective))
            .chain(member)
            .map(f64::from)
            .collect();
        let mut advantages = advantages(&rewards, objective.advantage_std);
        let all_equal = advantages.iter().all(|&a| a == 0.0);
        advantages.extend(demonstration.filter(|_| member.is_none()).map(|_| 0.0));

        // `None` if no rollout could be judged: the prompt is then neither solved nor unsolved.
        let right = group.episodes.iter().filter(|e| e.right).count() as f64;
        let share = (!group.episodes.is_empty()).then(|| right / group.episodes.len() as f64);
        let solved = share.map(|share| share > objective.gate_share);
        Self {
            group,
            demonstrates: demonstration.is_some(),
            graded: demonstration_reward.is_some(),
            advantages,
            reinforces: (solved == Some(true) || objective.rl_gate == RlGate::None)
                && !(all_equal && objective.drop_equal_groups),
            imitates: match group.origin {
                Origin::Held => true,
                Origin::Drawn if objective.buffer > 0 => false,
                Origin::Drawn => objective.sft_gate != SftGate::Unsolved || solved == Some(false),
            },
        }
    }

    /// Tokens of each rollout that carry loss: of a masked one none, but it counts as a sequence.
    fn rollout_lengths<'b>(
        &self,
        objective: &'b Objective,
    ) -> impl Iterator<Item = usize> + use<'a, 'b> {
        let length = |e: &Episode| if masked(objective, e) { 0 } else { e.tokens.len() };
        self.group.episodes.iter().map(length)
    }

    /// Tokens of the demonstration that carry loss, where one is used.
    fn demonstration_length(&self) -> Option<usize> {
        let demonstration = self.group.demonstration.as_ref().filter(|_| self.demonstrates)?;
        Some(self.group.learned.len() + demonstration.tokens.len())
    }
}

/// A rollout's reward in its group, less what its KL and its length take off.
fn reward(episode: &Episode, objective: &Objective) -> f32 {
    episode.reward - episode.kl - overlong(episode.tokens.len(), objective)
}

/// DAPO's soft penalty on long responses (arXiv 2503.14476, Eq. 13): from 0 at `soft_limit` − `soft_tokens`
/// tokens to 1 at `soft_limit`.
fn overlong(tokens: usize, objective: &Objective) -> f32 {
    let Objective { truncated, soft_limit, soft_tokens, .. } = *objective;
    if truncated != Truncated::Soft {
        return 0.0;
    }
    let beyond = tokens.saturating_sub(soft_limit - soft_tokens);
    (beyond as f32 / soft_tokens as f32).min(1.0)
}

/// Whether a rollout carries no loss because it was cut.
fn masked(objective: &Objective, episode: &Episode) -> bool {
    objective.truncated == Truncated::Masked && episode.truncated
}

/// The entropy from which on a rollout's token is among the share that the self term acts on, if that is not all:
/// the quantile over the rollouts of the update, between two entropies in a straight line, as TRL's.
fn lowest_entropy(parts: &[Part], objective: &Objective) -> Option<f64> {
    if objective.top_entropy == 1.0 {
        return None;
    }
    let episodes = parts.iter().filter(|p| p.reinforces).flat_map(|p| &p.group.episodes);
    let with_loss = episodes.filter(|e| !masked(objective, e));
    let mut entropies: Vec<f32> = with_loss.flat_map(|e| &e.entropies).copied().collect();
    entropies.sort_by(f32::total_cmp);
    let place = (1.0 - objective.top_entropy) * (entropies.len().checked_sub(1)? as f64);
    let [below, above] = [place.floor(), place.ceil()].map(|i| f64::from(entropies[i as usize]));
    Some(below + (above - below) * place.fract())
}

/// What multiplies each token of a rollout: its own advantage, and 0 where its entropy is below `lowest`; none where
/// all are 1.
fn factors(episode: &Episode, objective: &Objective, lowest: Option<f64>) -> Vec<f32> {
    let taught = objective.advantage_of == AdvantageOf::Teacher;
    if !taught && lowest.is_none() {
        return Vec::new();
    }
    let factor = |t: usize| match lowest {
        Some(lowest) if f64::from(episode.entropies[t]) < lowest => 0.0,
        _ if taught => episode.taught.get(t).map_or(0.0, |teacher| teacher - episode.logprobs[t]),
        _ => 1.0,
    };
    (0..episode.tokens.len()).map(factor).collect()
}

fn rollout_terms(
    objective: &Objective,
    episode: &Episode,
    advantage: f64,
    divisor: f64,
) -> TermCoefficients {
    let (_, share) = objective.shares();
    let scale = share / divisor;
    let entropy = (-objective.entropy_coeff * scale) as f32;
    let kl = match objective.rollout_kl_in {
        KlIn::Loss => (objective.rollout_kl * scale) as f32,
        KlIn::Reward => 0.0,
    };
    let terms = TermCoefficients { entropy, kl, ..Default::default() };
    match objective.self_term {
        SelfTerm::None => TermCoefficients::default(),
        // Eq. 12: −w_RL ln π on positives, +ln π on negatives, each scaled by its reward's size.
        SelfTerm::Signed => {
            let reward = objective.reward_values.signed(reward(episode, objective));
            TermCoefficients {
                self_logp: (-reward * scale) as f32,
                self_positive: reward > 0.0,
                ..terms
            }
        }
        SelfTerm::Advantage if objective.advantage_of == AdvantageOf::Teacher => {
            let asked = !episode.taught.is_empty();
            let self_ratio = if asked { -scale as f32 } else { 0.0 };
            TermCoefficients { self_ratio, self_positive: true, ..terms }
        }
        SelfTerm::Advantage => TermCoefficients {
            self_ratio: (-advantage * scale) as f32,
            self_positive: advantage > 0.0,
            ..terms
        },
    }
}

fn demonstration_terms(objective: &Objective, part: &Part, divisors: Divisors) -> TermCoefficients {
    let right = part.group.demonstration.as_ref().is_some_and(|d| d.right);
    let advantage = part.advantages.last().copied().unwrap_or_default();
    let imitate = objective.sft
        && part.imitates
        && match objective.sft_gate {
            SftGate::None | SftGate::Unsolved => true,
            SftGate::Reward => right,
            SftGate::Advantage => advantage > 0.0,
        };
    let (sft_share, rl_share) = objective.shares();
    let sft = if imitate { sft_share / divisors.sft } else { 0.0 };
    let reinforce = objective.rl_demo && part.graded;
    let rl_demo = if reinforce { -advantage * (rl_share / divisors.rl) } else { 0.0 };
    TermCoefficients {
        sft: sft as f32,
        rl_demo: rl_demo as f32,
        kl: (objective.kl_coeff * sft) as f32,
        ..Default::default()
    }
}

/// Computes what token losses are divided by, from all sequences of one role.
struct Normaliser {
    aggregate: Aggregate,
    constant: f64,
    sequences: usize,
    tokens: usize,
}

impl Normaliser {
    fn new(
        aggregate: Aggregate,
        objective: &Objective,
        lengths: impl Iterator<Item = usize>,
    ) -> Self {
        let (sequences, tokens) = lengths.fold((0, 0), |(s, t), len| (s + 1, t + len));
        Self { aggregate, constant: objective.aggregate_constant, sequences, tokens }
    }

    fn of(&self, len: usize) -> f64 {
        match self.aggregate {
            Aggregate::TokenMean => self.tokens as f64,
            Aggregate::SequenceMean => (self.sequences * len) as f64,
            Aggregate::SumConstant => self.constant,
            Aggregate::SequenceConstant => self.sequences as f64 * self.constant,
        }
    }
}
