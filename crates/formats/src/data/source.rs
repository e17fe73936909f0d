//! Where a run's examples come from: the built-in task, a user's file, the pretraining mix.

use super::builtin;
use super::encode::{Encoded, encode};
use crate::config::Data;
use crate::error::Result;
use crate::random::{Stream, purpose};
use crate::records::Example;
use crate::text::Tokenizer;
use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

/// An example, with its tokens where they are known already.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The text.
    pub example: Example,
    /// Its tokens; `None` until they are first needed.
    pub encoded: Option<Encoded>,
}

impl Problem {
    /// Its tokens: those kept since loading, or else encoded now.
    pub fn in_tokens(&self, tokenizer: &Tokenizer, eos_tokens: &[u32]) -> Result<Cow<'_, Encoded>> {
        match &self.encoded {
            Some(encoded) => Ok(Cow::Borrowed(encoded)),
            None => encode(tokenizer, eos_tokens, &self.example).map(Cow::Owned),
        }
    }
}

impl From<Example> for Problem {
    fn from(example: Example) -> Self {
        Self { example, encoded: None }
    }
}

/// A source of training examples. Stateless: the step number is the cursor, so a resumed run continues
/// exactly where it stopped.
#[derive(Debug, Clone)]
pub enum Source {
    /// The built-in task.
    Builtin(Data),
    /// The pretraining mix of the tiny base.
    Pretraining,
    /// A file's examples, reshuffled each epoch.
    Examples(Arc<Problems>),
}

/// A file's examples, and the order of the current epoch.
#[derive(Debug, Default)]
pub struct Problems {
    /// In the file's order.
    pub all: Vec<Problem>,
    order: Mutex<Order>,
}

#[derive(Debug, Default)]
struct Order {
    seed: u64,
    epoch: u32,
    /// Empty until first used.
    indices: Vec<usize>,
}

impl Source {
    /// A source of examples in memory.
    pub fn of<P: Into<Problem>>(problems: impl IntoIterator<Item = P>) -> Self {
        let all = problems.into_iter().map(Into::into).collect();
        Source::Examples(Arc::new(Problems { all, order: Mutex::default() }))
    }

    /// How many different examples there are, if there is an end to them.
    pub fn count(&self) -> Option<u64> {
        match self {
            Source::Builtin(data) => (data.pool > 0).then_some(data.pool.into()),
            Source::Pretraining => None,
            Source::Examples(problems) => Some(problems.all.len() as u64),
        }
    }

    /// The `count` examples of update `step`.
    pub fn examples(&self, seed: u64, step: u32, count: usize) -> Vec<Problem> {
        let first = u64::from(step) * count as u64;
        let cursors = first..first + count as u64;
        match self {
            Source::Builtin(data) => {
                cursors.map(|at| builtin::training_example(data, seed, at).into()).collect()
            }
            Source::Pretraining => {
                cursors.map(|at| builtin::pretrain_document(seed, at as u32).into()).collect()
            }
            Source::Examples(problems) => {
                let len = problems.all.len() as u64;
                let mut order = problems.order.lock().unwrap_or_else(PoisonError::into_inner);
                let mut at = |cursor: u64| {
                    order.of(seed, (cursor / len) as u32, len)[(cursor % len) as usize]
                };
                cursors.map(|cursor| problems.all[at(cursor)].clone()).collect()
            }
        }
    }
}

impl Order {
    /// The order of an epoch: drawn once, since a step asks for many examples of it.
    fn of(&mut self, seed: u64, epoch: u32, len: u64) -> &[usize] {
        if self.indices.is_empty() || (self.seed, self.epoch) != (seed, epoch) {
            let mut indices: Vec<usize> = (0..len as usize).collect();
            Stream::new(seed, purpose::ORDER, epoch).shuffle(&mut indices);
            *self = Self { seed, epoch, indices };
        }
        &self.indices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(count: usize) -> Source {
        let example = |n: usize| Example { prompt: n.to_string(), ..Example::default() };
        Source::of((0..count).map(example))
    }

    fn prompts(source: &Source, seed: u64, step: u32, count: usize) -> Vec<usize> {
        let drawn = source.examples(seed, step, count).into_iter();
        drawn.map(|p| p.example.prompt.parse().unwrap()).collect()
    }

    /// Steps in order, across the ends of epochs, and again from the middle, as a resumed run asks.
    #[test]
    fn an_order_that_is_kept_is_the_one_that_is_drawn() {
        for count in [1, 3, 10, 25] {
            let kept = source(10);
            let (mut all, mut read) = (Vec::new(), Vec::new());
            for epoch in 0..15 {
                let mut indices: Vec<usize> = (0..10).collect();
                Stream::new(7, purpose::ORDER, epoch).shuffle(&mut indices);
                all.extend(indices);
            }
            for step in 0..(all.len() / count) as u32 {
                let drawn = prompts(&kept, 7, step, count);
                assert_eq!(drawn, prompts(&source(10), 7, step, count), "asked for by itself");
                read.extend(drawn);
            }
            assert_eq!(read, all[..read.len()]);
            assert_ne!(prompts(&kept, 8, 0, 10), prompts(&kept, 7, 0, 10), "another seed");
        }
    }
}
