//! What `matmul_nt.wgsl` computes, in plain f64 loops: the oracle.

/// a [M, K] · b [N, K]ᵀ → [M, N], all row by row; K = `depth`.
pub fn matmul_nt(a: &[f64], b: &[f64], depth: usize) -> Vec<f64> {
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum();
    a.chunks(depth).flat_map(|row| b.chunks(depth).map(move |other| dot(row, other))).collect()
}
