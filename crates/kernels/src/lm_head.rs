//! Hidden states and head weights in, token statistics and gradients out, without the
//! [tokens × vocabulary] logits ever existing whole.
//!
//! Tokens go through the head in chunks. Where a chunk holds whole sequences, the loss's
//! coefficients of its tokens are known as soon as its statistics are, so the gradient is formed at
//! once from the logits still there: three matmuls, as with logits kept whole. A chunk too long for
//! its logits to be kept pays a fourth: they are computed again.
//!
//! The head comes in blocks of rows, since at V = 151,936 the whole exceeds WebGPU's limit of 128 MiB
//! a binding, and since a frozen head may be stored in another form: a block is widened for a product, and
//! dropped after it. No tensor here is tracked by autodiff: the gradients are results.

use std::ops::Range;

use burn::tensor::{Int, Tensor};

use super::matmul::matmul_nt;
use super::token_stats;
use super::weight::Weight;
use srft_formats::platform::IS_PAGE;

/// Bytes of logits that exist at a time: of so many tokens that reading the head for each of its products pays, and
/// small beside a model that needs as much.
pub const fn logits_bytes(on_cpu: bool) -> usize {
    match (IS_PAGE, on_cpu) {
        (true, _) => 32 << 20,
        (false, true) => 64 << 20,
        (false, false) => 256 << 20,
    }
}

/// Most bytes of a block's logits: what every adapter binds.
const BOUND: usize = 128 << 20;

/// The head: blocks of rows [Vb, D], V in all, and the bytes of logits that may exist at a time (at
/// the least, one token's logits of one block).
pub struct Head {
    blocks: Vec<Weight>,
    logits_bytes: usize,
}

/// A chunk of n tokens after its forward pass.
pub struct Chunk {
    /// One piece with its logits, or several whose logits the backward pass computes again.
    pieces: Vec<Piece>,
}

/// Hidden states `[n, D]`, targets `[n]`, the statistics' records, and the logits of every block
/// `[n, Vb]`, if they are kept.
struct Piece {
    hidden: Tensor<2>,
    targets: Tensor<1, Int>,
    records: Tensor<2>,
    logits: Vec<Tensor<2>>,
}

impl Chunk {
    /// Log-probability of the target and entropy (nats), [n, 2].
    pub fn stats(&self) -> Tensor<2> {
        let stats = self.pieces.iter().map(|piece| token_stats::stats(piece.records.clone()));
        joined(stats.collect())
    }
}

impl Head {
    /// `blocks` [Vb, D] may be tracked by autodiff; they are used as plain tensors.
    pub fn new(blocks: Vec<Weight>, logits_bytes: usize) -> Self {
        Self { blocks: blocks.into_iter().map(Weight::inner).collect(), logits_bytes }
    }

