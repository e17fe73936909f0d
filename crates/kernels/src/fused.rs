//! Operations of the CPU backend with a hand-written gradient: one node of the autodiff graph, one
//! pass over memory, where burn's own operations would take several of each.
//!
//! An operation is a `FusedOp`; `run` records it. On a GPU its module has shaders (`gradient::on_gpu`); on any other
//! device, and under gradient checkpointing, it composes burn's stock operations.

use super::cpu::dense;
use super::cube::under_autodiff;
use super::gradient::record;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, DispatchDevice, Flex};
use burn::tensor::{Device, Tensor};
use srft_formats::platform::IS_PAGE;
use std::fmt::Debug;

/// A function of N dense f32 matrices with its gradient.
pub trait FusedOp<const N: usize>: Clone + Debug + Send + 'static {
    /// The function's value.
    fn forward(&self, inputs: &[FlexTensor; N]) -> FlexTensor;

    /// ∂L/∂inputs, in their order and shapes, given ∂L/∂output, whose memory may be reused.
    fn backward(&self, inputs: [FlexTensor; N], output_grad: FlexTensor) -> [FlexTensor; N];
}

/// Whether `run` works on this device: burn's `flex`, with or without plain autodiff.
pub fn runs_on(device: &Device) -> bool {
    matches!(under_autodiff(device), DispatchDevice::Flex(_))
}

/// Does work of many parallel parts on a thread of rayon's pool, if it is the CPU's: from another thread each part
/// would wake one of the pool's and wait for it.
pub fn in_pool<T: Send>(device: &Device, work: impl FnOnce() -> T + Send) -> T {
    match !IS_PAGE && runs_on(device) {
        true => rayon::scope(|_| work()),
        false => work(),
    }
}

/// Runs `op` and, where an input takes part in autodiff, records its gradient.
///
/// # Panics
/// If an input is on a device for which `runs_on` is false.
pub fn run<Op: FusedOp<N>, const N: usize>(op: Op, inputs: [Tensor<2>; N]) -> Tensor<2> {
    const HERE: &str = "a tensor of the CPU backend (see runs_on)";
    if !inputs.iter().any(|input| input.is_autodiff()) {
        let inputs = inputs.map(|x| dense(x.try_into_primitive::<Flex>().expect(HERE)));
        return Tensor::from_primitive::<Flex>(op.forward(&inputs));
    }
    let inputs = inputs.map(|x| x.autodiff().try_into_primitive::<Autodiff<Flex>>().expect(HERE));
    let nodes = inputs.each_ref().map(|x| x.node());
    let values = inputs.map(|x| dense(x.into_primitive()));
    let output = op.forward(&values);
    let gradient =
        |(op, values): (Op, [FlexTensor; N]), g, _| op.backward(values, dense(g)).map(Some);
    let output = record::<Flex, NoCheckpointing, _, N>(nodes, output, (op, values), gradient);
    Tensor::from_primitive::<Autodiff<Flex>>(output)
}
