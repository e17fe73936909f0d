//! Gradients written by hand: an operation as one node of burn's autodiff graph.

use crate::cube;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::{CheckpointStrategy, NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor};
use burn::backend::{Autodiff, Backend};
use burn::tensor::Tensor;
use std::fmt::Debug;

/// Computes ∂L/∂inputs from the state that `record` kept, ∂L/∂output, and which inputs need one.
pub(crate) type Gradient<B, S, const N: usize> =
    fn(S, FloatTensor<B>, [bool; N]) -> [Option<FloatTensor<B>>; N];

/// The graph node. What the gradient needs is in its state, which burn keeps.
#[derive(Debug)]
struct Node<B: Backend, S, const N: usize>(Gradient<B, S, N>);

impl<B, S, const N: usize> Backward<B, N> for Node<B, S, N>
where
    B: Backend,
    S: Clone + Debug + Send + 'static,
{
    type State = S;

    fn backward(self, ops: Ops<S, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = (self.0)(ops.state, gradient, wanted);
        for (parent, gradient) in ops.parents.into_iter().zip(found) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

/// Records `output` as computed from the inputs at `nodes`; the backward pass calls `gradient` with
/// `kept`.
pub fn record<B, C, S, const N: usize>(
    nodes: [NodeGuard; N],
    output: FloatTensor<B>,
    kept: S,
    gradient: Gradient<B, S, N>,
) -> FloatTensor<Autodiff<B, C>>
where
    B: Backend,
    C: CheckpointStrategy,
    S: Clone + Debug + Send + 'static,
{
    match Node(gradient).prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(kept, output),
        OpsKind::UnTracked(prep) => prep.finish(output),
    }
}

/// An operation of dense tensors on a GPU, its upstream gradient too, which gives its value and what its gradient needs; recorded where an input
/// takes part in autodiff.
///
/// # Panics
/// If an input is on another device (see [`cube::runs_on`]).
pub fn on_gpu<S, const N: usize>(
    inputs: [Tensor<2>; N],
    forward: impl FnOnce([CubeTensor; N]) -> (CubeTensor, S),
    gradient: Gradient<CubeBackend, S, N>,
) -> Tensor<2>
where
    S: Clone + Debug + Send + 'static,
{
    const HERE: &str = "a tensor of the GPU";
    if !inputs.iter().any(|input| input.is_autodiff()) {
        return cube::tensor(forward(inputs.map(cube::buffer)).0);
    }
    let inputs =
        inputs.map(|x| x.autodiff().try_into_primitive::<Autodiff<CubeBackend>>().expect(HERE));
    let nodes = inputs.each_ref().map(|x| x.node());
    let (output, kept) = forward(inputs.map(|x| cube::dense(x.into_primitive())));
    let kept = (gradient, kept);
    let output = record::<CubeBackend, NoCheckpointing, _, N>(
        nodes,
        output,
        kept,
        |(gradient, kept), upstream, wanted| gradient(kept, cube::dense(upstream), wanted),
    );
    Tensor::from_primitive::<Autodiff<CubeBackend>>(output)
}
