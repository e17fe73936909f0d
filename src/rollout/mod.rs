//! Batched decoding with the KV cache: G samples a prompt, prompts of different lengths.

use crate::error::{Error, Result};
use crate::model::Llama;
use crate::ops::attention::KvCache;
use crate::ops::readback;
use crate::ops::sampling::{Draw, Sampled, Sampling, sample};
use burn::tensor::{Int, Tensor, TensorData};

/// Decoding steps between two looks at the sampled ids: each look is a readback, and an ended row
/// may run this much too far.
const STEPS_PER_LOOK: usize = 8;

/// Rows decoded at a time: bounds the cache's memory; has no effect on what is sampled.
const ROWS_AT_A_TIME: usize = 512;

/// What a batch of responses is sampled with.
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
    /// Key of the random numbers.
    pub seed: u64,
    /// Key of the random numbers.
    pub step: u32,
}

/// A sampled response, not yet decoded or scored.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// Index of the prompt.
    pub prompt: usize,
    /// Index within the group.
    pub sample: usize,
    /// Tokens with end-of-text, if the policy came to it.
    pub tokens: Vec<u32>,
    /// ln π of each token, nats.
    pub logprobs: Vec<f32>,
    /// Entropy at each token, nats.
    pub entropies: Vec<f32>,
    /// No end-of-text within the limit.
    pub truncated: bool,
}

/// Samples `plan.group` responses to each prompt, in order of (prompt, sample).
pub async fn respond(
    model: &Llama,
    prompts: &[Vec<u32>],
    plan: &Plan<'_>,
) -> Result<Vec<Response>> {
    let limit = model.config.max_positions;
    if let Some(long) = prompts.iter().find(|p| p.is_empty() || p.len() >= limit) {
        return Err(Error::input(format!(
            "a prompt has {} tokens; the model takes 1 to {}",
            long.len(),
            limit - 1
        ))
        .next("shorten or drop the prompt"));
    }
    let per_batch = (ROWS_AT_A_TIME / plan.group).max(1);
    let mut responses = Vec::with_capacity(prompts.len() * plan.group);
    for (index, chunk) in prompts.chunks(per_batch).enumerate() {
        let batch = Decoder::start(model, chunk, index * per_batch, plan);
        responses.extend(batch.run().await?);
    }
    Ok(responses)
}

/// A batch of rows being decoded together.
struct Decoder<'a> {
    model: &'a Llama,
    plan: &'a Plan<'a>,
    responses: Vec<Response>,
    limits: Vec<usize>,   // longest response of each row
    caches: Vec<KvCache>, // one a layer, rows as in `alive`
    alive: Vec<usize>,    // the row of the batch behind each row of the tensors
    unread: Vec<Tensor<1, Int>>,
    stats: Vec<(Vec<usize>, Tensor<2>)>, // rows and their [b, 2] of each position
    next: Tensor<2>,                     // logits [b, V] of the next position
    position: usize,
}

impl<'a> Decoder<'a> {
    fn start(model: &'a Llama, prompts: &[Vec<u32>], first: usize, plan: &'a Plan) -> Self {
        let lengths: Vec<u32> = prompts.iter().map(|p| p.len() as u32).collect();
        let positions = prompts.iter().map(Vec::len).max().unwrap_or(0);
        let capacity = (positions + plan.max_new_tokens).min(model.config.max_positions);
        let mut tokens = vec![0i32; prompts.len() * positions];
        for (row, prompt) in tokens.chunks_mut(positions).zip(prompts) {
            row.iter_mut().zip(prompt).for_each(|(slot, &t)| *slot = t as i32);
        }
        let device = model.device();
        let ints = |values: Vec<i32>| {
            let count = values.len();
            Tensor::<1, Int>::from_data(TensorData::new(values, [count]), &device)
        };
        let (hidden, caches) = model.prefill(ints(tokens), &lengths, positions, capacity);
        let last = (0..).zip(&lengths).map(|(row, &len)| row * positions as i32 + len as i32 - 1);
        let last = hidden.select(0, ints(last.collect())); // [P, D]
        let repeated = (0..prompts.len() as i32).flat_map(|p| vec![p; plan.group]).collect();
        let next = model.logits(last).select(0, ints(repeated)); // [P·G, V]
        let caches = caches.into_iter().map(|cache| cache.repeat(plan.group)).collect();
        let responses: Vec<Response> = (0..prompts.len() * plan.group)
            .map(|row| Response {
                prompt: first + row / plan.group,
                sample: row % plan.group,
                tokens: Vec::new(),
                logprobs: Vec::new(),
                entropies: Vec::new(),
                truncated: true,
            })
            .collect();
        let room = |row: usize| capacity - prompts[row / plan.group].len();
        Self {
            model,
            plan,
            limits: (0..responses.len()).map(|r| room(r).min(plan.max_new_tokens)).collect(),
            alive: (0..responses.len()).collect(),
            responses,
            caches,
            unread: Vec::new(),
            stats: Vec::new(),
            next,
            position: 0,
        }
    }

