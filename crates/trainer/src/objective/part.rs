//! What a group contributes to an update: its advantages, and which terms it takes part in.

use super::advantage::advantages;
use crate::config::{GroupOf, Objective, RlGate, SftGate, SftOver, Truncated};
use crate::records::{Episode, Group, Origin};

/// What a group contributes to the update.
pub(super) struct Part<'a> {
    pub group: &'a Group,
    demonstrates: bool,
    /// Whether the demonstration has a reward: then it is in the RL term, and counts in that term's mean.
    pub graded: bool,
    /// Â of the rollouts, then of the demonstration.
    pub advantages: Vec<f64>,
    /// Whether its rollouts carry loss, and count in the self term's mean.
    pub reinforces: bool,
    /// Whether its demonstration may be imitated, and counts in the SFT term's mean.
    pub imitates: bool,
    /// How many of its demonstration's tokens, where not all are.
    pub imitated: Option<usize>,
}

impl<'a> Part<'a> {
    pub fn of(group: &'a Group, objective: &Objective) -> Self {
        let demonstration = group.demonstration.as_ref().filter(|_| objective.has_demonstrations());
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
        let given = group.episodes.iter().map(|e| group.given(e).len()).max().unwrap_or(0);
        let nothing = objective.sft_over == SftOver::Prefix && given == 0;
        Self {
            group,
            demonstrates: demonstration.is_some(),
            graded: demonstration_reward.is_some(),
            advantages,
            reinforces: (solved == Some(true) || objective.rl_gate == RlGate::None)
                && !(all_equal && objective.drop_equal_groups),
            imitates: match group.origin {
                Origin::Held => true,
                Origin::Drawn if objective.buffer > 0 || nothing => false,
                Origin::Drawn => objective.sft_gate != SftGate::Unsolved || solved == Some(false),
            },
            imitated: (objective.sft_over == SftOver::Prefix && given > 0).then_some(given),
        }
    }

    /// Tokens of each rollout that carry loss: of a masked one none, but it counts as a sequence.
    pub fn rollout_lengths<'b>(
        &self,
        objective: &'b Objective,
        lowest_given: Option<f64>,
    ) -> impl Iterator<Item = usize> + use<'a, 'b> {
        let length = move |e: &Episode| match masked(objective, e) {
            true => 0,
            false => learned_of_given(e, lowest_given).len() + e.tokens.len(),
        };
        self.group.episodes.iter().map(length)
    }

    /// Positions before the demonstration's last turn that are imitated, too; none where its beginning is all.
    pub fn learned(&self) -> &'a [usize] {
        if self.imitated.is_some() { &[] } else { &self.group.learned }
    }

    /// Tokens of the demonstration that carry loss, where one is used.
    pub fn demonstration_length(&self) -> Option<usize> {
        let demonstration = self.group.demonstration.as_ref().filter(|_| self.demonstrates)?;
        Some(self.learned().len() + self.imitated.unwrap_or(demonstration.tokens.len()))
    }
}

/// The entropy from which on the self term acts on a token that a rollout was given: the quantile over the rollouts of
/// the update that carry loss. `None` where it acts on nothing given.
pub(super) fn lowest_given(parts: &[Part], objective: &Objective) -> Option<f64> {
    if objective.prefix_learned == 0.0 {
        return None;
    }
    let episodes = parts.iter().filter(|p| p.reinforces).flat_map(|p| &p.group.episodes);
    let with_loss = episodes.filter(|e| !masked(objective, e));
    let entropies = with_loss.flat_map(|e| &e.given_entropies).copied().collect();
    quantile(entropies, objective.prefix_learned)
}

/// Which of the tokens that a rollout was given the self term acts on.
pub(super) fn learned_of_given(episode: &Episode, lowest: Option<f64>) -> Vec<usize> {
    let Some(lowest) = lowest else { return Vec::new() };
    let entropies = episode.given_entropies.iter().enumerate();
    entropies.filter(|(_, h)| f64::from(**h) >= lowest).map(|(t, _)| t).collect()
}

/// A rollout's reward in its group, less what its KL and its length take off.
pub(super) fn reward(episode: &Episode, objective: &Objective) -> f32 {
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
pub(super) fn masked(objective: &Objective, episode: &Episode) -> bool {
    objective.truncated == Truncated::Masked && episode.truncated
}

/// What a `share` of the numbers is not below, between two of them in a straight line; `None` of none.
pub(super) fn quantile(mut numbers: Vec<f32>, share: f64) -> Option<f64> {
    numbers.sort_by(f32::total_cmp);
    let place = (1.0 - share) * (numbers.len().checked_sub(1)? as f64);
    let [below, above] = [place.floor(), place.ceil()].map(|i| f64::from(numbers[i as usize]));
    Some(below + (above - below) * place.fract())
}
