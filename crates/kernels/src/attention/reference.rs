//! The oracle of attention in all its forms: plain loops in f64.

use super::{AttentionShape, Segment};

/// What `row` of a segment gets, [Hq·dh]: q [N, Hq·dh], k and v [N, Hkv·dh], unturned; θ = `theta`, unscaled.
pub fn attention(
    shape: AttentionShape,
    window: usize,
    theta: f64,
    [q, k, v]: [&[f64]; 3],
    segment: &Segment,
    row: usize,
) -> Vec<f64> {
    let AttentionShape { heads, kv_heads, head_dim } = shape;
    let head = |x: &[f64], heads: usize, row: usize, h: usize| -> Vec<f64> {
        x[(row * heads + h) * head_dim..][..head_dim].to_vec()
    };
    // The rows of the sequence up to this one, by position.
    let sequence: Vec<usize> = segment.past.clone().chain(segment.rows.start..row + 1).collect();
    let t = sequence.len() - 1;
    let mut out = vec![0.0; heads * head_dim];
    for (h, out) in out.chunks_exact_mut(head_dim).enumerate() {
        let query = turned(&head(q, heads, row, h), t, theta);
        let kv = h / shape.group();
        let score = |at: usize| {
            let key = turned(&head(k, kv_heads, sequence[at], kv), at, theta);
            let dot: f64 = query.iter().zip(&key).map(|(a, b)| a * b).sum();
            dot / (head_dim as f64).sqrt()
        };
        let first = (t + 1).saturating_sub(window);
        let scores: Vec<f64> = (first..=t).map(score).collect();
        let largest = scores.iter().copied().fold(f64::MIN, f64::max);
        let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
        let total: f64 = weights.iter().sum();
        for (at, weight) in (first..).zip(&weights) {
            for (out, value) in out.iter_mut().zip(head(v, kv_heads, sequence[at], kv)) {
                *out += weight / total * value;
            }
        }
    }
    out
}

/// A head's vector turned to `position`.
fn turned(x: &[f64], position: usize, theta: f64) -> Vec<f64> {
    let half = x.len() / 2;
    let turn = |i: usize| {
        let frequency = theta.powf(-2.0 * (i % half) as f64 / x.len() as f64);
        let (sin, cos) = (position as f64 * frequency).sin_cos();
        if i < half { x[i] * cos - x[i + half] * sin } else { x[i] * cos + x[i - half] * sin }
    };
    (0..x.len()).map(turn).collect()
}
