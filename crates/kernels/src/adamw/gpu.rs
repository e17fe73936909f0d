//! The launchers of `shaders/adamw.wgsl` and `shaders/squares.wgsl`.

use super::{State, Update};
use crate::cube::{self, Shader, WORKGROUP};
use burn::backend::TensorMetadata;
use burn::backend::wgpu::CubeTensor;
use burn::tensor::{DType, Float, Tensor};

/// Numbers whose squares an invocation adds.
const EACH: usize = 32;

pub(super) fn adamw(state: State, gradient: Tensor<2>, update: &Update) -> State {
    let Update { scale, betas: [beta1, beta2], corrections, epsilon, decay, rate } = *update;
    let State { weights, first, second } = state;
    let [weights, first, second] = [weights, first, second].map(|x| cube::owned(cube::buffer(x)));
    let gradient = cube::buffer(gradient);
    let count = gradient.shape().num_elements();
    let numbers = [
        scale,
        beta1,
        1.0 - beta1,
        beta2,
        1.0 - beta2,
        corrections[1],
        epsilon,
        decay,
        rate / corrections[0],
    ];
    let numbers = numbers.map(|x| (x as f32).to_bits());
    let info = [&[count as u32][..], &numbers].concat();
    let shader = Shader::new("adamw", srft_shaders::ADAMW);
    let groups = count.div_ceil(WORKGROUP as usize);
    cube::launch(shader, groups, &[&weights, &first, &second, &gradient], &info);
    let [weights, first, second] = [weights, first, second].map(cube::tensor);
    State { weights, first, second }
}

pub(super) fn squared_norm(gradients: &[Tensor<2>]) -> Tensor<1> {
    let gradients: Vec<CubeTensor> = gradients.iter().cloned().map(cube::buffer).collect();
    let groups = |x: &CubeTensor| x.shape().num_elements().div_ceil(WORKGROUP as usize * EACH);
    let all = gradients.iter().map(groups).sum::<usize>();
    let parts = cube::empty(&gradients[0], [all], DType::F32);
    let mut first = 0;
    for gradient in &gradients {
        let shader = Shader::new("squares", srft_shaders::SQUARES).with("each", EACH);
        let info = [gradient.shape().num_elements(), first].map(|n| n as u32);
        cube::launch(shader, groups(gradient), &[gradient, &parts], &info);
        first += groups(gradient);
    }
    // Along a dimension: burn's sum of a whole tensor may add atomically, in whatever order workgroups end.
    cube::tensor::<1, Float>(parts).sum_dim(0)
}
