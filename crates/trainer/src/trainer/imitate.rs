//! Steps that imitate alone, for what a step's rollouts would have cost.

use super::Trainer;
use super::report::{Done, report};
use crate::config::{Objective, Prefix, SelfTerm, SftGate};
use crate::data::source::Problem;
use crate::error::Result;
use crate::metrics::StepReport;
use crate::objective::turns::Turns;
use crate::ops::objective::column;
use crate::optim::learning_rate;
use crate::platform::Stopwatch;
use crate::records::Group;

/// Problems that have a turn for each demonstration of an update, at most.
const TURNS: u64 = 32;

/// What a token costs, in operations a weight: a forward pass, and with a backward pass.
const READ: usize = 2;
const TRAINED: usize = 6;

impl Trainer {
    /// The next step, if it imitates alone and finds something to learn.
    pub(super) async fn imitate(
        &mut self,
        turns: &mut Turns,
    ) -> Result<Option<(StepReport, Vec<Group>)>> {
        let whole = self.objective();
        if whole.imitation == 0.0 || !turns.imitates(whole.imitation) {
            return Ok(None);
        }
        let clock = Stopwatch::start();
        let alone =
            Objective { self_term: SelfTerm::None, rl_demo: false, prefix: Prefix::None, ..whole };
        let config = &self.learner.config;
        let (rollout, steps) = (&config.rollout, config.train.steps);
        let (group, prompts) = (rollout.group, rollout.prompts);
        let limit = rollout.max_new_tokens;
        let updates = (group * (READ + TRAINED) / TRAINED).max(1) as u32;
        let lr = learning_rate(&config.optimizer, self.step, steps);
        let (mut done, mut all) = (Done::default(), Vec::new());
        for _ in 0..updates {
            let groups = self.to_read(turns, prompts, &alone).await?;
            // A few left over would each weigh as much as a whole batch.
            if 4 * groups.len() < prompts {
                break;
            }
            let first = done.count();
            self.update(&groups, &alone, lr, updates, &mut done).await?;
            // No group has rollouts, so that each sequence is a group's demonstration.
            for (group, (sequence, sums)) in groups.iter().zip(done.since(first)) {
                // What weighs a token is its p, and Σ (1 − p) ≈ −ln Π p where that is small.
                let unsure = (1.0 - sums[column::WEIGHT]) * sequence.loss_tokens() as f64;
                match unsure < -alone.known.ln() {
                    true => turns.known(&group.example),
                    false => turns.unknown(&group.example),
                }
            }
            all.extend(groups);
        }
        if all.is_empty() {
            return Ok(None);
        }
        self.step += 1;
        let report = StepReport {
            step: self.step,
            lr,
            train_secs: clock.elapsed_secs(),
            ..report(&all, &[], &done, &alone, limit, 1)
        };
        Ok(Some((report, all)))
    }

    /// The next `count` demonstrations that are accepted and not passed over; fewer, if a round of all problems has no more.
    async fn to_read(
        &self,
        turns: &mut Turns,
        count: usize,
        alone: &Objective,
    ) -> Result<Vec<Group>> {
        let seed = self.learner.config.run.seed;
        let most = TURNS * count as u64;
        let end = turns.cursor + self.source.count().map_or(most, |all| all.min(most));
        let mut found: Vec<Group> = Vec::new();
        while found.len() < count && turns.cursor < end {
            let mut next: Vec<Problem> = Vec::new();
            while found.len() + next.len() < count && turns.cursor < end {
                let one = self.source.examples(seed, turns.cursor as u32, 1);
                turns.cursor += 1;
                let shown = one.into_iter().filter(|p| p.example.demonstration.is_some());
                next.extend(shown.filter(|p| turns.reads(&p.example)));
            }
            for group in self.groups_at(next, self.step, alone).await? {
                let right = group.demonstration.as_ref().is_some_and(|shown| shown.right);
                match right || alone.sft_gate == SftGate::None {
                    true => found.push(group),
                    false => turns.refused(&group.example),
                }
            }
        }
        Ok(found)
    }
}
