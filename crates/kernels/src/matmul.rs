//! Products of matrices by their rows, a·bᵀ: what linear layers and attention scores are made of.
//!
//! Native builds use burn's own product, which chooses among many kernels for many vendors. Those
//! would be a fifth of the browser's download, so there `shaders/matmul_nt.wgsl` does it: one kernel
//! for every shape. A decoding step's rows are few, and on a native GPU have a kernel of their own,
//! `shaders/matmul_few.wgsl` (`step.rs`). [`mod@reference`] is the oracle of all.

mod cpu;
pub mod few;
pub(crate) mod few_gpu;
mod gpu;
pub mod reference;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

use super::gradient::record;

/// Whether all products go through [`kernel`]: in the browser, where others are too large a download.
pub(super) const ONE_KERNEL: bool = cfg!(target_family = "wasm");

/// a [.., M, K], b [.., N, K] → a·bᵀ [.., M, N], differentiable in both; the leading dimensions are
/// the same. Either may be a view.
pub fn matmul_nt<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    if ONE_KERNEL { kernel(a, b) } else { a.matmul(b.swap_dims(D - 2, D - 1)) }
}

/// [`matmul_nt`] of a backend's own tensors, without autodiff.
pub(super) fn product<B: MatmulNt>(a: FloatTensor<B>, b: FloatTensor<B>) -> FloatTensor<B> {
    if ONE_KERNEL { B::matmul_nt(a, b) } else { B::float_matmul(a, transposed::<B>(b)) }
}

/// [`matmul_nt`] by `shaders/matmul_nt.wgsl`, on the CPU backend by burn's product.
pub fn kernel<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::matmul_nt(a.into_dispatch(), b.into_dispatch()))
}

/// The operation behind [`kernel`].
#[backend_extension(Cube, Flex, Autodiff)]
pub trait MatmulNt: Backend {
    /// See [`kernel`].
    fn matmul_nt(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl<B: MatmulNt, C: CheckpointStrategy> MatmulNt for Autodiff<B, C> {
    fn matmul_nt(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        let ((a, a_node), (b, b_node)) = (a.into_parts(), b.into_parts());
        let output = B::matmul_nt(a.clone(), b.clone());
        // ∂L/∂a = g·b and ∂L/∂b = gᵀ·a, for the upstream gradient g [.., M, N].
        record::<B, C, _, 2>([a_node, b_node], output, [a, b], |[a, b], g, [for_a, for_b]| {
            let by_a = for_a.then(|| B::matmul_nt(g.clone(), transposed::<B>(b)));
            let by_b = for_b.then(|| B::matmul_nt(transposed::<B>(g), transposed::<B>(a)));
            [by_a, by_b]
        })
    }
}

fn transposed<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let rank = x.rank();
    B::float_swap_dims(x, rank - 2, rank - 1)
}
