//! Root-mean-square normalisation (Zhang and Sennrich, 2019): y = w · x / √(mean(x²) + ε).

use super::cpu::{f32s, tensor};
use super::fused::{self, FusedOp};
use super::vector::{dot, wide};
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use rayon::prelude::*;

/// Rows that a task takes at a time. Fixed, so that the sum over rows in ∂L/∂w has one order.
const ROWS: usize = 64;

/// x `[N, D]`, weight `[D]` → `[N, D]`.
pub fn rms_norm(x: Tensor<2>, weight: Tensor<1>, eps: f32) -> Tensor<2> {
    if fused::runs_on(&x.device()) {
        fused::run(RmsNorm { eps }, [x, weight.unsqueeze()])
    } else {
        stock(x, weight, eps)
    }
}

/// The same of burn's own operations, for every device.
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
    fn scale(&self, x: &[f32]) -> f32 {
        1.0 / (dot(x, x) / x.len() as f32 + self.eps).sqrt()
    }
}

impl FusedOp<2> for RmsNorm {
    fn forward(&self, [x, weight]: &[FlexTensor; 2]) -> FlexTensor {
        let (shape, x, weight) = (x.layout().shape(), f32s(x), f32s(weight));
        let d = weight.len();
        let mut y = vec![0.0; x.len()];
        y.par_chunks_mut(ROWS * d).zip(x.par_chunks(ROWS * d)).for_each(|(y, x)| {
            wide(|| {
                for (y, x) in y.chunks_exact_mut(d).zip(x.chunks_exact(d)) {
                    let scale = self.scale(x);
                    for ((y, &x), &w) in y.iter_mut().zip(x).zip(weight) {
                        *y = x * scale * w;
                    }
                }
            });
        });
        tensor(y, shape.clone())
    }

    // With r the row's scale: ∂L/∂x = r·(dy·w) − x·r³·Σ(dy·w·x)/D and ∂L/∂w = Σ_rows dy·x·r.
    fn backward(&self, [x, weight]: [FlexTensor; 2], dy: FlexTensor) -> [FlexTensor; 2] {
        let shapes = [x.layout().shape().clone(), weight.layout().shape().clone()];
        let (x, weight, dy) = (f32s(&x), f32s(&weight), f32s(&dy));
        let d = weight.len();
        let mut dx = vec![0.0; x.len()];
        let tasks = dx.par_chunks_mut(ROWS * d).zip(x.par_chunks(ROWS * d));
        let dweights: Vec<Vec<f32>> = tasks
            .zip(dy.par_chunks(ROWS * d))
            .map(|((dx, x), dy)| {
                let mut dweight = vec![0.0; d];
                wide(|| {
                    let rows = dx.chunks_exact_mut(d).zip(x.chunks_exact(d));
                    for ((dx, x), dy) in rows.zip(dy.chunks_exact(d)) {
                        let scale = self.scale(x);
                        for ((dx, &dy), &w) in dx.iter_mut().zip(dy).zip(weight) {
                            *dx = dy * w;
                        }
                        let pull = dot(dx, x) * scale * scale * scale / d as f32;
                        let row = dx.iter_mut().zip(x).zip(dy).zip(&mut dweight);
                        for (((dx, &x), &dy), dweight) in row {
                            *dx = *dx * scale - x * pull;
                            *dweight += dy * x * scale;
                        }
                    }
                });
                dweight
            })
            .collect();
        let mut dweight = vec![0.0; d];
        for part in dweights {
            dweight.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        let [x_shape, weight_shape] = shapes;
        [tensor(dx, x_shape), tensor(dweight, weight_shape)]
    }
}
