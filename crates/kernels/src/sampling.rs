//! The sampling kernel: temperature, top-k, top-p, min-p and the draw, one row of logits a sequence.
//!
//! The draw is counter-based ([`srft_formats::random::token_uniform`], bit for bit the same on every
//! backend), so neither batching nor order changes it. Tokens are kept by a threshold on the logit:
//! all tokens *tied* with the last one kept are kept too. As in Hugging Face's order, temperature
//! comes first, then top-k, then top-p over what top-k left, then min-p.
//!
//! The log-probability and entropy that come out are the π_θ of the objective: over the whole vocabulary, whatever
//! top-k, top-p and min-p leave of it for the draw, at a temperature of their own.

mod cpu;
mod gpu;
pub mod reference;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::{Device, Int, Tensor, TensorData};

use srft_formats::config::Rollout;
use srft_formats::error::{Error, Result};
use srft_formats::model::MAX_VOCABULARY;

/// How a token is drawn; the default is the policy itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 is greedy: the largest logit, the lowest index among equals.
    pub temperature: f32,
    /// Keeps the k most probable tokens, and ties with the last; 0 is off.
    pub top_k: u32,
    /// Keeps the fewest most probable tokens that hold this much mass, and ties; 1 is off.
    pub top_p: f32,
    /// Keeps tokens at least this share as probable as the most probable one; 0 is off.
    pub min_p: f32,
    /// Divides the logits that log-probability and entropy are of; above 0.
    pub policy_temperature: f32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, policy_temperature: 1.0 }
    }
}

impl Sampling {
    /// The settings that a config's rollouts are sampled with.
    pub fn of(rollout: &Rollout) -> Self {
        Self {
            temperature: rollout.temperature as f32,
            top_k: rollout.top_k,
            top_p: rollout.top_p as f32,
            min_p: rollout.min_p as f32,
            policy_temperature: 1.0,
        }
    }

    /// Refuses settings that describe no distribution.
    pub fn checked(self) -> Result<Self> {
        if !(self.temperature == 0.0 || (1e-3..=1e3).contains(&self.temperature)) {
            let given = self.temperature;
            return Err(Error::input(format!("temperature {given} is not 0 or 0.001 to 1000"))
                .at("temperature")
                .next("use 1 for the policy itself, 0 for the most probable token"));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(Error::input(format!("top_p {} is not above 0 and at most 1", self.top_p))
                .at("top_p")
                .next("use 1 to switch it off"));
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return Err(Error::input(format!("min_p {} is not in 0 to 1", self.min_p))
                .at("min_p")
                .next("use 0 to switch it off"));
        }
        Ok(self)
    }

    /// The lowest logit that min-p keeps, minus the largest; finite where min-p is off.
    fn lowest_below_largest(self) -> f32 {
        (self.temperature * self.min_p.ln()).max(-3e38)
    }
}

/// The counter of a draw; see [`srft_formats::random::token_uniform`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// Index of the prompt within its step.
    pub prompt: u32,
    /// Index of the sample within its group.
    pub sample: u32,
    /// Position of the token within the response.
    pub position: u32,
}

/// The draws of a batch's rows, where the logits are, so that nothing is uploaded from token to token.
#[derive(Debug, Clone)]
pub struct Draws(Tensor<2, Int>); // [B, 3]: prompt, sample, position

impl Draws {
    /// One a row, for logits on `device`.
    pub fn new(rows: impl IntoIterator<Item = Draw>, device: &Device) -> Self {
        let words = |draw: Draw| [draw.prompt, draw.sample, draw.position].map(|n| n as i32);
        let words: Vec<i32> = rows.into_iter().flat_map(words).collect();
        let shape = [words.len() / 3, 3];
        Self(Tensor::from_data(TensorData::new(words, shape), device))
    }
}

/// The key of a step's draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The run's seed.
    pub seed: u64,
    /// The step of the run.
    pub step: u32,
}

/// The drawn tokens with the policy's statistics.
#[derive(Debug, Clone)]
pub struct Sampled {
    /// `[B]` token ids.
    pub tokens: Tensor<1, Int>,
    /// `[B, 2]`: ln π(token) and H, nats, over the whole vocabulary.
    pub stats: Tensor<2>,
}

/// Sampling on one backend. Use [`sample`].
#[backend_extension(Cube, Flex)]
pub trait SamplingOps: Backend {
    /// `[B, V]` logits, `[B, 3]` draws → (`[B]` tokens, `[B, 2]` ln π and H, the next position's draws).
    fn sample(
        logits: FloatTensor<Self>,
        draws: IntTensor<Self>,
        key: Key,
        settings: Sampling,
    ) -> (IntTensor<Self>, FloatTensor<Self>, IntTensor<Self>);
}

/// Draws one token a row of `logits` (`[B, V]`, on a device without autodiff); `draws` holds B, and
/// afterwards those of the next position.
///
/// The token always has a probability above 0 under the settings. `settings` must be
/// [`checked`](Sampling::checked).
///
/// # Panics
/// If there is not one draw a row, or the vocabulary is empty or above [`MAX_VOCABULARY`].
pub fn sample(
    logits: Tensor<2>,
    draws: &mut Draws,
    seed: u64,
    step: u32,
    settings: Sampling,
) -> Sampled {
    let [rows, vocabulary] = logits.dims();
    assert_eq!([rows, 3], draws.0.dims(), "sample: one draw a row");
    assert!((1..=MAX_VOCABULARY).contains(&vocabulary), "sample: a vocabulary of {vocabulary}");
    // Taken out, the draws have one owner and are counted up in place.
    let taken = std::mem::replace(&mut draws.0, Tensor::empty([1, 1], &logits.device()));
    let (tokens, stats, next) = <Dispatch as SamplingOps>::sample(
        logits.into_dispatch(),
        taken.into_dispatch(),
        Key { seed, step },
        settings,
    );
    draws.0 = Tensor::from_dispatch(next);
    Sampled { tokens: Tensor::from_dispatch(tokens), stats: Tensor::from_dispatch(stats) }
}
