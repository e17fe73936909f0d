//! Batched decoding with the KV cache: G samples a prompt, prompts of different lengths. A row that has
//! ended makes room for a new one, so that short responses don't wait for long ones.

mod plan;
mod response;
mod stop;
mod stream;

pub use plan::{By, Plan, Start};
pub use response::{Response, all_cut};
pub use stop::Stops;
pub use stream::{Past, stream};

use crate::error::{Error, Result};
use crate::model::{Decoding, Llama};
use crate::ops::attention::{KvCache, Packing, Tree};
use crate::ops::readback;
use crate::ops::sampling::{Draw, Draws, Sampled, sample};
use crate::platform::give_way;
use burn::tensor::{Int, Tensor, TensorData};

/// Decoding steps between two looks at the sampled ids. Each look is a readback; an ended row may go on
/// for up to this many tokens, which are dropped.
const STEPS_PER_LOOK: usize = 8;

/// Rows decoded at a time if the plan does not say. Bounds the cache's memory; does not change what is
/// sampled.
const SLOTS: usize = 512;

/// Most responses of one call, which are some gigabytes.
const MOST: usize = 10_000_000;

/// New rows wait until a quarter (1 / this) of the slots is free: prefilling one row at a time is slow.
const REFILL_AT: usize = 4;

/// Most tokens of prompts that are read at once, unless one prompt has more. What a pass holds besides the cache grows
/// with them, and more make it hardly faster.
pub const TOKENS_PER_PASS: usize = 4096;

/// Samples `plan.group` responses to each prompt, in order of (prompt, sample).
pub async fn respond(
    model: &Llama,
    prompts: &[Vec<u32>],
    plan: &Plan<'_>,
) -> Result<Vec<Response>> {
    let start = |(prompt, read): (usize, &Vec<u32>)| Start {
        read: read.clone(),
        prompt,
        samples: 0..plan.group,
    };
    respond_from(model, &Vec::from_iter(prompts.iter().enumerate().map(start)), plan).await
}

/// Samples the responses of each start, in order. Their random numbers are those of (prompt, sample).
pub async fn respond_from(
    model: &Llama,
    starts: &[Start],
    plan: &Plan<'_>,
) -> Result<Vec<Response>> {
    require_count(starts)?;
    require_room(model, starts.iter().map(|s| &s.read[..]), plan)?;
    Decoder::new(model, starts, plan).run().await
}

/// Refuses to sample nothing, or more than there is memory for.
fn require_count(starts: &[Start]) -> Result<()> {
    let each = starts.iter().map(|start| start.samples.len()).max().unwrap_or(1);
    match each.checked_mul(starts.len()) {
        Some(0) if starts.is_empty() => Ok(()),
        Some(all) if (1..=MOST).contains(&all) => Ok(()),
        _ => Err(Error::input(format!("{each} responses to each of {} prompts", starts.len()))
            .next(format!("ask for at least one, and for at most {MOST} in total"))),
    }
}

/// Refuses prompts after which no token can be sampled.
fn require_room<'a>(
    model: &Llama,
    prompts: impl Iterator<Item = &'a [u32]> + Clone,
    plan: &Plan<'_>,
) -> Result<()> {
    let limit = model.config.max_positions;
    let mut lengths = prompts.map(<[u32]>::len);
    if let Some(index) = lengths.clone().position(|length| length == 0 || length >= limit) {
        return Err(Error::input(format!(
            "a prompt has {} tokens; the model takes 1 to {}",
            lengths.nth(index).unwrap_or(0),
            limit - 1
        ))
        .at(format!("prompt {index}"))
        .next("shorten or drop the prompt"));
    }
    match plan.max_new_tokens {
        0 => Err(Error::input("max_new_tokens is 0").next("set it to at least 1")),
        _ => Ok(()),
    }
}

