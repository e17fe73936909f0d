//! A decoding step's kernels in f64, in plain loops.

use srft_formats::model::Activation;

/// A product with what is added to it: x `[M, K]`, W `[N, K]`, b `[N]` or empty, A `[r, K]`, B `[N, r]` →
/// x·Wᵀ + b + s·x·Aᵀ·Bᵀ, [M, N].
pub fn product(
    x: &[f64],
    weight: &[f64],
    bias: &[f64],
    (down, up, scale): (&[f64], &[f64], f64),
    depth: usize,
) -> Vec<f64> {
    let rank = down.len() / depth;
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut out = Vec::new();
    for x in x.chunks(depth) {
        let low: Vec<f64> = down.chunks(depth).map(|row| dot(x, row)).collect();
        for (n, row) in weight.chunks(depth).enumerate() {
            let share = dot(&low, &up[n * rank..(n + 1) * rank]);
            out.push(dot(x, row) + bias.get(n).unwrap_or(&0.0) + scale * share);
        }
    }
    out
}

/// Each row of x [M, D] over the root of its mean square, times w `[D]`.
pub fn norm(x: &[f64], weight: &[f64], epsilon: f64) -> Vec<f64> {
    let width = weight.len();
    let of_row = |x: &[f64]| {
        let mean = x.iter().map(|x| x * x).sum::<f64>() / width as f64;
        let inverse = 1.0 / (mean + epsilon).sqrt();
        x.iter().zip(weight).map(|(x, w)| x * inverse * w).collect::<Vec<f64>>()
    };
    x.chunks(width).flat_map(of_row).collect()
}

/// act(gate)·up.
pub fn glu(gate: f64, up: f64, activation: Activation) -> f64 {
    let active = match activation {
        Activation::Silu => gate / (1.0 + (-gate).exp()),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (gate + 0.044715 * gate.powi(3));
            0.5 * gate * (1.0 + inner.tanh())
        }
    };
    active * up
}
