//! What a method weighs or rewards a token at a time: one factor for each token of a rollout.

use super::advantage::advantages;
use super::part::{Part, masked, quantile, reward};
use crate::config::{AdvantageOf, Objective};
use crate::random::{purpose, threefry4x32};
use crate::records::{Episode, Group};

/// Added to an entropy before it is divided by, nats.
const LEAST_ENTROPY: f64 = 1e-8;

/// The key of an update's random numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Draw {
    /// The run's seed.
    pub seed: u64,
    /// The step.
    pub step: u32,
    /// The update within it.
    pub update: u32,
}

/// The factors of every rollout's tokens, in order; none where all are 1.
pub(super) fn factors(parts: &[Part], objective: &Objective, draw: Draw) -> Vec<Vec<f32>> {
    let mut factors: Vec<Vec<f32>> =
        parts.iter().flat_map(|part| of_group(part.group, objective)).collect();
    let carriers = carriers(parts, objective);
    if objective.top_entropy < 1.0 {
        keep_highest(&carriers, &mut factors, objective.top_entropy);
    }
    if objective.clip_cov > 0.0 {
        drop_covariant(&carriers, &mut factors, objective, draw);
    }
    factors
}

/// The token's own advantage, for the rollouts of one group.
fn of_group(group: &Group, objective: &Objective) -> Vec<Vec<f32>> {
    let taught = |episode: &Episode| -> Vec<f32> {
        let gain = |(t, &logp): (usize, &f32)| episode.taught.get(t).map_or(0.0, |own| own - logp);
        episode.logprobs.iter().enumerate().map(gain).collect()
    };
    match objective.advantage_of {
        AdvantageOf::Rewards => vec![Vec::new(); group.episodes.len()],
        AdvantageOf::Teacher => group.episodes.iter().map(taught).collect(),
        AdvantageOf::Entropy => by_entropy(group, objective),
    }
}

/// GTPO's advantages (arXiv 2508.04349, Eqs. 3 and 5): the reward of a right response's token rises with its share of the
/// entropy that the group's right ones have at its position; that of a wrong one falls with its share of 1/H.
fn by_entropy(group: &Group, objective: &Objective) -> Vec<Vec<f32>> {
    let weight = |episode: &Episode, t: usize| {
        let entropy = f64::from(episode.entropies[t]) + LEAST_ENTROPY;
        if episode.right { entropy } else { 1.0 / entropy }
    };
    let shaped = |episode: &Episode, t: usize| {
        let same = group.episodes.iter().filter(|o| o.right == episode.right && o.tokens.len() > t);
        let (sum, count) = same.fold((0.0, 0.0), |(s, n), other| (s + weight(other, t), n + 1.0));
        let sign = if episode.right { 1.0 } else { -1.0 };
        let value = objective.reward_values.signed(reward(episode, objective));
        value + sign * objective.entropy_reward * count * weight(episode, t) / sum
    };
    let rewards: Vec<f64> = group
        .episodes
        .iter()
        .flat_map(|episode| (0..episode.tokens.len()).map(|t| shaped(episode, t)))
        .collect();
    let mut all = match rewards.is_empty() {
        true => Vec::new(),
        false => advantages(&rewards, objective.advantage_std),
    }
    .into_iter()
    .map(|advantage| advantage as f32);
    group.episodes.iter().map(|e| all.by_ref().take(e.tokens.len()).collect()).collect()
}

/// A rollout that carries loss.
struct Carrier<'a> {
    /// Its place among all.
    place: usize,
    episode: &'a Episode,
    advantage: f64,
}

fn carriers<'a>(parts: &'a [Part], objective: &Objective) -> Vec<Carrier<'a>> {
    let all = parts.iter().flat_map(|part| {
        let own = part.group.episodes.iter().zip(&part.advantages);
        own.map(|(episode, &advantage)| (part.reinforces, episode, advantage))
    });
    all.enumerate()
        .filter(|(_, (reinforces, episode, _))| *reinforces && !masked(objective, episode))
        .map(|(place, (_, episode, advantage))| Carrier { place, episode, advantage })
        .collect()
}

/// Takes the gradient from the tokens whose entropy is not among the highest `share`: below the quantile over the
/// update, between two entropies in a straight line, as TRL's.
fn keep_highest(carriers: &[Carrier], factors: &mut [Vec<f32>], share: f64) {
    let entropies = carriers.iter().flat_map(|c| &c.episode.entropies).copied();
    let Some(lowest) = quantile(entropies.collect(), share) else { return };
    for Carrier { place, episode, .. } in carriers {
        let low = |t: &usize| f64::from(episode.entropies[*t]) < lowest;
        drop_tokens(
            &mut factors[*place],
            episode.tokens.len(),
            (0..episode.tokens.len()).filter(low),
        );
    }
}

/// Takes the gradient from a few tokens, drawn from those at which advantage and log-probability vary together
/// (Clip-Cov, arXiv 2505.22617, Eqs. 12-13).
fn drop_covariant(
    carriers: &[Carrier],
    factors: &mut [Vec<f32>],
    objective: &Objective,
    draw: Draw,
) {
    let advantage = |of: &Carrier, t: usize| match objective.advantage_of {
        AdvantageOf::Rewards => of.advantage,
        _ => f64::from(factors[of.place][t]),
    };
    let tokens: Vec<(usize, usize, [f64; 2])> = carriers
        .iter()
        .flat_map(|of| {
            let logprobs = of.episode.logprobs.iter().enumerate();
            logprobs.map(|(t, &logp)| (of.place, t, [advantage(of, t), f64::from(logp)]))
        })
        .collect();
    let count = tokens.len().max(1) as f64;
    let [mean_advantage, mean_logp] =
        [0, 1].map(|part| tokens.iter().map(|(.., pair)| pair[part]).sum::<f64>() / count);
    let covariant = |pair: [f64; 2]| {
        let product = (pair[0] - mean_advantage) * (pair[1] - mean_logp);
        objective.clip_cov_low < product && product < objective.clip_cov_high
    };
    let mut drawn: Vec<(u32, usize, usize)> = tokens
        .iter()
        .enumerate()
        .filter(|(_, (.., pair))| covariant(*pair))
        .map(|(index, &(place, t, _))| (draw.word(index as u32), place, t))
        .collect();
    drawn.sort_unstable();
    drawn.truncate(((objective.clip_cov * count) as usize).max(1));
    for (_, place, t) in drawn {
        let tokens =
            carriers.iter().find(|c| c.place == place).map_or(0, |c| c.episode.tokens.len());
        drop_tokens(&mut factors[place], tokens, std::iter::once(t));
    }
}

fn drop_tokens(factors: &mut Vec<f32>, tokens: usize, dropped: impl Iterator<Item = usize>) {
    for t in dropped {
        factors.resize(tokens, 1.0);
        factors[t] = 0.0;
    }
}

impl Draw {
    /// A random word for the token `index` of the update.
    fn word(self, index: u32) -> u32 {
        let key = [self.seed as u32, (self.seed >> 32) as u32, self.step, purpose::CLIP_COV];
        threefry4x32(key, [index, self.update, 0, 0])[0]
    }
}
