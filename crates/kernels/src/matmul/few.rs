//! x·Wᵀ on the CPU for a large W, quick also where x has few rows, as in sampling.
//!
//! gemm first copies W into an order of its own, which takes as long as the product if x has few rows. Here W
//! is read as it is stored: a strip of its rows is widened into the cache, and multiplied there by the rows
//! of x. A number's bits depend on its row of x and its row of W alone: not on the rows beside them, nor on threads,
//! nor on how W is stored. So a response is the same whoever is sampled beside it, and a layer that the backward
//! pass computes again is too.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::ONE_KERNEL;
use crate::vector::wide;

/// Fewest numbers of a matrix that is multiplied so. Smaller ones are quick either way; the built-in model has
/// only such.
const LARGE: usize = 1 << 16;

/// Bytes of a strip in f32, and of the rows of x that go over it: both stay in a core's second cache.
const STRIP_BYTES: usize = 64 << 10;
const X_BYTES: usize = 256 << 10;

/// A strip is whole tiles of either kind.
const STRIP_ROWS: usize = 12;

/// Fewest multiplications that are worth a thread.
const TASK: usize = 1 << 18;

/// The rows of a matrix [Out, In], however they are stored.
pub trait Rows: Sync {
    /// [Out, In].
    fn dims(&self) -> [usize; 2];

    /// Some of its rows in f32, in `scratch` if they have to be widened.
    fn widened<'a>(&'a self, rows: Range<usize>, scratch: &'a mut Vec<f32>) -> &'a [f32];
}

/// A matrix [Out, In] in f32.
pub struct InF32<'a> {
    /// Row after row.
    pub values: &'a [f32],
    /// [Out, In].
    pub dims: [usize; 2],
}

impl Rows for InF32<'_> {
    fn dims(&self) -> [usize; 2] {
        self.dims
    }

    fn widened<'a>(&'a self, rows: Range<usize>, _: &'a mut Vec<f32>) -> &'a [f32] {
        let columns = self.dims[1];
        &self.values[rows.start * columns..rows.end * columns]
    }
}

/// Whether a matrix [Out, In] is one for [`product`]; none in a page, whose models are small.
pub fn suits([rows, columns]: [usize; 2]) -> bool {
    !ONE_KERNEL && rows * columns >= LARGE
}

/// x [N, In] → x·Wᵀ [N, Out].
pub fn product(x: &[f32], matrix: &impl Rows) -> Vec<f32> {
    let [rows, columns] = matrix.dims();
    let n = x.len() / columns;
    let strip = (STRIP_BYTES / (4 * columns)).max(1).next_multiple_of(STRIP_ROWS);
    let tasks = (n * rows * columns / TASK).clamp(1, 4 * rayon::current_num_threads());
    let each = rows.div_ceil(tasks).next_multiple_of(strip);
    let parts: Vec<Vec<f32>> = (0..rows.div_ceil(each))
        .into_par_iter()
        .map(|task| columns_of(x, matrix, task * each..rows.min((task + 1) * each), strip))
        .collect();
    let mut out = Vec::with_capacity(n * rows);
    for row in 0..n {
        for part in &parts {
            let width = part.len() / n;
            out.extend_from_slice(&part[row * width..][..width]);
        }
    }
    out
}

/// x·Wᵀ for some rows of W, which are the product's columns.
fn columns_of(x: &[f32], matrix: &impl Rows, rows: Range<usize>, strip: usize) -> Vec<f32> {
    let [_, columns] = matrix.dims();
    let width = rows.len();
    let mut out = vec![0.0; x.len() / columns * width];
    let mut scratch = Vec::new();
    let block = (X_BYTES / (4 * columns)).max(1).next_multiple_of(Product::ROWS);
    for (x, out) in x.chunks(block * columns).zip(out.chunks_mut(block * width)) {
        for first in rows.clone().step_by(strip) {
            let weight = matrix.widened(first..rows.end.min(first + strip), &mut scratch);
            let out = &mut out[first - rows.start..];
            wide(Product { x, weight, columns, out, width });
        }
    }
    out
}

/// Writes x·Wᵀ of a strip of W to `out`, whose rows are `width` apart.
struct Product<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    columns: usize,
    out: &'a mut [f32],
    width: usize,
}

impl Product<'_> {
    /// Rows of x and of W in a tile: 12 sums, 4 numbers of x and 3 of W are all that AVX2's registers take.
    const ROWS: usize = 4;
    const COLUMNS: usize = 3;
    /// Rows of W in a tile of a single row of x.
    const ALONE: usize = 8;

    /// `R` rows of x times `C` rows of W, from row `r` and `c` on: a sum of vectors for each, along In.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const C: usize>(&mut self, simd: S, r: usize, c: usize) {
        let columns = self.columns;
        // Of one length, so that the loop checks no bounds.
        let vectors = columns / S::F32_LANES;
        let (mut x, mut x_tail) = ([&[] as &[S::f32s]; R], [&[] as &[f32]; R]);
        for i in 0..R {
            let (head, tail) = S::as_simd_f32s(&self.x[(r + i) * columns..][..columns]);
            (x[i], x_tail[i]) = (&head[..vectors], tail);
        }
        let (mut weight, mut weight_tail) = ([&[] as &[S::f32s]; C], [&[] as &[f32]; C]);
        for j in 0..C {
            let (head, tail) = S::as_simd_f32s(&self.weight[(c + j) * columns..][..columns]);
            (weight[j], weight_tail[j]) = (&head[..vectors], tail);
        }
        let mut sums = [[simd.splat_f32s(0.0); C]; R];
        for k in 0..vectors {
            let mut of_weight = [simd.splat_f32s(0.0); C];
            for j in 0..C {
                of_weight[j] = weight[j][k];
            }
            for i in 0..R {
                let of_x = x[i][k];
                for j in 0..C {
                    sums[i][j] = simd.mul_add_e_f32s(of_x, of_weight[j], sums[i][j]);
                }
            }
        }
        for i in 0..R {
            for j in 0..C {
                let mut sum = simd.reduce_sum_f32s(sums[i][j]);
                for (x, weight) in x_tail[i].iter().zip(weight_tail[j]) {
                    sum += x * weight;
                }
                self.out[(r + i) * self.width + c + j] = sum;
            }
        }
    }
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        const ROWS: usize = Product::ROWS;
        const COLUMNS: usize = Product::COLUMNS;
        const ALONE: usize = Product::ALONE;
        let (n, rows) = (self.x.len() / self.columns, self.weight.len() / self.columns);
        let (tiled, whole) = (n / ROWS * ROWS, rows / COLUMNS * COLUMNS);
        for r in (0..tiled).step_by(ROWS) {
            for c in (0..whole).step_by(COLUMNS) {
                self.tile::<S, ROWS, COLUMNS>(simd, r, c);
            }
            for c in whole..rows {
                self.tile::<S, ROWS, 1>(simd, r, c);
            }
        }
        let whole = rows / ALONE * ALONE;
        for r in tiled..n {
            for c in (0..whole).step_by(ALONE) {
                self.tile::<S, 1, ALONE>(simd, r, c);
            }
            for c in whole..rows {
                self.tile::<S, 1, 1>(simd, r, c);
            }
        }
    }
}
