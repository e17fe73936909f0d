//! The launchers of `shaders/step_embed.wgsl`, `shaders/step_glu.wgsl` and `shaders/step_norm.wgsl`.

use burn::backend::wgpu::CubeTensor;
use burn::tensor::DType;
use srft_formats::model::Activation;

use super::{Norms, Parts};
use crate::adapter;
use crate::cube::{self, Shader, WORKGROUP};
use crate::glu::inner_of;
use crate::layout::Layout;

/// act(gate)·up, [M, F].
pub fn glu(parts: &Parts<'_>, activation: Activation) -> CubeTensor {
    let (linear, cubic) = inner_of(activation);
    let info = parts.info();
    let (rows, gates) = (info[0] as usize, info[3] as usize / 2);
    let shader = Shader::new("step_glu", srft_shaders::STEP_GLU);
    let shader =
        parts.taken_by(shader).with("linear", literal(linear)).with("cubic", literal(cubic));
    let [product, added] = parts.buffers();
    let out = cube::empty(&product, [rows, gates], DType::F32);
    let groups = rows * gates.div_ceil(WORKGROUP as usize);
    cube::launch(shader, groups, &[&product, &added, &out], &info);
    out
}

/// A number that WGSL reads back as it is.
fn literal(value: f32) -> String {
    format!("{value:?}")
}

/// The stream x [M, D] with the product added, and its norm.
pub fn norm(parts: Option<&Parts<'_>>, x: CubeTensor, norms: &Norms) -> [CubeTensor; 2] {
    let x = cube::owned(x);
    let (rows, width) = (x.meta.shape()[0], x.meta.shape()[1]);
    let shader = Shader::new("step_norm", srft_shaders::STEP_NORM).adding(adapter::subgroups(&x));
    let (shader, mut info) = match parts {
        Some(parts) => (parts.taken_by(shader), parts.info().to_vec()),
        None => {
            let shader = shader.with("biased", false).with("rank", 0).with("matrices", 0);
            (shader, vec![rows as u32, 0, 0, 0])
        }
    };
    let shader = shader
        .with("width", width)
        .with("after", norms.after && parts.is_some())
        .with("next", if norms.after { width } else { 0 });
    info.push(norms.epsilon.to_bits());
    let out = cube::empty(&x, [rows, width], DType::F32);
    // Without a product nothing is read from its buffers.
    let unread = || cube::unread(&norms.weights);
    let [product, added] = parts.map_or_else(|| [unread(), unread()], Parts::buffers);
    cube::launch(shader, rows, &[&product, &added, &norms.weights, &x, &out], &info);
    [x, out]
}

/// Rows `tokens` `[M]` of a table's blocks, times `factor`.
pub fn embed(blocks: &[(CubeTensor, Layout)], tokens: &CubeTensor, factor: f32) -> CubeTensor {
    let (rows, width) = (tokens.meta.shape()[0], blocks[0].1.columns);
    let out = cube::empty(tokens, [rows, width], DType::F32);
    let all = rows * width / 4;
    let mut first = 0;
    for (words, layout) in blocks {
        let shader = Shader::new("step_embed", srft_shaders::STEP_EMBED)
            .with("kind", layout.kind.number())
            .with("bytes", layout.kind.bytes());
        let info = [all, width / 4, first, layout.rows, layout.first].map(|n| n as u32);
        let info: Vec<u32> = info.into_iter().chain([factor.to_bits()]).collect();
        let groups = all.div_ceil(WORKGROUP as usize);
        cube::launch(shader, groups, &[tokens, words, &out], &info);
        first += layout.rows;
    }
    out
}
