//! An evaluation that the page requested, in slices: between two slices other commands are handled.

use super::Emit;
use super::protocol::Event;
use super::slot::Slot;
use crate::error::Result;
use crate::eval::{Judge, Sample, Suite, scores};
use crate::model::Llama;
use std::ops::Range;

/// Problems of a slice on the CPU: a fraction of a second on one thread of wasm.
pub const SLICE: usize = 64;
/// Problems of a slice on a GPU, which takes few and large batches.
pub const SLICE_GPU: usize = 256;

/// The base's evaluation, then each run's.
pub struct Asked {
    suites: Vec<Suite>,
    slice: usize,
    models: Range<usize>,      // 0 is the base, the others are the runs
    model: usize,              // the one under way
    done: usize,               // problems of it
    samples: Vec<Vec<Sample>>, // of it, suite by suite
}

impl Asked {
    /// An evaluation of `models` on `suites`, with `slice` problems at a time; model 0 is the base, the others are the runs.
    pub fn new(suites: Vec<Suite>, slice: usize, models: Range<usize>) -> Self {
        let samples = vec![Vec::new(); suites.len()];
        Self { suites, slice, model: models.start, models, done: 0, samples }
    }

    /// Whether every model is scored.
    pub fn is_done(&self) -> bool {
        self.model == self.models.end
    }

    /// Samples and judges a slice, and emits the progress and, once a model is done, its scores.
    pub async fn advance(&mut self, base: &Llama, slots: &[Slot], emit: &Emit) -> Result<()> {
        let slot = &slots[self.model.saturating_sub(1)];
        let model = if self.model == 0 { base } else { &slot.run.trainer().learner.policy };
        let parts = self.parts();
        // Draws are counted by the place in a batch, so each slice needs a seed of its own.
        let slice = (self.done / self.slice) as u64;
        let config = slot.run.config();
        let config = config.with(|s| s.run.seed = s.run.seed.wrapping_add(slice))?;
        let judge = Judge { config: &config, ..slot.run.judge() };
        for (suite, samples) in judge.samples(model, &parts).await?.into_iter().enumerate() {
            self.done += samples.len() / config.eval.samples;
            self.samples[suite].extend(samples);
        }
        let of_model: usize = self.suites.iter().map(|s| s.problems.len()).sum();
        let done = ((self.model - self.models.start) * of_model + self.done) as u32;
        emit(Event::Evaluating { done, of: (self.models.len() * of_model) as u32 }, None);
        if self.done < of_model {
            return Ok(());
        }
        let scores = scores(&self.suites, &self.samples, config.eval.samples);
        let (run, step) = match self.model {
            0 => (None, 0),
            _ => (Some(slot.index), slot.run.step()),
        };
        let scores = scores.into_iter().map(Into::into).collect();
        emit(Event::Evaluation { run, step, scores, asked: true }, None);
        self.samples.iter_mut().for_each(Vec::clear);
        (self.model, self.done) = (self.model + 1, 0);
        Ok(())
    }

    /// The next slice: each suite with those of its problems that belong to it.
    fn parts(&self) -> Vec<Suite> {
        let (mut from, mut room) = (self.done, self.slice);
        let part = |suite: &Suite| {
            let begin = from.min(suite.problems.len());
            let end = (begin + room).min(suite.problems.len());
            (from, room) = (from - begin, room - (end - begin));
            Suite { problems: suite.problems[begin..end].to_vec(), ..suite.clone() }
        };
        self.suites.iter().map(part).collect()
    }
}
