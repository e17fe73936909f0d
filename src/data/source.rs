//! Where a run's examples come from: the built-in task, a user's file, the pretraining mix.

use super::builtin;
use crate::config::Data;
use crate::random::{ORDER, Stream};
use crate::records::Example;

/// A source of training examples. Stateless: the step number is the cursor, so a resumed run
/// reads on exactly where it stopped.
#[derive(Debug, Clone)]
pub enum Source {
    /// The built-in task.
    Builtin(Data),
    /// The mix that the tiny base is made from.
    Pretraining,
    /// A file's examples, reshuffled each epoch.
    Examples(Vec<Example>),
}

impl Source {
    /// The `count` examples of update `step`.
    pub fn examples(&self, seed: u64, step: u32, count: usize) -> Vec<Example> {
        let first = u64::from(step) * count as u64;
        (first..first + count as u64).map(|cursor| self.example(seed, cursor)).collect()
    }

    fn example(&self, seed: u64, cursor: u64) -> Example {
        match self {
            Source::Builtin(data) => builtin::training_example(data, seed, cursor),
            Source::Pretraining => builtin::pretrain_document(seed, cursor as u32),
            Source::Examples(examples) => {
                let len = examples.len() as u64;
                let mut order: Vec<usize> = (0..examples.len()).collect();
                Stream::new(seed, ORDER, (cursor / len) as u32).shuffle(&mut order);
                examples[order[(cursor % len) as usize]].clone()
            }
        }
    }
}