    /// Statistics [N, 2] of hidden states [N, D], N ≥ 1, and targets `[N]`, −1 where masked, without
    /// a gradient; see [`token_stats::token_stats`].
    pub fn stats(&self, hidden: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<2> {
        self.in_pieces(hidden, targets).stats()
    }

    /// The forward pass of a chunk: hidden states [n, D], n ≥ 1, and targets `[n]`.
    pub fn forward(&self, hidden: Tensor<2>, targets: Tensor<1, Int>) -> Chunk {
        if targets.dims()[0] > self.tokens() {
            return self.in_pieces(hidden, targets);
        }
        Chunk { pieces: vec![self.piece(hidden, targets, true)] }
    }

    /// The gradient with respect to a chunk's hidden states, [n, D], of a loss with the coefficients
    /// (∂L/∂ln p, ∂L/∂H), [n, 2]. The gradient with respect to each block is added to `d_head`,
    /// which is empty for a frozen head: that saves a product.
    pub fn backward(
        &self,
        chunk: Chunk,
        coefficients: Tensor<2>,
        d_head: &mut [Option<Tensor<2>>],
    ) -> Tensor<2> {
        let mut start = 0;
        let d_hidden = chunk.pieces.into_iter().map(|piece| {
            let range = start..start + piece.targets.dims()[0];
            start = range.end;
            self.backward_of(piece, coefficients.clone().slice(range), d_head)
        });
        joined(d_hidden.collect())
    }

    /// An empty gradient, for [`Head::backward`] to add to.
    pub fn no_gradient(&self) -> Vec<Option<Tensor<2>>> {
        vec![None; self.blocks.len()]
    }

    /// How many tokens' logits are kept at a time; at least one's.
    pub fn tokens(&self) -> usize {
        let vocabulary = self.blocks.iter().map(|block| block.dims()[0]).sum();
        within(self.logits_bytes, vocabulary).min(within(BOUND, self.largest_block()))
    }

    /// Columns of the largest block's logits.
    fn largest_block(&self) -> usize {
        self.blocks.iter().map(|block| block.dims()[0]).max().unwrap_or(0)
    }

    /// The forward pass without keeping logits: one block's exist at a time, so the largest block
    /// decides how many tokens a piece has.
    fn in_pieces(&self, hidden: Tensor<2>, targets: Tensor<1, Int>) -> Chunk {
        let bytes = self.logits_bytes.min(BOUND);
        let (n, most) = (targets.dims()[0], within(bytes, self.largest_block()));
        let ranges = (0..n).step_by(most).map(|start| start..(start + most).min(n));
        let piece = |range: Range<usize>| {
            self.piece(hidden.clone().slice(range.clone()), targets.clone().slice(range), false)
        };
        Chunk { pieces: ranges.map(piece).collect() }
    }

    /// A block's logits, [n, Vb].
    fn logits(&self, hidden: &Tensor<2>, block: usize) -> Tensor<2> {
        self.blocks[block].product(hidden.clone())
    }

    fn piece(&self, hidden: Tensor<2>, targets: Tensor<1, Int>, keep_logits: bool) -> Piece {
        let mut records = token_stats::records(&targets);
        let mut kept = Vec::new();
        let mut first = 0;
        for (i, block) in self.blocks.iter().enumerate() {
            let logits = self.logits(&hidden, i);
            if keep_logits {
                kept.push(logits.clone());
            }
            records = token_stats::update(records, logits, targets.clone(), first);
            first += block.dims()[0];
        }
        Piece { hidden, targets, records, logits: kept }
    }

    fn backward_of(
        &self,
        piece: Piece,
        coefficients: Tensor<2>,
        d_head: &mut [Option<Tensor<2>>],
    ) -> Tensor<2> {
        let Piece { hidden, targets, records, logits } = piece;
        let mut kept = logits.into_iter();
        let mut d_hidden: Option<Tensor<2>> = None;
        let mut first = 0;
        for (i, block) in self.blocks.iter().enumerate() {
            let logits = kept.next().unwrap_or_else(|| self.logits(&hidden, i));
            let d_logits = token_stats::backward(
                logits,
                targets.clone(),
                records.clone(),
                coefficients.clone(),
                first,
            );
            add(&mut d_hidden, matmul_nt(d_logits.clone(), block.widen().transpose()));
            if let Some(sum) = d_head.get_mut(i) {
                add(sum, matmul_nt(d_logits.transpose(), hidden.clone().transpose()));
            }
            first += block.dims()[0];
        }
        d_hidden.unwrap_or_else(|| hidden.zeros_like())
    }
}

/// How many tokens, of `columns` logits each, fit into so many bytes; at least one.
fn within(bytes: usize, columns: usize) -> usize {
    (bytes / (columns * size_of::<f32>()).max(1)).max(1)
}

/// Joins parts along the first dimension; a single part is not copied.
fn joined(mut parts: Vec<Tensor<2>>) -> Tensor<2> {
    match parts.len() {
        1 => parts.remove(0),
        _ => Tensor::cat(parts, 0),
    }
}

/// Adds in place: the sum's buffer has no other owner.
fn add(sum: &mut Option<Tensor<2>>, part: Tensor<2>) {
    *sum = Some(match sum.take() {
        Some(sum) => sum + part,
        None => part,
    });
}
