//! Products of matrices by their rows, a·bᵀ: what linear layers and attention scores are made of.
//!
//! On a native GPU they are one operation with a gradient of its own, which chooses a kernel by shape and adapter
//! (`matmul/choice.rs`): `shaders/matmul_many.wgsl` for many rows, `shaders/matmul_few.wgsl` for few, burn's own for
//! batches of matrices, sizes that fill no vector, and software adapters; where `run.precision` asks for them, matrix
//! units for what is large (`shaders/matmul_units.wgsl`). A decoding step's rows are always few
//! (`step.rs`). The CPU has burn's. In the browser burn's products would be a fifth of the download, so there
//! `shaders/matmul_nt.wgsl` does all: one kernel for every shape. [`mod@reference`] is the oracle of all.

mod choice;
mod cpu;
pub mod few;
pub(crate) mod few_gpu;
mod gpu;
mod many_gpu;
pub mod reference;
mod units_gpu;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

use super::adapter::Units;
use super::fused::runs_on;
use super::gradient::record;
pub use many_gpu::{Product, Tile};

/// Whether all products go through one kernel: in the browser, where others are too large a download.
pub(super) const ONE_KERNEL: bool = cfg!(target_family = "wasm");

/// What computes a product on a GPU; on the CPU it is burn's in any case, in the browser always the one kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// What the product's shape and the adapter decide.
    ByShape,
    /// `shaders/matmul_nt.wgsl`.
    OneKernel,
    /// `shaders/matmul_few.wgsl`, for two matrices.
    Few,
    /// `shaders/matmul_many.wgsl`, for two matrices of whole vectors.
    Tiles(Tile),
    /// `shaders/matmul_units.wgsl` or its twin, for two matrices.
    Units(Units),
    /// burn's own product.
    Burn,
}

/// a [.., M, K], b [.., N, K] → a·bᵀ [.., M, N], differentiable in both; the leading dimensions are
/// the same. Either may be a view.
pub fn matmul_nt<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    if !ONE_KERNEL && runs_on(&a.device().inner()) {
        return a.matmul(b.swap_dims(D - 2, D - 1));
    }
    matmul_nt_by(a, b, Way::ByShape)
}

/// [`matmul_nt`] of a backend's own tensors, without autodiff.
pub(super) fn product<B: MatmulNt>(a: FloatTensor<B>, b: FloatTensor<B>) -> FloatTensor<B> {
    B::matmul_nt(a, b, Way::ByShape)
}

/// [`matmul_nt`] in one of the ways that there are.
///
/// # Panics
/// If the shape isn't suited to that way.
pub fn matmul_nt_by<const D: usize>(a: Tensor<D>, b: Tensor<D>, way: Way) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::matmul_nt(a.into_dispatch(), b.into_dispatch(), way))
}

/// The operation behind [`matmul_nt_by`].
#[backend_extension(Cube, Flex, Autodiff)]
pub trait MatmulNt: Backend {
    /// See [`matmul_nt_by`].
    fn matmul_nt(a: FloatTensor<Self>, b: FloatTensor<Self>, way: Way) -> FloatTensor<Self>;
}

impl<B: MatmulNt, C: CheckpointStrategy> MatmulNt for Autodiff<B, C> {
    fn matmul_nt(a: FloatTensor<Self>, b: FloatTensor<Self>, way: Way) -> FloatTensor<Self> {
        let (for_a, for_b) = (a.is_tracked(), b.is_tracked());
        let ((a, a_node), (b, b_node)) = (a.into_parts(), b.into_parts());
        let output = B::matmul_nt(a.clone(), b.clone(), way);
        // ∂L/∂a = g·b and ∂L/∂b = gᵀ·a, for the upstream gradient g [.., M, N]. So b is kept for a's gradient
        // and a for b's: of a frozen weight's input nothing.
        let kept = (for_a.then_some(b), for_b.then_some(a), way);
        record::<B, C, _, 2>([a_node, b_node], output, kept, |(b, a, way), g, _| {
            let by_a = b.map(|b| B::matmul_nt(g.clone(), transposed::<B>(b), way));
            let by_b = a.map(|a| B::matmul_nt(transposed::<B>(g), transposed::<B>(a), way));
            [by_a, by_b]
        })
    }
}

fn transposed<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let rank = x.rank();
    B::float_swap_dims(x, rank - 2, rank - 1)
}
