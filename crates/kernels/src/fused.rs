//! Operations of the CPU backend with a hand-written gradient: one node of the autodiff graph, one
//! pass over memory, where burn's own operations would take several of each.
//!
//! An operation is a `FusedOp`; `run` records it. On any other device, and under gradient
//! checkpointing, its module composes burn's stock operations instead.

use super::cpu::dense;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, DispatchDevice, Flex, GradientCheckpointingStrategy};
use burn::tensor::{Device, Tensor};
use std::fmt::Debug;
use std::marker::PhantomData;

/// A function of N dense f32 matrices with its gradient.
pub trait FusedOp<const N: usize>: Clone + Debug + Send + 'static {
    /// The function's value.
    fn forward(&self, inputs: &[FlexTensor; N]) -> FlexTensor;

    /// ∂L/∂inputs, in their order and shapes, given ∂L/∂output, whose memory may be reused.
    fn backward(&self, inputs: [FlexTensor; N], output_grad: FlexTensor) -> [FlexTensor; N];
}

/// Whether `run` works on this device: burn's `flex`, with or without plain autodiff.
pub fn runs_on(device: &Device) -> bool {
    match device.as_dispatch() {
        DispatchDevice::Flex(_) => true,
        DispatchDevice::Autodiff(autodiff) => {
            let keeps_all = GradientCheckpointingStrategy::Disabled;
            autodiff.gradient_checkpointing_strategy() == keeps_all
                && matches!(**autodiff, DispatchDevice::Flex(_))
        }
        _ => false,
    }
}

/// Runs `op` and, where an input takes part in autodiff, records its gradient.
///
/// # Panics
/// If an input is on a device for which `runs_on` is false.
pub fn run<const N: usize>(op: impl FusedOp<N>, inputs: [Tensor<2>; N]) -> Tensor<2> {
    const HERE: &str = "a tensor of the CPU backend (see runs_on)";
    if !inputs.iter().any(|input| input.is_autodiff()) {
        let inputs = inputs.map(|x| dense(x.try_into_primitive::<Flex>().expect(HERE)));
        return Tensor::from_primitive::<Flex>(op.forward(&inputs));
    }
    let inputs = inputs.map(|x| x.autodiff().try_into_primitive::<Autodiff<Flex>>().expect(HERE));
    let nodes = inputs.each_ref().map(|x| x.node());
    let values = inputs.map(|x| dense(x.into_primitive()));
    let output = op.forward(&values);
    let node = GradientNode(PhantomData);
    let output = match node.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish((op, values), output),
        OpsKind::UnTracked(prep) => prep.finish(output),
    };
    Tensor::from_primitive::<Autodiff<Flex>>(output)
}

/// The node of an `Op`; what it needs is in its state, as burn asks.
#[derive(Debug)]
struct GradientNode<Op>(PhantomData<Op>);

impl<const N: usize, Op: FusedOp<N>> Backward<Flex, N> for GradientNode<Op> {
    type State = (Op, [FlexTensor; N]);

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let output_grad = dense(grads.consume::<Flex>(&ops.node));
        let (op, inputs) = ops.state;
        for (parent, grad) in ops.parents.into_iter().zip(op.backward(inputs, output_grad)) {
            if let Some(parent) = parent {
                grads.register::<Flex>(parent.id, grad);
            }
        }
    }
}
