//! Rollouts that begin inside a demonstration: how much of it each prompt's are given.

use super::Trainer;
use crate::config::{GroupOf, Objective, Prefix};
use crate::error::Result;
use crate::random::{Stream, purpose};
use crate::records::Group;
use crate::rollout::Start;
use crate::text::Tokenizer;

/// Parts that a demonstration has for `prefix = parts`, as in UFT.
const PARTS: u32 = 5;

/// Where the search of `prefix = success` is, for one prompt: after this share of its demonstration no rollout was
/// right, after that all were.
struct Search {
    group: usize,
    failed: f64,
    solved: f64,
}

impl Trainer {
    /// Samples each group's rollouts by the random numbers of step `step`: from the prompt, or from within its
    /// demonstration.
    pub(super) async fn roll_out(
        &self,
        groups: &mut [Group],
        objective: &Objective,
        step: u32,
    ) -> Result<()> {
        let config = &self.learner.config;
        let shared = usize::from(objective.group_of == GroupOf::Shared);
        let size = config.rollout.group - shared;
        // Drawn for every prompt, so that no prompt's share depends on what the others have.
        let mut stream = Stream::new(config.run.seed, purpose::PREFIX, step);
        let mut starts = Vec::with_capacity(groups.len());
        for (prompt, group) in groups.iter().enumerate() {
            let given = self.given(group, share(objective, &mut stream));
            let guided = match (given, objective.prefix_rollouts) {
                (0, _) => 0,
                (_, 0) => size,
                (_, some) => some.min(size),
            };
            let start = |given, samples| Start { read: begun(group, given), prompt, samples };
            let both = [start(0, 0..size - guided), start(given, size - guided..size)];
            starts.extend(both.into_iter().filter(|start| !start.samples.is_empty()));
        }
        self.sample(groups, &starts, objective, step).await?;
        match objective.prefix {
            Prefix::Success => self.search(groups, objective, step, size).await,
            _ => Ok(()),
        }
    }

    /// Where no rollout is right, looks for a prefix after which some are and some are not, by halving.
    async fn search(
        &self,
        groups: &mut [Group],
        objective: &Objective,
        step: u32,
        size: usize,
    ) -> Result<()> {
        let right = |group: &Group| group.episodes.iter().filter(|e| e.right).count();
        let begun_at = |(i, group): (usize, &Group)| {
            let hopeless = !group.episodes.is_empty() && right(group) == 0;
            hopeless.then_some(Search { group: i, failed: 0.0, solved: 1.0 })
        };
        let mut searches: Vec<Search> = groups.iter().enumerate().filter_map(begun_at).collect();
        for round in 1..=objective.prefix_rounds as usize {
            let mut starts = Vec::new();
            searches.retain(|search| {
                let group = &mut groups[search.group];
                let given = self.given(group, (search.failed + search.solved) / 2.0);
                // The same place again, or none at all, has nothing new to say.
                if given == 0 || group.episodes.iter().all(|e| e.given == given) {
                    return false;
                }
                let first = round * size; // samples of their own: so are their random numbers
                let (prompt, samples) = (search.group, first..first + size);
                starts.push(Start { read: begun(group, given), prompt, samples });
                group.tried.append(&mut group.episodes);
                true
            });
            if starts.is_empty() {
                break;
            }
            self.sample(groups, &starts, objective, step).await?;
            for search in &mut searches {
                let group = &mut groups[search.group];
                for episode in &mut group.episodes {
                    episode.sample -= round * size;
                }
                let middle = (search.failed + search.solved) / 2.0;
                match right(group) {
                    0 => search.failed = middle,
                    _ => search.solved = middle,
                }
            }
            searches.retain(|search| {
                let group = &groups[search.group];
                [0, group.episodes.len()].contains(&right(group)) && !group.episodes.is_empty()
            });
        }
        Ok(())
    }

    /// How many of its demonstration's tokens a share of it is: at most all but the last, and as many as leave the
    /// model room for a token. Of a demonstration of several turns none, since others speak in it.
    fn given(&self, group: &Group, share: f64) -> usize {
        let Some(shown) = group.demonstration.as_ref().filter(|d| d.earlier.is_empty()) else {
            return 0;
        };
        let whole = shown.tokens.len();
        // 0.7 is a little less in binary; its product with 10 must still be 7.
        let given = (share * whole as f64 * (1.0 + 2.0 * f64::EPSILON)) as usize;
        let positions = self.learner.policy.config.max_positions - 1;
        given.min(whole.saturating_sub(1)).min(positions.saturating_sub(group.prompt_tokens.len()))
    }
}

/// The share of its demonstration that a prompt's rollouts are given.
fn share(objective: &Objective, stream: &mut Stream) -> f64 {
    // `objective_at` has put the schedule's present share here.
    let present = objective.prefix_end;
    match objective.prefix {
        Prefix::None | Prefix::Success => 0.0,
        Prefix::Share => present,
        Prefix::Parts => {
            let parts = (0..PARTS).filter(|_| stream.chance(present)).count();
            parts as f64 / f64::from(PARTS)
        }
        Prefix::Uniform => present + (objective.prefix_share - present) * f64::from(stream.unit()),
    }
}

/// A prompt with the first `given` tokens of its demonstration.
fn begun(group: &Group, given: usize) -> Vec<u32> {
    let shown = group.demonstration.as_ref().map_or(&[][..], |d| &d.tokens);
    [&group.prompt_tokens[..], &shown[..given]].concat()
}

/// The whole text of a response that goes on from `given` with `tokens`, whose text before a stop is `own`.
pub(super) fn text(tokenizer: &Tokenizer, given: &[u32], tokens: &[u32], own: String) -> String {
    if given.is_empty() {
        return own;
    }
    let stop = tokenizer.decode(tokens).len().saturating_sub(own.len());
    // Together, since a character's bytes may be in both.
    let mut whole = tokenizer.decode(&[given, tokens].concat());
    whole.truncate(whole.floor_char_boundary(whole.len().saturating_sub(stop)));
    whole
}
