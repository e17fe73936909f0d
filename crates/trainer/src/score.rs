//! Per-token log-probability and entropy of given responses.

use crate::data::batch::micro_batches;
use crate::error::Result;
use crate::metrics::mean;
use crate::model::Llama;
use crate::objective::loss::token_statistics;
use crate::ops::readback;
use crate::platform::give_way;
use crate::records::Sequence;
use burn::tensor::Tensor;

/// A response's tokens with the model's log-probability and entropy at each.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Scored {
    /// Response tokens, end-of-text included.
    pub tokens: Vec<u32>,
    /// ln π of each, nats.
    pub logprobs: Vec<f32>,
    /// Entropy of π at the position that predicts each, nats.
    pub entropies: Vec<f32>,
}

/// Scores (prompt, response) pairs of tokens, in order.
pub async fn score(
    model: &Llama,
    pairs: Vec<(Vec<u32>, Vec<u32>)>,
    micro_batch_tokens: usize,
) -> Result<Vec<Scored>> {
    let sequences =
        pairs.into_iter().map(|(prompt, response)| Sequence::to_score(prompt, response));
    score_sequences(model, &Vec::from_iter(sequences), micro_batch_tokens).await
}

/// Scores the tokens of sequences that carry loss, in order.
pub async fn score_sequences(
    model: &Llama,
    sequences: &[Sequence],
    micro_batch_tokens: usize,
) -> Result<Vec<Scored>> {
    let mut scored = Vec::with_capacity(sequences.len());
    for (index, s) in sequences.iter().enumerate() {
        let fits = model.config.require_fits(s.prompt.len(), s.response.len());
        fits.map_err(|e| e.at(format!("example {}", index + 1)))?;
        let learned = s.learned.iter().map(|&position| s.prompt[position]);
        let tokens = learned.chain(s.response.iter().copied()).collect();
        scored.push(Scored { tokens, logprobs: vec![], entropies: vec![] });
    }
    let batches = micro_batches(sequences, micro_batch_tokens);
    let mut stats = Vec::with_capacity(batches.len());
    for batch in &batches {
        give_way().await;
        stats.push(token_statistics(model, batch));
    }
    if stats.is_empty() {
        return Ok(scored);
    }
    let stats = readback::floats(Tensor::cat(stats, 0)).await?; // [Σ N, 2]
    let mut pairs = stats.chunks_exact(2);
    for &member in batches.iter().flat_map(|batch| &batch.members) {
        let scored = &mut scored[member];
        for pair in pairs.by_ref().take(scored.tokens.len()) {
            scored.logprobs.push(pair[0]);
            scored.entropies.push(pair[1]);
        }
    }
    Ok(scored)
}

/// How far apart two models are on given tokens: the mean of |ln p − ln q| over all tokens of pairs of
/// lists (ln p, ln q), nats; 0 if there are none.
pub fn mean_shift<'a>(pairs: impl Iterator<Item = (&'a [f32], &'a [f32])>) -> f64 {
    let changes = pairs.flat_map(|(one, other)| {
        one.iter().zip(other).map(|(p, q)| (f64::from(*p) - f64::from(*q)).abs())
    });
    mean(changes)
}