/// The responses being decoded, and those that wait.
struct Decoder<'a> {
    model: &'a Llama,
    decoding: Decoding<'a>,
    starts: &'a [Start],
    plan: &'a Plan<'a>,
    responses: Vec<Response>,
    start_of: Vec<usize>, // of each response, among `starts`
    slots: usize,
    room: usize,                         // positions of a row's cache after its prompt
    waiting: std::ops::Range<usize>,     // responses not begun
    alive: Vec<usize>,                   // the response behind each row of the tensors
    draws: Option<Draws>,                // of `alive`; none where that has changed
    caches: Vec<KvCache>,                // one a layer, rows as in `alive`
    unread: Vec<Tensor<1, Int>>,         // ids `[b]` sampled since the last look
    stats: Vec<(Vec<usize>, Tensor<2>)>, // responses and their [b, 2], a draw each
}

impl<'a> Decoder<'a> {
    fn new(model: &'a Llama, starts: &'a [Start], plan: &'a Plan<'a>) -> Self {
        let each = |(at, start): (usize, &'a Start)| {
            start.samples.clone().map(move |sample| (at, Response::empty(start.prompt, sample)))
        };
        let (start_of, responses): (Vec<_>, Vec<_>) =
            starts.iter().enumerate().flat_map(each).unzip();
        let shortest = starts.iter().map(|s| s.read.len()).min().unwrap_or(0);
        Self {
            model,
            decoding: Decoding::new(model, plan.cache),
            starts,
            plan,
            slots: if plan.slots == 0 { SLOTS } else { plan.slots },
            room: (model.config.max_positions - shortest).min(plan.max_new_tokens),
            waiting: 0..responses.len(),
            responses,
            start_of,
            alive: Vec::new(),
            draws: None,
            caches: Vec::new(),
            unread: Vec::new(),
            stats: Vec::new(),
        }
    }

    async fn run(mut self) -> Result<Vec<Response>> {
        give_way().await;
        let Some(mut next) = self.refill(None).await else { return Ok(self.responses) };
        loop {
            give_way().await;
            let Sampled { mut tokens, stats } = self.draw(next);
            self.stats.push((self.alive.clone(), stats));
            self.unread.push(tokens.clone());
            // A row at its limit must be dropped before its cache overflows.
            let full = |&row: &usize| self.drawn(row) == self.limit(row);
            if self.unread.len() == STEPS_PER_LOOK || self.alive.iter().any(full) {
                let kept = self.look().await?;
                if kept.len() < self.alive.len() {
                    tokens = self.compact(&kept, tokens);
                }
            }
            let goes_on = !self.alive.is_empty();
            let logits = goes_on.then(|| self.decoding.decode(tokens, &mut self.caches));
            match self.refill(logits).await {
                Some(logits) => next = logits,
                None => return self.finish().await,
            }
        }
    }

    /// Tokens of a response so far, including those not yet read back.
    fn drawn(&self, row: usize) -> usize {
        self.responses[row].tokens.len() + self.unread.len()
    }

    /// The most tokens that a response may have.
    fn limit(&self, row: usize) -> usize {
        let read = self.starts[self.start_of[row]].read.len();
        (self.model.config.max_positions - read).min(self.plan.max_new_tokens)
    }

    /// Moves waiting responses into free slots; `logits` [b, V] are those of the rows decoded so far. New
    /// rows join only after all ids have been read, so that each look covers the same rows.
    async fn refill(&mut self, logits: Option<Tensor<2>>) -> Option<Tensor<2>> {
        let free = self.slots - self.alive.len();
        let enough = free >= self.slots.div_ceil(REFILL_AT) || self.alive.is_empty();
        if self.waiting.is_empty() || !self.unread.is_empty() || !enough {
            return logits;
        }
        let rows: Vec<usize> = self.waiting.by_ref().take(free).collect();
        // What ended makes room before the new is there.
        self.caches = std::mem::take(&mut self.caches).into_iter().map(KvCache::settled).collect();
        let mut all: Vec<Tensor<2>> = logits.into_iter().collect();
        for (tokens, packing) in self.passes(&rows) {
            give_way().await;
            let (fresh, caches) = self.decoding.prefill(self.ints(tokens), packing, self.room);
            all.push(fresh);
            let old = std::mem::take(&mut self.caches);
            self.caches = match old.is_empty() {
                true => caches,
                false => old.into_iter().zip(caches).map(|(old, new)| old.join(new)).collect(),
            };
        }
        self.alive.extend(rows);
        self.draws = None;
        Some(Tensor::cat(all, 0))
    }

