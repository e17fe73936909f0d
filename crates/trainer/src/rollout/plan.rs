//! What is to be sampled, and how.

use super::Stops;
use crate::config::{CacheDtype, Config, Settings};
use crate::ops::sampling::Sampling;
use crate::random::step;
use crate::text::Tokenizer;
use serde::{Deserialize, Serialize};

/// How a batch of responses is sampled.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// Samples a prompt.
    pub group: usize,
    /// Temperature and truncation.
    pub sampling: Sampling,
    /// Longest response, tokens.
    pub max_new_tokens: usize,
    /// Tokens that end a response.
    pub eos_tokens: &'a [u32],
    /// Texts that end a response.
    pub stops: Stops<'a>,
    /// Rows decoded at a time; 0: as many as 512.
    pub slots: usize,
    /// How keys and values of the texts so far are held.
    pub cache: CacheDtype,
    /// Key of the random numbers.
    pub seed: u64,
    /// Key of the random numbers.
    pub step: u32,
}

impl<'a> Plan<'a> {
    /// How a run samples.
    pub fn by(by: By, config: &'a Config, tokenizer: &'a Tokenizer, eos_tokens: &'a [u32]) -> Self {
        match by {
            By::Rollout { step, draws } => {
                Self { step: draws, ..Self::of(config, tokenizer, eos_tokens, step) }
            }
            By::Evaluation => Self {
                group: config.eval.samples,
                sampling: Sampling {
                    temperature: config.eval.temperature as f32,
                    ..Sampling::default()
                },
                ..Self::of(config, tokenizer, eos_tokens, step::EVALUATION)
            },
        }
    }

    /// How a run samples in its step `step`: a group for each prompt.
    pub fn of(
        config: &'a Config,
        tokenizer: &'a Tokenizer,
        eos_tokens: &'a [u32],
        step: u32,
    ) -> Self {
        let Settings { rollout, run, .. } = &**config;
        Self {
            group: rollout.group,
            sampling: Sampling {
                policy_temperature: config.objective_at(step).temperature as f32,
                ..Sampling::of(rollout)
            },
            max_new_tokens: rollout.max_new_tokens,
            eos_tokens,
            stops: Stops::new(tokenizer, &rollout.stop),
            slots: rollout.slots,
            cache: rollout.cache_dtype,
            seed: run.seed,
            step,
        }
    }
}

/// How responses are sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum By {
    /// As rollouts.
    Rollout {
        /// The step, which decides the temperature where a method has two stages.
        step: u32,
        /// Key of the random numbers: the step, or one that no run comes to.
        draws: u32,
    },
    /// As in an evaluation.
    Evaluation,
}

/// Where responses begin: what is read before them, and whose they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// All that is read first: a prompt, and perhaps the beginning of an answer to it.
    pub read: Vec<u32>,
    /// Index of the prompt.
    pub prompt: usize,
    /// Indices within the group.
    pub samples: std::ops::Range<usize>,
}
