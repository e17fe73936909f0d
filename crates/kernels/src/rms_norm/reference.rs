//! The oracle: plain loops in f64.

/// Each row of x [M, D] over the root of its mean square, times w `[D]`.
pub fn rms_norm(x: &[f64], weight: &[f64], epsilon: f64) -> Vec<f64> {
    let width = weight.len();
    let of_row = |x: &[f64]| {
        let mean = x.iter().map(|x| x * x).sum::<f64>() / width as f64;
        let inverse = 1.0 / (mean + epsilon).sqrt();
        x.iter().zip(weight).map(|(x, w)| x * inverse * w).collect::<Vec<f64>>()
    };
    x.chunks(width).flat_map(of_row).collect()
}
