//! A scalar of value 0 whose gradient is given: how a gradient formed in the forward pass enters
//! the autodiff graph (Liger-Kernel's fused linear cross-entropy does the same).

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::CubeBackend;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{FloatDType, Shape, Tensor};

/// A scalar 0 whose backward pass hands `gradient` × (its own upstream gradient) to `x`.
///
/// Adding it to a loss adds `gradient` to ∂loss/∂x and leaves the loss's value alone. Both tensors
/// have the same shape.
pub fn given_gradient<const D: usize>(x: Tensor<D>, gradient: Tensor<D>) -> Tensor<1> {
    debug_assert_eq!(x.dims(), gradient.dims(), "a gradient has the shape of its tensor");
    let gradient = gradient.inner();
    Tensor::from_dispatch(Dispatch::given_gradient(x.into_dispatch(), gradient.into_dispatch()))
}

/// The operation behind [`given_gradient`].
#[backend_extension(Cube, Flex, Autodiff)]
pub trait GivenGradient: Backend {
    /// See [`given_gradient`]. Without a graph there is only the value.
    fn given_gradient(x: FloatTensor<Self>, _gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        zero::<Self>(&x)
    }
}

impl GivenGradient for CubeBackend {}
impl GivenGradient for Flex {}

fn zero<B: Backend>(beside: &FloatTensor<B>) -> FloatTensor<B> {
    B::float_zeros(Shape::new([1]), &beside.device(), FloatDType::F32)
}

impl<B: Backend, C: CheckpointStrategy> GivenGradient for Autodiff<B, C> {
    fn given_gradient(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct GivenGradientBackward;

        impl<B: Backend> Backward<B, 1> for GivenGradientBackward {
            type State = FloatTensor<B>;

            fn backward(
                self,
                ops: Ops<Self::State, 1>,
                grads: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let upstream = grads.consume::<B>(&ops.node);
                if let [Some(parent)] = ops.parents {
                    let ones = Shape::from(vec![1; ops.state.rank()]);
                    let upstream = B::float_reshape(upstream, ones);
                    grads.register::<B>(parent.id, B::float_mul(ops.state, upstream));
                }
            }
        }

        let (x, node) = x.into_parts();
        let value = zero::<B>(&x);
        match GivenGradientBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(gradient.into_primitive(), value),
            OpsKind::UnTracked(prep) => prep.finish(value),
        }
    }
}
