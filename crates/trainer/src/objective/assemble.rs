//! From scored groups to the sequences of an update: which terms act on which sequence, with
//! which sign, advantage, gate and normaliser.

use super::factors::{Draw, factors};
use super::part::{Part, learned_of_given, lowest_given, masked, reward};
use crate::config::{AdvantageOf, Aggregate, KlIn, Objective, SelfTerm, SftAggregate, SftGate};
use crate::records::{Episode, Group, Role, Sequence, TermCoefficients};

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
    assemble_with(groups, objective, Draw::default())
}

/// [`assemble`] by random numbers of its own, which `clip_cov` alone takes.
pub fn assemble_with(groups: &[Group], objective: &Objective, draw: Draw) -> Update {
    let parts: Vec<Part> = groups.iter().map(|g| Part::of(g, objective)).collect();
    let lowest_given = lowest_given(&parts, objective);
    let rollouts = Normaliser::new(
        objective.aggregate,
        objective,
        parts
            .iter()
            .filter(|p| p.reinforces)
            .flat_map(|p| p.rollout_lengths(objective, lowest_given)),
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
    let mut factors = factors(&parts, objective, draw).into_iter();
    let mut update = Update { sequences: Vec::new(), advantages: Vec::new(), divisors: Vec::new() };
    for part in parts {
        let Part { group, ref advantages, .. } = part;
        let own = group.episodes.iter().zip(advantages).zip(factors.by_ref());
        for ((episode, &advantage), factors) in own {
            let learned = learned_of_given(episode, lowest_given);
            let divisor = rollouts.of(learned.len() + episode.tokens.len());
            update.divisors.push(Divisors { sft: divisor, rl: divisor });
            update.sequences.push(Sequence {
                role: Role::Rollout,
                prompt: group.read_before(episode),
                response: episode.tokens.clone(),
                old_logprobs: {
                    let of_given = learned.iter().map(|&t| episode.given_logprobs[t]);
                    of_given.chain(episode.logprobs.iter().copied()).collect()
                },
                factors: match factors {
                    own if own.is_empty() => own,
                    own => learned.iter().map(|_| 1.0).chain(own).collect(),
                },
                learned: learned.into_iter().map(|t| group.prompt_tokens.len() + t).collect(),
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
            let imitated = part.imitated.unwrap_or(shown.tokens.len());
            update.sequences.push(Sequence {
                learned: part.learned().to_vec(),
                terms: demonstration_terms(objective, &part, divisors),
                ..Sequence::to_score(prompt, shown.tokens[..imitated].to_vec())
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
        // The advantages of its tokens are its factors.
        SelfTerm::Advantage if objective.advantage_of != AdvantageOf::Rewards => {
            let untaught =
                objective.advantage_of == AdvantageOf::Teacher && episode.taught.is_empty();
            let self_ratio = if untaught { 0.0 } else { -scale as f32 };
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
