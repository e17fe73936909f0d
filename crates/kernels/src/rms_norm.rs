//! Root-mean-square normalisation (Zhang and Sennrich, 2019): y = w · x / √(mean(x²) + ε).

mod gpu;
pub mod reference;

use super::cpu::{f32s, f32s_mut, tensor};
use super::cube;
use super::fused::{self, FusedOp};
use super::vector::{dot, wide};
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Rows that a task takes at a time. Fixed, so that ∂L/∂w is always summed over rows in one order.
const ROWS: usize = 64;

/// x `[N, D]`, weight `[D]` → `[N, D]`.
pub fn rms_norm(x: Tensor<2>, weight: Tensor<1>, eps: f32) -> Tensor<2> {
    match x.device() {
        device if fused::runs_on(&device) => fused::run(RmsNorm { eps }, [x, weight.unsqueeze()]),
        device if cube::runs_on(&device) => gpu::rms_norm(x, weight.unsqueeze(), eps),
        _ => stock(x, weight, eps),
    }
}

/// [`rms_norm`] composed of burn's own operations, for every device.
pub fn stock(x: Tensor<2>, weight: Tensor<1>, eps: f32) -> Tensor<2> {
    let mean_square = x.clone().square().mean_dim(1); // [N, 1]
    x * (mean_square + eps).sqrt().recip() * weight.unsqueeze()
}

#[derive(Debug, Clone)]
struct RmsNorm {
    eps: f32,
}

impl RmsNorm {
    /// 1 / √(mean(x²) + ε) of one row.
    #[inline(always)]
    fn scale<S: Simd>(&self, simd: S, x: &[f32]) -> f32 {
        1.0 / (dot(simd, x, x) / x.len() as f32 + self.eps).sqrt()
    }
}

struct Forward<'a> {
    op: &'a RmsNorm,
    y: &'a mut [f32],
    x: &'a [f32],
    weight: &'a [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let d = self.weight.len();
        for (y, x) in self.y.chunks_exact_mut(d).zip(self.x.chunks_exact(d)) {
            let scale = self.op.scale(simd, x);
            for ((y, &x), &w) in y.iter_mut().zip(x).zip(self.weight) {
                *y = x * scale * w;
            }
        }
    }
}

struct Backward<'a> {
    op: &'a RmsNorm,
    /// ∂L/∂y, overwritten by ∂L/∂x.
    dy: &'a mut [f32],
    x: &'a [f32],
    weight: &'a [f32],
}

impl WithSimd for Backward<'_> {
    /// These rows' share of ∂L/∂w.
    type Output = Vec<f32>;

    // With r the row's scale: ∂L/∂x = r·(dy·w) − x·r³·Σ(dy·w·x)/D and ∂L/∂w = Σ_rows dy·x·r.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let d = self.weight.len();
        let mut dweight = vec![0.0; d];
        for (dy, x) in self.dy.chunks_exact_mut(d).zip(self.x.chunks_exact(d)) {
            let scale = self.op.scale(simd, x);
            for (((dy, &x), &w), dweight) in dy.iter_mut().zip(x).zip(self.weight).zip(&mut dweight)
            {
                *dweight += *dy * x * scale;
                *dy *= w;
            }
            let pull = dot(simd, dy, x) * scale * scale * scale / d as f32;
            for (dy, &x) in dy.iter_mut().zip(x) {
                *dy = *dy * scale - x * pull;
            }
        }
        dweight
    }
}

impl FusedOp<2> for RmsNorm {
    fn forward(&self, [x, weight]: &[FlexTensor; 2]) -> FlexTensor {
        let (shape, x, weight) = (x.layout().shape(), f32s(x), f32s(weight));
        let rows = ROWS * weight.len();
        let mut y = vec![0.0; x.len()];
        let tasks = y.par_chunks_mut(rows).zip(x.par_chunks(rows));
        tasks.for_each(|(y, x)| wide(Forward { op: self, y, x, weight }));
        tensor(y, shape.clone())
    }

    fn backward(&self, [x, weight]: [FlexTensor; 2], mut dy: FlexTensor) -> [FlexTensor; 2] {
        let weight_shape = weight.layout().shape().clone();
        let (x, weight) = (f32s(&x), f32s(&weight));
        let rows = ROWS * weight.len();
        let tasks = f32s_mut(&mut dy).par_chunks_mut(rows).zip(x.par_chunks(rows));
        let parts: Vec<Vec<f32>> =
            tasks.map(|(dy, x)| wide(Backward { op: self, dy, x, weight })).collect();
        let mut dweight = vec![0.0; weight.len()];
        for part in parts {
            dweight.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        [dy, tensor(dweight, weight_shape)]
    }
}
