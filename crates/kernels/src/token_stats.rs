//! Log-probability of the target and entropy, per token, in one pass over the vocabulary.
//!
//! A row's record (m, s, t, z, ln p, H) is updated block by block of the vocabulary, so that the
//! LM head may come in pieces that fit WebGPU's 128 MiB a binding. `shaders/token_stats.wgsl` has
//! the equations; [`mod@reference`] is the oracle of both backends.

mod cpu;
mod gpu;
pub mod reference;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::{CubeBackend, CubeTensor};
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{FloatDType, Int, Shape, Slice, Tensor};

use super::gradient::record;

/// Numbers in a row's record: m, s, t, z, ln p, H.
pub const RECORD: usize = 6;

/// Log-probability of the target and entropy of each row, both in nats: [N, 2].
///
/// `logits` [N, V] must be finite: a row with a NaN gives NaN. Where a target is −1, the
/// log-probability is 0 and has no gradient, and the entropy is the row's all the same. A target
/// outside the vocabulary gives about −3e38, so that a loss made of it is noticed. Differentiable
/// in `logits`.
pub fn token_stats(logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::token_stats(logits.into_dispatch(), targets.into_dispatch()))
}

/// Records [N, 6] before the first block; their content is never read.
pub fn records(targets: &Tensor<1, Int>) -> Tensor<2> {
    Tensor::empty([targets.dims()[0], RECORD], &targets.device())
}

/// Updates `records` with the columns `offset..offset + Vb` of the logits, [N, Vb].
///
/// Blocks come in order; the one at offset 0 starts new records. Not differentiable.
pub fn update(
    records: Tensor<2>,
    logits: Tensor<2>,
    targets: Tensor<1, Int>,
    offset: usize,
) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::token_stats_update(
        records.into_dispatch(),
        logits.into_dispatch(),
        targets.into_dispatch(),
        offset,
    ))
}

/// Log-probability and entropy, [N, 2], of complete records.
pub fn stats(records: Tensor<2>) -> Tensor<2> {
    records.narrow(1, RECORD - 2, 2)
}

/// Turns the columns `offset..offset + Vb` of the logits, [N, Vb], into their gradient, from
/// `gradient` [N, 2] = (∂L/∂ln p, ∂L/∂H) and complete records; in place if the logits' buffer is not
/// shared.
pub fn backward(
    logits: Tensor<2>,
    targets: Tensor<1, Int>,
    records: Tensor<2>,
    gradient: Tensor<2>,
    offset: usize,
) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::token_stats_backward(
        logits.into_dispatch(),
        targets.into_dispatch(),
        records.into_dispatch(),
        gradient.into_dispatch(),
        offset,
    ))
}

/// What a backend must implement: a block's contribution, and its gradient.
#[backend_extension(Cube, Flex)]
pub trait TokenStatsKernels: Backend {
    /// See [`update`].
    fn token_stats_update(
        records: FloatTensor<Self>,
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        offset: usize,
    ) -> FloatTensor<Self>;

    /// See [`backward`].
    fn token_stats_backward(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        records: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        offset: usize,
    ) -> FloatTensor<Self>;
}

/// The differentiable operation.
#[backend_extension(Cube, Flex, Autodiff)]
pub trait TokenStats: Backend {
    /// See [`token_stats`].
    fn token_stats(logits: FloatTensor<Self>, targets: IntTensor<Self>) -> FloatTensor<Self>;
}

impl TokenStats for CubeBackend {
    fn token_stats(logits: CubeTensor, targets: CubeTensor) -> CubeTensor {
        columns::<Self>(whole::<Self>(logits, targets))
    }
}

impl TokenStats for Flex {
    fn token_stats(logits: FlexTensor, targets: FlexTensor) -> FlexTensor {
        columns::<Self>(whole::<Self>(logits, targets))
    }
}

fn whole<B: TokenStatsKernels>(logits: FloatTensor<B>, targets: IntTensor<B>) -> FloatTensor<B> {
    let shape = Shape::new([logits.shape()[0], RECORD]);
    let records = B::float_empty(shape, &logits.device(), FloatDType::F32);
    B::token_stats_update(records, logits, targets, 0)
}

fn columns<B: Backend>(records: FloatTensor<B>) -> FloatTensor<B> {
    B::float_slice(records, &[Slice::full(), Slice::from(RECORD - 2..RECORD)])
}

impl<B: TokenStatsKernels, C: CheckpointStrategy> TokenStats for Autodiff<B, C> {
    fn token_stats(logits: FloatTensor<Self>, targets: IntTensor<Self>) -> FloatTensor<Self> {
        let (logits, node) = logits.into_parts();
        let records = whole::<B>(logits.clone(), targets.clone());
        let output = columns::<B>(records.clone());
        let kept = (logits, targets, records);
        record::<B, C, _, 1>([node], output, kept, |(logits, targets, records), g, _| {
            [Some(B::token_stats_backward(logits, targets, records, g, 0))]
        })
    }
}