    /// What new rows have to read, in passes of a limited number of tokens. What several of them begin with is read once.
    fn passes(&self, rows: &[usize]) -> Vec<(Vec<i32>, Packing)> {
        let mut passes: Vec<(Vec<i32>, Packing)> = Vec::new();
        for rows in rows.chunk_by(|&a, &b| self.start_of[a] == self.start_of[b]) {
            let read = &self.starts[self.start_of[rows[0]]].read;
            if passes.last().is_none_or(|(tokens, _)| tokens.len() + read.len() > TOKENS_PER_PASS) {
                passes.push(Default::default());
            }
            let (tokens, packing) = passes.last_mut().expect("just made");
            tokens.extend(read.iter().map(|&token| token as i32));
            packing.trees.push(Tree { prompt: read.len(), branches: vec![0; rows.len()] });
        }
        passes
    }

    fn draw(&mut self, logits: Tensor<2>) -> Sampled {
        let kept = self.draws.take();
        let draw = |&row: &usize| Draw {
            prompt: self.responses[row].prompt as u32,
            sample: self.responses[row].sample as u32,
            position: self.drawn(row) as u32,
        };
        let fresh = || Draws::new(self.alive.iter().map(draw), &self.model.device());
        let mut draws = kept.unwrap_or_else(fresh);
        let plan = self.plan;
        let sampled = sample(logits, &mut draws, plan.seed, plan.step, plan.sampling);
        self.draws = Some(draws);
        sampled
    }

    /// Reads back the ids sampled since the last look and returns the tensor rows that have not ended.
    async fn look(&mut self) -> Result<Vec<usize>> {
        let steps = self.unread.len();
        let ids = Tensor::cat(std::mem::take(&mut self.unread), 0); // [steps·b]
        let ids = readback::ints(ids).await?;
        let rows = self.alive.len();
        let mut kept = Vec::new();
        for (slot, &row) in self.alive.iter().enumerate() {
            let limit = self.limit(row);
            let drawn = (0..steps).map(|s| ids[s * rows + slot] as u32);
            if self.responses[row].take(drawn, limit, self.plan) {
                kept.push(slot);
            }
        }
        Ok(kept)
    }

    fn compact(&mut self, kept: &[usize], tokens: Tensor<1, Int>) -> Tensor<1, Int> {
        self.alive = kept.iter().map(|&slot| self.alive[slot]).collect();
        self.draws = None;
        let caches = std::mem::take(&mut self.caches);
        if kept.is_empty() {
            return tokens;
        }
        self.caches = caches.into_iter().map(|cache| cache.keep(kept)).collect();
        tokens.select(0, self.ints(as_i32(kept)))
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

    fn ints(&self, values: Vec<i32>) -> Tensor<1, Int> {
        let count = values.len();
        Tensor::from_data(TensorData::new(values, [count]), &self.model.device())
    }
}

fn as_i32(indices: &[usize]) -> Vec<i32> {
    indices.iter().map(|&i| i as i32).collect()
}

#[cfg(test)]
mod tests {
    use super::all_cut;

    #[test]
    fn what_cut_every_response_is_named() {
        let told = |responses: &[(usize, bool)]| all_cut(responses.iter().copied(), 9);
        let has = |responses: &[(usize, bool)], words: &[&str], not: &str| {
            let told = told(responses).unwrap();
            assert!(words.iter().all(|word| told.contains(word)), "{told}");
            assert!(not.is_empty() || !told.contains(not), "{told}");
        };
        assert_eq!(told(&[]), None);
        assert_eq!(told(&[(9, true), (3, false)]), None);
        has(&[(9, true), (9, true)], &["rollout.max_new_tokens = 9"], "context");
        has(
            &[(4, true), (7, true)],
            &["the model's context", "leaves at most 7 tokens"],
            "max_new_tokens",
        );
        has(&[(9, true), (7, true)], &["1 of 2 at rollout.max_new_tokens", "1 by the model's"], "");
    }
}
