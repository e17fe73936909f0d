//! The launchers of `shaders/glu.wgsl` and `shaders/glu_backward.wgsl`.

use super::inner_of;
use crate::cube::{self, Shader, WORKGROUP};
use crate::gradient::on_gpu;
use burn::backend::TensorMetadata;
use burn::backend::wgpu::CubeTensor;
use burn::tensor::{DType, Tensor};
use srft_formats::model::Activation;

pub(super) fn glu(gate: Tensor<2>, up: Tensor<2>, act: Activation) -> Tensor<2> {
    on_gpu([gate, up], |inputs| forward(inputs, act), backward)
}

type Kept = ([CubeTensor; 2], Activation);

fn forward([gate, up]: [CubeTensor; 2], act: Activation) -> (CubeTensor, Kept) {
    let out = cube::empty(&gate, gate.shape(), DType::F32);
    launch(Shader::new("glu", srft_shaders::GLU), act, &[&gate, &up, &out]);
    (out, ([gate, up], act))
}

fn backward(([gate, up], act): Kept, dy: CubeTensor, _: [bool; 2]) -> [Option<CubeTensor>; 2] {
    let d_gate = cube::empty(&gate, gate.shape(), DType::F32);
    let d_up = cube::owned(dy);
    let shader = Shader::new("glu_backward", srft_shaders::GLU_BACKWARD);
    launch(shader, act, &[&gate, &up, &d_up, &d_gate]);
    [Some(d_gate), Some(d_up)]
}

fn launch(shader: Shader, act: Activation, buffers: &[&CubeTensor]) {
    let count = buffers[0].shape().num_elements();
    let (linear, cubic) = inner_of(act);
    let info = [count as u32, linear.to_bits(), cubic.to_bits()];
    cube::launch(shader, count.div_ceil(WORKGROUP as usize), buffers, &info);
}
