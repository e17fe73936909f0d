//! From scored groups to the sequences of an update: which terms act on which sequence, with
//! which sign, advantage, gate and normaliser.

use super::advantage::advantages;
use crate::config::{Aggregate, Objective, SelfTerm, SftGate};
use crate::records::{Group, Role, Sequence, TermCoefficients};

/// Everything that an update trains on.
#[derive(Debug, Clone)]
pub struct Update {
    /// Rollouts and demonstrations, group by group, the demonstration last.
    pub sequences: Vec<Sequence>,
    /// Â of each group's members, rollouts first, the demonstration last (Eq. 7).
    pub advantages: Vec<Vec<f64>>,
    /// What each sequence's token losses are divided by; the coefficients already are.
    pub divisors: Vec<f64>,
}

/// Assembles the update of `groups`: advantages over each group, then per-sequence coefficients
/// normalised by the token counts of the whole update.
pub fn assemble(groups: &[Group], objective: &Objective) -> Update {
    let demonstration =
        |g: &Group| g.demonstration.clone().filter(|_| objective.uses_demonstrations());
    let per_rollout = Normaliser::new(
        objective,
        groups.iter().flat_map(|g| g.episodes.iter().map(|e| e.tokens.len())),
    );
    let per_demonstration = Normaliser::new(
        objective,
        groups.iter().filter_map(|g| demonstration(g).map(|d| g.learned.len() + d.tokens.len())),
    );
    let mut update = Update { sequences: Vec::new(), advantages: Vec::new(), divisors: Vec::new() };
    for group in groups {
        let demo = demonstration(group);
        let rewards: Vec<f64> = group
            .episodes
            .iter()
            .map(|e| e.reward)
            .chain(demo.iter().map(|d| d.reward))
            .map(f64::from)
            .collect();
        let group_advantages = advantages(&rewards, objective.advantage_std);
        for (episode, &advantage) in group.episodes.iter().zip(&group_advantages) {
            let divisor = per_rollout.of(episode.tokens.len());
            update.divisors.push(divisor);
            update.sequences.push(Sequence {
                role: Role::Rollout,
                prompt: group.prompt_tokens.clone(),
                response: episode.tokens.clone(),
                learned: Vec::new(),
                old_logprobs: episode.logprobs.clone(),
                terms: rollout_terms(objective, episode.right, advantage, 1.0 / divisor),
            });
        }
        if let (Some(demo), Some(&advantage)) = (demo, group_advantages.last()) {
            let divisor = per_demonstration.of(group.learned.len() + demo.tokens.len());
            update.divisors.push(divisor);
            let terms = demonstration_terms(objective, demo.right, advantage, 1.0 / divisor);
            update.sequences.push(Sequence {
                role: Role::Demonstration,
                prompt: group.prompt_tokens.clone(),
                response: demo.tokens,
                learned: group.learned.clone(),
                old_logprobs: Vec::new(),
                terms,
            });
        }
        update.advantages.push(group_advantages);
    }
    update
}

fn rollout_terms(
    objective: &Objective,
    right: bool,
    advantage: f64,
    scale: f64,
) -> TermCoefficients {
    let entropy = (-objective.entropy_coeff * scale) as f32;
    let terms = TermCoefficients { entropy, ..Default::default() };
    match objective.self_term {
        SelfTerm::None => TermCoefficients::default(),
        // Eq. 12: −w_RL ln π on positives, +ln π on negatives.
        SelfTerm::Signed => TermCoefficients {
            self_logp: (if right { -scale } else { scale }) as f32,
            self_positive: right,
            ..terms
        },
        SelfTerm::Advantage => TermCoefficients {
            self_ratio: (-advantage * scale) as f32,
            self_positive: advantage > 0.0,
            ..terms
        },
    }
}

fn demonstration_terms(
    objective: &Objective,
    right: bool,
    advantage: f64,
    scale: f64,
) -> TermCoefficients {
    let imitate = objective.sft
        && match objective.sft_gate {
            SftGate::None => true,
            SftGate::Reward => right,
            SftGate::Advantage => advantage > 0.0,
        };
    TermCoefficients {
        sft: if imitate { scale as f32 } else { 0.0 },
        rl_demo: if objective.rl_demo { (-advantage * scale) as f32 } else { 0.0 },
        ..Default::default()
    }
}

/// What a sequence's token losses are divided by, over all sequences of a role.
struct Normaliser {
    aggregate: Aggregate,
    constant: f64,
    sequences: usize,
    tokens: usize,
}

impl Normaliser {
    fn new(objective: &Objective, lengths: impl Iterator<Item = usize>) -> Self {
        let (sequences, tokens) = lengths.fold((0, 0), |(s, t), len| (s + 1, t + len));
        let constant = objective.aggregate_constant;
        Self { aggregate: objective.aggregate, constant, sequences, tokens }
    }

    fn of(&self, len: usize) -> f64 {
        match self.aggregate {
            Aggregate::TokenMean => self.tokens as f64,
            Aggregate::SequenceMean => (self.sequences * len) as f64,
            Aggregate::SumConstant => self.constant,
        }
    }
}
