//! Hidden states and head weights in, token statistics and gradients out, without the
//! [tokens × vocabulary] logits ever existing whole.
//!
//! Chunks of tokens go through the head one after the other. Where whole sequences share a chunk,
//! the loss's coefficients of its tokens are known as soon as its statistics are, so the gradient
//! is formed at once from the logits still there: three matmuls, as with logits kept whole. A
//! sequence too long for one chunk pays a fourth, its logits computed again.
//!
//! The head comes as blocks of rows, since at V = 151,936 one piece may exceed WebGPU's 128 MiB a
//! binding. All tensors here are plain; [`attach`] brings the gradients into the autodiff graph.

use std::ops::Range;

use burn::tensor::{Int, Tensor};

use super::given_gradient::given_gradient;
use super::matmul::matmul_nt;
use super::token_stats;

/// Bytes of logits that exist at a time, by default: large enough for efficient matmuls, small
/// beside the weights.
pub const LOGITS_BYTES: usize = 32 << 20;

/// Log-probability of the target and entropy (nats), [N, 2], without gradients.
///
/// `hidden` [N, D], N ≥ 1, `head` blocks of rows [Vb, D], `targets` `[N]`, −1 where masked; see
/// [`token_stats::token_stats`]. At most `logits_bytes` of logits exist at a time, though never
/// less than one token's share of one block.
pub fn stats(
    hidden: Tensor<2>,
    head: &[Tensor<2>],
    targets: Tensor<1, Int>,
    logits_bytes: usize,
) -> Tensor<2> {
    let head = Head::new(head);
    let all = 0..targets.dims()[0];
    // Blocks go one after the other here, so only the largest counts.
    let tokens = tokens_within(logits_bytes, head.largest_block());
    let pieces = pieces(&all, tokens)
        .map(|range| head.forward(&Chunk::new(&hidden, &targets, range), None))
        .map(token_stats::stats)
        .collect();
    Tensor::cat(pieces, 0)
}

/// The loss's gradient with respect to the hidden states, [N, D], and, where the head trains, to
/// each of its blocks; a frozen head saves that product.
///
/// `chunks` are ranges of tokens that follow one another and cover all N; each holds whole
/// sequences. `coefficients` gets a chunk's range and its statistics [n, 2] and returns
/// (∂L/∂ln p, ∂L/∂H), [n, 2]. It is called once a chunk, in order.
///
/// # Panics
///
/// If the chunks leave out tokens or aren't in order.
pub fn with_gradient(
    hidden: Tensor<2>,
    head: &[Tensor<2>],
    targets: Tensor<1, Int>,
    chunks: &[Range<usize>],
    logits_bytes: usize,
    head_trains: bool,
    mut coefficients: impl FnMut(&Range<usize>, Tensor<2>) -> Tensor<2>,
) -> (Tensor<2>, Vec<Tensor<2>>) {
    let end = chunks.iter().try_fold(0, |end, c| (c.start == end).then_some(c.end));
    assert_eq!(end, Some(targets.dims()[0]), "{chunks:?} must cover the tokens in order");
    let head = Head::new(head);
    let kept = tokens_within(logits_bytes, head.vocabulary());
    let recomputed = tokens_within(logits_bytes, head.largest_block());
    let mut d_head: Vec<Option<Tensor<2>>> =
        vec![None; if head_trains { head.blocks.len() } else { 0 }];
    let mut d_hidden = Vec::new();
    for range in chunks {
        if range.len() <= kept {
            let chunk = Chunk::new(&hidden, &targets, range.clone());
            let mut logits = Vec::with_capacity(head.blocks.len());
            let records = head.forward(&chunk, Some(&mut logits));
            let gradient = coefficients(range, token_stats::stats(records.clone())).inner();
            d_hidden.push(head.backward(&chunk, logits, records, gradient, &mut d_head));
            continue;
        }
        let pieces: Vec<_> = pieces(range, recomputed)
            .map(|piece| Chunk::new(&hidden, &targets, piece))
            .map(|chunk| (head.forward(&chunk, None), chunk))
            .collect();
        let stats = pieces.iter().map(|(records, _)| token_stats::stats(records.clone()));
        let gradient = coefficients(range, Tensor::cat(stats.collect(), 0)).inner();
        let mut start = 0;
        for (records, chunk) in pieces {
            let end = start + chunk.targets.dims()[0];
            let gradient = gradient.clone().slice(start..end);
            d_hidden.push(head.backward(&chunk, Vec::new(), records, gradient, &mut d_head));
            start = end;
        }
    }
    let d_head = d_head.into_iter().zip(&head.blocks);
    let d_head = d_head.map(|(d, block)| d.unwrap_or_else(|| block.zeros_like())).collect();
    let d_hidden =
        if d_hidden.is_empty() { hidden.inner().zeros_like() } else { Tensor::cat(d_hidden, 0) };
    (d_hidden, d_head)
}

