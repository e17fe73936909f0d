//! f32 arithmetic in vector registers, for the CPU kernels.
//!
//! A kernel is a `pulp::WithSimd`: a struct of slices with its loop in `with_simd`. `wide` compiles
//! it for several vector units and picks one at run time. All that a kernel calls must be
//! `inline(always)`: a function left outside it, as a closure may be, is compiled for the baseline alone.
//!
//! Sums have a fixed order: a result depends on the data and the CPU, never on threads.

use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;

/// f32 elements of the widest register; a row padded to `LANES` is whole registers on every CPU.
pub const LANES: usize = 16;

/// Independent sums in a reduction: an addition takes about four cycles, and would wait for the last.
const DEEP: usize = 4;

/// Runs `kernel` on the widest vector unit that this CPU has.
pub fn wide<K: WithSimd>(kernel: K) -> K::Output {
    let arch = Arch::new();
    // Without its feature `x86-v3`, which would rebuild all of burn, pulp's own choice is AVX-512
    // or nothing.
    #[cfg(target_arch = "x86_64")]
    if matches!(arch, Arch::Scalar)
        && let Some(avx2) = pulp::x86::V3::try_new()
    {
        return Simd::vectorize(avx2, kernel);
    }
    arch.dispatch(kernel)
}

/// eˣ with a relative error below 2.4e-7 (2 units in the last place) for x in [−87.3, 88.3];
/// outside, the value at the nearer end (so e^−∞ is 1.2e-38). NaN stays NaN.
///
/// x = n·ln 2 + r, |r| ≤ ln 2 / 2; eʳ by the polynomial of Cephes' `expf`, 2ⁿ by exponent bits.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Adding 1.5·2²³ rounds to an integer, which is then in the low mantissa bits.
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

/// Σ aᵢ·bᵢ.
#[inline(always)]
pub fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_tail), (b, b_tail)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    let mut sums = [simd.splat_f32s(0.0); DEEP];
    let (a_deep, a_last) = a.as_chunks::<DEEP>();
    let (b_deep, b_last) = b.as_chunks::<DEEP>();
    for (a, b) in a_deep.iter().zip(b_deep) {
        for i in 0..DEEP {
            sums[i] = simd.mul_add_e_f32s(a[i], b[i], sums[i]);
        }
    }
    for (&a, &b) in a_last.iter().zip(b_last) {
        sums[0] = simd.mul_add_e_f32s(a, b, sums[0]);
    }
    let mut sum = simd.reduce_sum_f32s(total(simd, sums));
    for (&a, &b) in a_tail.iter().zip(b_tail) {
        sum += a * b;
    }
    sum
}

#[inline(always)]
fn total<S: Simd>(simd: S, sums: [S::f32s; DEEP]) -> S::f32s {
    simd.add_f32s(simd.add_f32s(sums[0], sums[1]), simd.add_f32s(sums[2], sums[3]))
}

/// `out += scale·x`, both in blocks of `LANES`.
#[inline(always)]
pub fn add_scaled<S: Simd>(simd: S, out: &mut [f32], scale: f32, x: &[f32]) {
    let scale = simd.splat_f32s(scale);
    for (out, &x) in S::as_mut_simd_f32s(out).0.iter_mut().zip(S::as_simd_f32s(x).0) {
        *out = simd.mul_add_e_f32s(scale, x, *out);
    }
}

/// Row vector times part of a matrix: `out[c] = Σ_r weights[r]·matrix[r·stride + first + c]`. `out`,
/// `first` and the rows of `stride` elements are in blocks of `LANES`.
#[inline(always)]
pub fn weighted_rows<S: Simd>(
    simd: S,
    weights: &[f32],
    matrix: &[f32],
    stride: usize,
    first: usize,
    out: &mut [f32],
) {
    let (stride, first) = (stride / S::F32_LANES, first / S::F32_LANES);
    let (weights, last_weights) = weights.as_chunks::<DEEP>();
    let (rows, last_rows) = S::as_simd_f32s(matrix).0.split_at(weights.len() * DEEP * stride);
    for (column, out) in (first..stride).zip(S::as_mut_simd_f32s(out).0) {
        let mut sums = [simd.splat_f32s(0.0); DEEP];
        for (weights, rows) in weights.iter().zip(rows.chunks_exact(DEEP * stride)) {
            for i in 0..DEEP {
                let weight = simd.splat_f32s(weights[i]);
                sums[i] = simd.mul_add_e_f32s(weight, rows[i * stride + column], sums[i]);
            }
        }
        for (&weight, row) in last_weights.iter().zip(last_rows.chunks_exact(stride)) {
            sums[0] = simd.mul_add_e_f32s(simd.splat_f32s(weight), row[column], sums[0]);
        }
        *out = total(simd, sums);
    }
}

/// Turns the scores in `seen` into probabilities: softmax, the largest score subtracted. The others, which
/// fill whole `LANES` with them, become 0.
#[inline(always)]
pub fn softmax<S: Simd>(simd: S, scores: &mut [f32], seen: Range<usize>) {
    scores[..seen.start].fill(f32::MIN);
    scores[seen.end..].fill(f32::MIN);
    let mut largest = simd.splat_f32s(f32::MIN);
    for &block in S::as_simd_f32s(scores).0 {
        largest = simd.max_f32s(largest, block);
    }
    let largest = simd.reduce_max_f32s(largest);
    for score in scores.iter_mut() {
        *score = exp(*score - largest);
    }
    scores[..seen.start].fill(0.0);
    scores[seen.end..].fill(0.0);
    let mut sum = simd.splat_f32s(0.0);
    for &block in S::as_simd_f32s(scores).0 {
        sum = simd.add_f32s(sum, block);
    }
    let scale = 1.0 / simd.reduce_sum_f32s(sum);
    for p in scores {
        *p *= scale;
    }
}
