//! The launchers of `shaders/adamw.wgsl` and `shaders/squares.wgsl`.

use super::{State, Step, Update};
use crate::adapter;
use crate::cube::{self, Shader, WORKGROUP};
use burn::backend::TensorMetadata;
use burn::backend::wgpu::CubeTensor;
use burn::tensor::{DType, Float, Tensor};

/// Storage buffers of a dispatch: WebGPU's default.
const BUFFERS: usize = 8;

/// Numbers whose squares an invocation adds.
const EACH: usize = 32;

pub(super) fn adamw(steps: Vec<Step>, update: &Update) -> Vec<State> {
    let Update { scale, betas: [beta1, beta2], corrections, epsilon, rate } = *update;
    let numbers = [
        scale,
        beta1,
        1.0 - beta1,
        beta2,
        1.0 - beta2,
        corrections[1],
        epsilon,
        rate / corrections[0],
    ];
    let numbers = numbers.map(|x| (x as f32).to_bits());
    let mut states = Vec::with_capacity(steps.len());
    let mut steps = steps.into_iter().peekable();
    while steps.peek().is_some() {
        let (mut buffers, mut counts, mut decays) = (Vec::new(), [0; 2], [0; 2]);
        for (i, step) in steps.by_ref().take(2).enumerate() {
            let Step { state: State { weights, first, second }, gradient, decay } = step;
            let gradient = cube::buffer(gradient);
            (counts[i], decays[i]) = (count(&gradient), (decay as f32).to_bits());
            buffers.extend([weights, first, second].map(|x| cube::owned(cube::buffer(x))));
            buffers.push(gradient);
        }
        let groups = counts.map(|n| n.div_ceil(WORKGROUP as usize));
        let own = [counts[0], counts[1], groups[0]].map(|n| n as u32);
        let info = [&own[..], &decays, &numbers].concat();
        let shader = Shader::new("adamw", srft_shaders::ADAMW);
        launch(shader, groups[0] + groups[1], &buffers, &info);
        states.extend(buffers.chunks_exact(4).map(|of_one| {
            let [weights, first, second] = [0, 1, 2].map(|i| cube::tensor(of_one[i].clone()));
            State { weights, first, second }
        }));
    }
    states
}

pub(super) fn squared_norm(gradients: &[Tensor<2>]) -> Tensor<1> {
    let gradients: Vec<CubeTensor> = gradients.iter().cloned().map(cube::buffer).collect();
    let groups = |x: &CubeTensor| count(x).div_ceil(WORKGROUP as usize * EACH);
    let all = gradients.iter().map(groups).sum::<usize>();
    let parts = cube::empty(&gradients[0], [all], DType::F32);
    let mut first = 0;
    for some in gradients.chunks(BUFFERS - 1) {
        // The sums, where this dispatch's begin, and the tensors with how many numbers each has.
        let mut info = [0; BUFFERS];
        info[0] = first as u32;
        info[1..].iter_mut().zip(some).for_each(|(n, x)| *n = count(x) as u32);
        let buffers = [std::slice::from_ref(&parts), some].concat();
        let shader = Shader::new("squares", srft_shaders::SQUARES).with("each", EACH);
        let shader = shader.adding(adapter::subgroups(&parts));
        let groups = some.iter().map(groups).sum();
        launch(shader, groups, &buffers, &info);
        first += groups;
    }
    // Along a dimension: burn's sum of a whole tensor may add atomically, in whatever order workgroups end.
    cube::tensor::<1, Float>(parts).sum_dim(0)
}

fn count(x: &CubeTensor) -> usize {
    x.shape().num_elements()
}

/// Launches a shader of [`BUFFERS`] buffers. A place without a tensor gets a buffer of its own: WebGPU refuses one that
/// is bound twice.
fn launch(shader: Shader, groups: usize, buffers: &[CubeTensor], info: &[u32]) {
    let spare = || cube::empty(&buffers[0], [1], DType::F32);
    let spares: Vec<CubeTensor> = (buffers.len()..BUFFERS).map(|_| spare()).collect();
    let all: Vec<&CubeTensor> = buffers.iter().chain(&spares).collect();
    cube::launch(shader, groups, &all, info);
}
