//! The launchers of `shaders/norm.wgsl` and `shaders/norm_backward.wgsl`.

use crate::adapter;
use crate::cube::{self, Shader, WORKGROUP};
use crate::gradient::on_gpu;
use burn::backend::wgpu::{CubeBackend, CubeTensor};
use burn::backend::{TensorMetadata, ops::FloatTensorOps};
use burn::tensor::{DType, Tensor};

/// x [N, D], weight [1, D] → [N, D].
pub(super) fn rms_norm(x: Tensor<2>, weight: Tensor<2>, epsilon: f32) -> Tensor<2> {
    on_gpu([x, weight], |inputs| forward(inputs, epsilon), backward)
}

/// What the gradient needs.
#[derive(Debug, Clone)]
struct Kept {
    x: CubeTensor,
    weight: CubeTensor,
    /// 1 / √(mean(x²) + ε) of each row, [N, 1].
    scales: CubeTensor,
}

fn forward([x, weight]: [CubeTensor; 2], epsilon: f32) -> (CubeTensor, Kept) {
    let out = cube::empty(&x, x.shape(), DType::F32);
    let scales = cube::empty(&x, [x.shape()[0], 1], DType::F32);
    let (shader, groups, [rows, width]) = setup("norm", srft_shaders::NORM, &x);
    let info = [rows, width, epsilon.to_bits()];
    cube::launch(shader, groups, &[&x, &weight, &out, &scales], &info);
    (out, Kept { x, weight, scales })
}

fn backward(kept: Kept, dy: CubeTensor, wanted: [bool; 2]) -> [Option<CubeTensor>; 2] {
    type B = CubeBackend;
    let Kept { x, weight, scales } = kept;
    let [by_x, by_weight] = wanted;
    // Σ_rows dy·x·r: the norms' weights are small, and frozen where adapters train.
    let d_weight = by_weight.then(|| {
        let scaled = B::float_mul(x.clone(), scales.clone());
        B::float_sum_dim(B::float_mul(dy.clone(), scaled), 0)
    });
    let dx = by_x.then(|| {
        let dx = cube::owned(dy);
        let source = srft_shaders::NORM_BACKWARD;
        let (shader, groups, info) = setup("norm_backward", source, &x);
        cube::launch(shader, groups, &[&x, &weight, &scales, &dx], &info);
        dx
    });
    [dx, d_weight]
}

/// The shader, with as many invocations a row as its numbers can use; its workgroups; its sizes.
fn setup(name: &'static str, source: &'static str, x: &CubeTensor) -> (Shader, usize, [u32; 2]) {
    let (rows, width) = (x.shape()[0], x.shape()[1]);
    let lanes = width.div_ceil(4).next_power_of_two().min(WORKGROUP as usize);
    let groups = rows.div_ceil(WORKGROUP as usize / lanes);
    let shader = Shader::new(name, source).with("lanes", lanes);
    let shader = shader.adding(lanes == WORKGROUP as usize && adapter::subgroups(x));
    (shader, groups, [rows as u32, width as u32])
}