    async fn run(mut self) -> Result<Vec<Response>> {
        loop {
            let Sampled { tokens, stats } = self.draw();
            self.stats.push((self.alive.clone(), stats));
            self.unread.push(tokens.clone());
            self.position += 1;
            let mut tokens = tokens;
            // A row at its limit must leave before its cache overflows.
            let full = self.alive.iter().any(|&row| self.limits[row] == self.position);
            if self.unread.len() == STEPS_PER_LOOK || full {
                let kept = self.look().await?;
                if kept.is_empty() {
                    return self.finish().await;
                }
                if kept.len() < self.alive.len() {
                    tokens = self.compact(&kept, tokens);
                }
            }
            let hidden = self.model.decode(tokens, &mut self.caches);
            self.next = self.model.logits(hidden);
        }
    }

    fn draw(&self) -> Sampled {
        let draws: Vec<Draw> = self
            .alive
            .iter()
            .map(|&row| Draw {
                prompt: self.responses[row].prompt as u32,
                sample: self.responses[row].sample as u32,
                position: self.position as u32,
            })
            .collect();
        sample(self.next.clone(), &draws, self.plan.seed, self.plan.step, self.plan.sampling)
    }

    /// Reads the ids sampled since the last look and returns the tensor rows that go on.
    async fn look(&mut self) -> Result<Vec<usize>> {
        let steps = self.unread.len();
        let ids = Tensor::cat(std::mem::take(&mut self.unread), 0); // [steps·b]
        let ids = readback::ints(ids).await?;
        let rows = self.alive.len();
        let mut kept = Vec::new();
        for (slot, &row) in self.alive.iter().enumerate() {
            let response = &mut self.responses[row];
            for id in (0..steps).map(|s| ids[s * rows + slot] as u32) {
                let full = response.tokens.len() == self.limits[row];
                if response.truncated && !full {
                    response.tokens.push(id);
                    response.truncated = !self.plan.eos_tokens.contains(&id);
                }
            }
            if response.truncated && response.tokens.len() < self.limits[row] {
                kept.push(slot);
            }
        }
        Ok(kept)
    }

    fn compact(&mut self, kept: &[usize], tokens: Tensor<1, Int>) -> Tensor<1, Int> {
        let caches = std::mem::take(&mut self.caches);
        self.caches = caches.into_iter().map(|cache| cache.keep(kept)).collect();
        self.alive = kept.iter().map(|&slot| self.alive[slot]).collect();
        let indices: Vec<i32> = kept.iter().map(|&s| s as i32).collect();
        let count = indices.len();
        let device = tokens.device();
        tokens.select(0, Tensor::from_data(TensorData::new(indices, [count]), &device))
    }

    /// One readback of every log-probability and entropy.
    async fn finish(mut self) -> Result<Vec<Response>> {
        let (rows, stats): (Vec<_>, Vec<_>) = std::mem::take(&mut self.stats).into_iter().unzip();
        let values = readback::floats(Tensor::cat(stats, 0)).await?;
        for (row, pair) in rows.into_iter().flatten().zip(values.chunks_exact(2)) {
            let response = &mut self.responses[row];
            if response.logprobs.len() < response.tokens.len() {
                response.logprobs.push(pair[0]);
                response.entropies.push(pair[1]);
            }
        }
        Ok(self.responses)
    }
}
