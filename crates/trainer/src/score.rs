//! Per-token log-probability and entropy of given responses.

use crate::data::batch::micro_batches;
use crate::error::Result;
use crate::metrics::mean;
use crate::model::Llama;
use crate::objective::loss::token_statistics;
use crate::ops::readback;
use crate::platform::give_way;
use crate::records::{Episode, Group, Sequence};

/// A response's tokens with the model's log-probability and entropy at each.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
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

/// A rollout to be scored as it was sampled, after `read`.
fn as_sampled(read: Vec<u32>, episode: &Episode) -> Sequence {
    Sequence {
        temperature: episode.temperature.0,
        ..Sequence::to_score(read, episode.tokens.clone())
    }
}

/// Scores the rollouts of groups as they were sampled, in order.
pub async fn score_rollouts(
    model: &Llama,
    groups: &[Group],
    micro_batch_tokens: usize,
) -> Result<Vec<Scored>> {
    let of = |g: &'_ Group, e: &Episode| as_sampled(g.read_before(e), e);
    let sequences = groups.iter().flat_map(|g| g.episodes.iter().map(move |e| of(g, e)));
    score_sequences(model, &sequences.collect::<Vec<_>>(), micro_batch_tokens).await
}

/// Asks the policy about the tokens that its rollouts were given, as it is asked about their own.
pub async fn score_given(
    model: &Llama,
    groups: &mut [Group],
    micro_batch_tokens: usize,
) -> Result<()> {
    let (mut asked, mut sequences) = (Vec::new(), Vec::new());
    for (i, group) in groups.iter().enumerate() {
        for (k, episode) in group.episodes.iter().enumerate().filter(|(_, e)| e.given > 0) {
            let given = Episode { tokens: group.given(episode).to_vec(), ..episode.clone() };
            asked.push((i, k));
            sequences.push(as_sampled(group.prompt_tokens.clone(), &given));
        }
    }
    let scored = score_sequences(model, &sequences, micro_batch_tokens).await?;
    for ((i, k), scored) in asked.into_iter().zip(scored) {
        let episode = &mut groups[i].episodes[k];
        (episode.given_logprobs, episode.given_entropies) = (scored.logprobs, scored.entropies);
    }
    Ok(())
}

/// Asks the policy for its rollouts' tokens once more, with the demonstration before the prompt: the teacher of
/// self-distillation. A rollout without one, or too long with it for the model, is not asked about.
pub async fn teach(model: &Llama, groups: &mut [Group], micro_batch_tokens: usize) -> Result<()> {
    let (mut asked, mut sequences) = (Vec::new(), Vec::new());
    for (i, group) in groups.iter().enumerate() {
        let Some(shown) = &group.demonstration else { continue };
        let prompt = &group.prompt_tokens;
        let context = [&prompt[..], &shown.earlier, &shown.tokens, prompt].concat();
        for (k, episode) in group.episodes.iter().enumerate() {
            let context = [&context, group.given(episode)].concat();
            if model.config.require_fits(context.len(), episode.tokens.len()).is_ok() {
                asked.push((i, k));
                sequences.push(as_sampled(context, episode));
            }
        }
    }
    let scored = score_sequences(model, &sequences, micro_batch_tokens).await?;
    for ((i, k), scored) in asked.into_iter().zip(scored) {
        groups[i].episodes[k].taught = scored.logprobs;
    }
    Ok(())
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
    for batch in micro_batches(sequences, micro_batch_tokens) {
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

/// How far apart two models are on given tokens: the mean of |ln p − ln q| over all tokens of pairs of
/// lists (ln p, ln q), nats; 0 if there are none.
pub fn mean_shift<'a>(pairs: impl Iterator<Item = (&'a [f32], &'a [f32])>) -> f64 {
    let changes = pairs.flat_map(|(one, other)| {
        one.iter().zip(other).map(|(p, q)| (f64::from(*p) - f64::from(*q)).abs())
    });
    mean(changes)
}
