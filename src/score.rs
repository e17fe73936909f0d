//! Per-token log-probability and entropy of given responses.

use crate::data::batch::micro_batches;
use crate::error::Result;
use crate::metrics::mean;
use crate::model::Llama;
use crate::objective::loss::token_statistics;
use crate::ops::readback;
use crate::platform::give_way;
use crate::records::{Role, Sequence, TermCoefficients};

/// A response's tokens with what the model thinks of each.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Scored {
    /// Response tokens, end-of-text included.
    pub tokens: Vec<u32>,
    /// ln π of each, nats.
    pub logprobs: Vec<f32>,
    /// Entropy of π where each is predicted, nats.
    pub entropies: Vec<f32>,
}

/// Scores (prompt, response) pairs of tokens, in order.
pub async fn score(
    model: &Llama,
    pairs: Vec<(Vec<u32>, Vec<u32>)>,
    micro_batch_tokens: usize,
) -> Result<Vec<Scored>> {
    // A coefficient of 1 only marks the sequence as one to keep.
    let terms = TermCoefficients { sft: 1.0, ..Default::default() };
    let mut sequences = Vec::with_capacity(pairs.len());
    for (index, (prompt, response)) in pairs.into_iter().enumerate() {
        let fits = model.config.require_fits(prompt.len(), response.len());
        fits.map_err(|e| e.at(format!("example {}", index + 1)))?;
        sequences.push(Sequence {
            role: Role::Demonstration,
            prompt,
            response,
            learned: Vec::new(),
            old_logprobs: Vec::new(),
            terms,
        });
    }
    let mut scored: Vec<Scored> = sequences
        .iter()
        .map(|s| Scored { tokens: s.response.clone(), logprobs: vec![], entropies: vec![] })
        .collect();
    for batch in micro_batches(&sequences, micro_batch_tokens) {
        give_way().await;
        let stats = readback::floats(token_statistics(model, &batch)).await?;
        for (row, &member) in batch.members.iter().enumerate() {
            for pair in stats[2 * batch.starts[row]..2 * batch.starts[row + 1]].chunks_exact(2) {
                scored[member].logprobs.push(pair[0]);
                scored[member].entropies.push(pair[1]);
            }
        }
    }
    Ok(scored)
}

/// How far apart two models stand on given tokens: the mean of |ln p − ln q| over all tokens of
/// pairs of lists (ln p, ln q), nats; 0 where there are none.
pub fn mean_shift<'a>(pairs: impl Iterator<Item = (&'a [f32], &'a [f32])>) -> f64 {
    let changes = pairs.flat_map(|(one, other)| {
        one.iter().zip(other).map(|(p, q)| (f64::from(*p) - f64::from(*q)).abs())
    });
    mean(changes)
}
