//! A decoding step's kernels in f64, in plain loops.

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
