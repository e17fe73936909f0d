//! f32 arithmetic that compilers turn into vector instructions, for the CPU kernels.
//!
//! Functions here are `inline(always)`, so that they are compiled for the vector unit of the
//! `wide` call around them. Sums run over `LANES` partial sums in a fixed order: the result
//! depends on the data alone, never on threads.

/// Partial sums of a reduction: one AVX-512 register, two AVX2, four SSE or NEON.
pub const LANES: usize = 16;

/// Runs `kernel` compiled for the widest vector unit that this CPU has (found at run time).
///
/// Helpers that `kernel` calls must be `inline(always)`, or they keep the baseline's width.
pub fn wide<R>(kernel: impl FnOnce() -> R) -> R {
    macerator::AutoArch::new().dispatch(kernel)
}

/// eˣ with a relative error below 2.4e-7 (2 units in the last place) for x in [−87.3, 88.3];
/// outside, the value at the nearer end (so e^−∞ is 1.2e-38). NaN stays NaN.
///
/// x = n·ln 2 + r, |r| ≤ ln 2 / 2; eʳ by the polynomial of Cephes' `expf`, 2ⁿ by exponent bits.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // 1.5·2²³: adding it rounds to an integer, which then stands in the low mantissa bits.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.3, 88.3);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    (p * r * r + r + 1.0) * power
}

/// σ(x) = 1 / (1 + e⁻ˣ).
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Σ f(aᵢ, bᵢ).
#[inline(always)]
pub fn sum_by(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (a_blocks, b_blocks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail = a_blocks.remainder().iter().zip(b_blocks.remainder());
    let tail: f32 = tail.map(|(&a, &b)| f(a, b)).sum();
    for (a, b) in a_blocks.zip(b_blocks) {
        for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
            *sum += f(a, b);
        }
    }
    fold(sums) + tail
}

/// Σ aᵢ·bᵢ.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum_by(a, b, |a, b| a * b)
}

/// Adds up the lanes in a tree.
#[inline(always)]
fn fold(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
    }
    lanes[0]
}

/// A slice whose length is a multiple of `LANES`, as blocks of that many.
#[inline(always)]
fn blocks(x: &[f32]) -> &[[f32; LANES]] {
    let (blocks, rest) = x.as_chunks();
    debug_assert!(rest.is_empty(), "{} elements in blocks of {LANES}", x.len());
    blocks
}

/// `blocks`, mutable.
#[inline(always)]
fn blocks_mut(x: &mut [f32]) -> &mut [[f32; LANES]] {
    x.as_chunks_mut().0
}

/// `out += scale·x`, both in blocks of `LANES`.
#[inline(always)]
pub fn add_scaled(out: &mut [f32], scale: f32, x: &[f32]) {
    for (out, x) in blocks_mut(out).iter_mut().zip(blocks(x)) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out += scale * x;
        }
    }
}

/// Row vector times matrix: `out[c] = Σ_r weights[r]·matrix[r·stride + c]` for the first `out.len()`
/// columns; `out` and the rows of `stride` elements are in blocks of `LANES`.
#[inline(always)]
pub fn weighted_rows(weights: &[f32], matrix: &[f32], stride: usize, out: &mut [f32]) {
    /// Rows at a time: as many sums in flight, since one addition waits four cycles for the last.
    const DEEP: usize = 4;
    let (weights, last_weights) = weights.as_chunks::<DEEP>();
    let stride = stride / LANES;
    let (rows, last_rows) = blocks(matrix).split_at(weights.len() * DEEP * stride);
    for (column, out) in blocks_mut(out).iter_mut().enumerate() {
        let mut sums = [[0.0f32; LANES]; DEEP];
        for (weights, rows) in weights.iter().zip(rows.chunks_exact(DEEP * stride)) {
            for i in 0..DEEP {
                let row = &rows[i * stride + column];
                for l in 0..LANES {
                    sums[i][l] += weights[i] * row[l];
                }
            }
        }
        for (&weight, row) in last_weights.iter().zip(last_rows.chunks_exact(stride)) {
            for l in 0..LANES {
                sums[0][l] += weight * row[column][l];
            }
        }
        for l in 0..LANES {
            out[l] = (sums[0][l] + sums[1][l]) + (sums[2][l] + sums[3][l]);
        }
    }
}

/// Turns the first `count` scores into probabilities: softmax, the largest score subtracted. What
/// stands behind them, up to a multiple of `LANES`, becomes 0.
#[inline(always)]
pub fn softmax(scores: &mut [f32], count: usize) {
    scores[count..].fill(f32::MIN);
    let mut largest = [f32::MIN; LANES];
    for block in blocks(scores) {
        for (largest, &score) in largest.iter_mut().zip(block) {
            *largest = if score > *largest { score } else { *largest };
        }
    }
    let largest = largest.into_iter().fold(f32::MIN, f32::max);
    for block in blocks_mut(scores) {
        for score in block {
            *score = exp(*score - largest);
        }
    }
    scores[count..].fill(0.0);
    let scale = 1.0 / sum_by(scores, scores, |p, _| p);
    for block in blocks_mut(scores) {
        for p in block {
            *p *= scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        let worst = wide(|| {
            (0..2_000_000)
                .map(|i| -87.3 + i as f32 * (175.6 / 2_000_000.0))
                .map(|x| (f64::from(exp(x)) / f64::from(x).exp() - 1.0).abs())
                .fold(0.0, f64::max)
        });
        assert!(worst < 2.4e-7, "worst relative error {worst:e}");
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::NEG_INFINITY) < 1.3e-38 && exp(f32::INFINITY) > 1e38);
    }

    #[test]
    fn sums_take_tails() {
        for n in [0, 1, LANES - 1, LANES, LANES + 1, 67] {
            let x: Vec<f32> = (0..n).map(|i| i as f32 - 7.0).collect();
            let expected: f32 = x.iter().map(|x| x * x).sum();
            assert_eq!(dot(&x, &x), expected);
        }
    }
}
