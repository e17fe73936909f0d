//! A step's work in shards. A config cuts it (`train.shards`), so that neither the numbers nor their order
//! depend on how many devices share it: whoever has the weights can do a [`Job`].

use crate::objective::loss::BatchEntropy;
use crate::records::Sequence;
use crate::rollout::{By, Response, Start};
use crate::score::Scored;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A part of a step's work: a function of the weights and of what stands here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Job {
    /// Samples responses.
    Respond {
        /// Where they begin, and whose they are.
        starts: Vec<Start>,
        /// By which settings and random numbers.
        by: By,
    },
    /// Scores sequences.
    Score {
        /// The model that is asked.
        model: Which,
        /// What it is asked about.
        sequences: Vec<Sequence>,
    },
    /// A part of an update's gradient.
    Gradient {
        /// The step.
        step: u32,
        /// Key of the first micro-batch's dropout; the next have the next numbers.
        key: u32,
        /// Mean entropies over the whole update, where weights need them.
        entropy: BatchEntropy,
        /// The sequences that it is of.
        sequences: Vec<Sequence>,
    },
}

/// A learner's models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Which {
    /// The policy π_θ.
    Policy,
    /// What a KL penalty keeps it close to.
    Base,
}

/// What came of a job.
#[derive(Debug)]
pub enum Outcome {
    /// Of [`Job::Respond`], in order.
    Responses(Vec<Response>),
    /// Of [`Job::Score`], in order.
    Scores(Vec<Scored>),
    /// Of [`Job::Gradient`].
    Gradient(Part),
}

/// A shard's part of a gradient.
#[derive(Debug)]
pub struct Part {
    /// The sum over its micro-batches: one tensor a parameter, in parameter order. None, if what comes of a later
    /// shard has this one's and those before it in its sum.
    pub tensors: Vec<Tensor<2>>,
    /// The kernel's sums, [B · 8] for each micro-batch.
    pub sums: Vec<Tensor<1>>,
}

/// Cuts sequences, in their order, into at most `count` shards of about as many tokens each. Those of one
/// prompt, which share its reading, stay together.
pub fn shards(sequences: &[Sequence], count: usize) -> Vec<Range<usize>> {
    let tokens = |s: &Sequence| s.prompt.len() + s.response.len();
    let all: usize = sequences.iter().map(tokens).sum();
    let mut cut: Vec<(usize, Range<usize>)> = Vec::new();
    let (mut first, mut before) = (0, 0);
    for group in sequences.chunk_by(|a, b| a.prompt == b.prompt) {
        let of_group: usize = group.iter().map(tokens).sum();
        // Where the group's middle lies.
        let shard = (2 * before + of_group) * count / (2 * all).max(1);
        let next = first + group.len();
        match cut.last_mut() {
            Some((last, range)) if *last == shard => range.end = next,
            _ => cut.push((shard, first..next)),
        }
        (first, before) = (next, before + of_group);
    }
    cut.into_iter().map(|(_, range)| range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(prompt: u32, responses: &[usize]) -> Vec<Sequence> {
        let sequence = |&length: &usize| Sequence::to_score(vec![prompt; 4], vec![1; length]);
        responses.iter().map(sequence).collect()
    }

    #[test]
    fn shards_are_even_and_keep_prompts_together() {
        let sequences: Vec<Sequence> = (0..8).flat_map(|i| group(i, &[4, 4])).collect();
        assert_eq!(shards(&sequences, 1), [0..16]);
        assert_eq!(shards(&sequences, 4), [0..4, 4..8, 8..12, 12..16]);
        assert_eq!(shards(&sequences, 99).len(), 8, "a shard has a prompt at least");
        let long = [group(0, &[60, 60]), group(1, &[4]), group(2, &[4])].concat();
        assert_eq!(shards(&long, 2), [0..2, 2..4]);
        assert!(shards(&[], 3).is_empty());
    }
}