/// A differentiable scalar of value 0 whose backward pass hands `d_hidden` to `hidden` and each of
/// `d_head` to its block of `head`, times the upstream gradient.
pub fn attach(
    hidden: Tensor<2>,
    head: &[Tensor<2>],
    d_hidden: Tensor<2>,
    d_head: Vec<Tensor<2>>,
) -> Tensor<1> {
    let head = head.iter().cloned().zip(d_head);
    head.fold(given_gradient(hidden, d_hidden), |sum, (block, d)| sum + given_gradient(block, d))
}

/// How many tokens' logits over `columns` entries fit; at least one.
fn tokens_within(logits_bytes: usize, columns: usize) -> usize {
    (logits_bytes / (columns * size_of::<f32>()).max(1)).max(1)
}

fn pieces(range: &Range<usize>, tokens: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.clone().step_by(tokens).map(move |start| start..(start + tokens).min(end))
}

/// Some tokens: hidden states `[n, D]` and targets `[n]`.
struct Chunk {
    hidden: Tensor<2>,
    targets: Tensor<1, Int>,
}

impl Chunk {
    fn new(hidden: &Tensor<2>, targets: &Tensor<1, Int>, range: Range<usize>) -> Self {
        Self {
            hidden: hidden.clone().inner().slice(range.clone()),
            targets: targets.clone().inner().slice(range),
        }
    }
}

/// The head's blocks of rows, [Vb, D] each.
struct Head {
    blocks: Vec<Tensor<2>>,
}

impl Head {
    fn new(blocks: &[Tensor<2>]) -> Self {
        Self { blocks: blocks.iter().map(|block| block.clone().inner()).collect() }
    }

    fn vocabulary(&self) -> usize {
        self.blocks.iter().map(|block| block.dims()[0]).sum()
    }

    fn largest_block(&self) -> usize {
        self.blocks.iter().map(|block| block.dims()[0]).max().unwrap_or(0)
    }

    /// A block's logits, [n, Vb].
    fn logits(&self, chunk: &Chunk, block: usize) -> Tensor<2> {
        matmul_nt(chunk.hidden.clone(), self.blocks[block].clone())
    }

    /// Records of the chunk's tokens; the logits go to `keep`, if there is one.
    fn forward(&self, chunk: &Chunk, mut keep: Option<&mut Vec<Tensor<2>>>) -> Tensor<2> {
        let mut records = token_stats::records(&chunk.targets);
        let mut offset = 0;
        for (i, block) in self.blocks.iter().enumerate() {
            let logits = self.logits(chunk, i);
            if let Some(keep) = keep.as_deref_mut() {
                keep.push(logits.clone());
            }
            records = token_stats::update(records, logits, chunk.targets.clone(), offset);
            offset += block.dims()[0];
        }
        records
    }

    /// The chunk's dHidden [n, D]; adds its part to `d_head`, empty for a frozen head. `kept` holds the logits of every
    /// block, or nothing: then they are computed again.
    fn backward(
        &self,
        chunk: &Chunk,
        kept: Vec<Tensor<2>>,
        records: Tensor<2>,
        gradient: Tensor<2>,
        d_head: &mut [Option<Tensor<2>>],
    ) -> Tensor<2> {
        let mut kept = kept.into_iter();
        let mut d_hidden: Option<Tensor<2>> = None;
        let mut offset = 0;
        for (i, block) in self.blocks.iter().enumerate() {
            let logits = kept.next().unwrap_or_else(|| self.logits(chunk, i));
            let d_logits = token_stats::backward(
                logits,
                chunk.targets.clone(),
                records.clone(),
                gradient.clone(),
                offset,
            );
            add(&mut d_hidden, matmul_nt(d_logits.clone(), block.clone().transpose()));
            let hidden = chunk.hidden.clone();
            if let Some(sum) = d_head.get_mut(i) {
                add(sum, matmul_nt(d_logits.transpose(), hidden.transpose()));
            }
            offset += block.dims()[0];
        }
        d_hidden.unwrap_or_else(|| chunk.hidden.zeros_like())
    }
}

/// Adds in place: the sum's buffer has no other owner.
fn add(sum: &mut Option<Tensor<2>>, part: Tensor<2>) {
    *sum = Some(match sum.take() {
        Some(sum) => sum + part,
        None => part,
    });
}
