//! A backward pass that begins at a given gradient: burn's own begins at ones.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::CubeBackend;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;

use super::gradient::record;

/// The gradients of a loss with respect to everything that `x` depends on, given its `gradient` with
/// respect to `x`, in `x`'s shape.
pub fn backward_from<const D: usize>(x: Tensor<D>, gradient: Tensor<D>) -> burn::tensor::Gradients {
    debug_assert_eq!(x.dims(), gradient.dims(), "a gradient has the shape of its tensor");
    let gradient = gradient.inner().into_dispatch();
    let x = Dispatch::with_gradient(x.into_dispatch(), gradient);
    Tensor::<D>::from_dispatch(x).backward()
}

/// The operation behind [`backward_from`].
#[backend_extension(Cube, Flex, Autodiff)]
pub trait WithGradient: Backend {
    /// Returns `x`; in the backward pass `gradient` replaces whatever arrives here.
    fn with_gradient(x: FloatTensor<Self>, _gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        x
    }
}

impl WithGradient for CubeBackend {}
impl WithGradient for Flex {}

impl<B: Backend, C: CheckpointStrategy> WithGradient for Autodiff<B, C> {
    fn with_gradient(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        record::<B, C, _, 1>([node], x, gradient.into_primitive(), |given, _, _| [Some(given)])
    }
}
