//! x·Wᵀ on the CPU for a large W, quick also where x has few rows, as in sampling.
//!
//! gemm first copies W into an order of its own, which takes as long as the product if x has few rows. Here W
//! is read as it is stored. Halves are widened in registers where few rows of x go over them; blocks, and halves
//! under many rows, a strip at a time into the cache. A number's bits depend on its row of x and its row of W alone:
//! not on the rows beside them, nor on threads, nor on how W is stored. So a response is the same whoever is sampled
//! beside it, and a layer that the backward pass computes again is too.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::vector::wide;
use srft_formats::platform::READS_MODELS;

/// Fewest numbers of a matrix that is multiplied so. Smaller ones are quick either way; the built-in model has
/// only such.
const LARGE: usize = 1 << 16;

/// Bytes of a strip in f32, and of the rows of x that go over it: both stay in a core's second cache.
const STRIP_BYTES: usize = 64 << 10;
const X_BYTES: usize = 256 << 10;

/// A strip and a task are whole tiles of either kind.
const STRIP_ROWS: usize = 24;

/// Fewest multiplications that are worth a task. A row of x alone takes as long as several: W comes from memory.
const TASK: usize = 1 << 19;
const ALONE_AS: usize = 6;

/// The rows of a matrix [Out, In], however they are stored.
pub trait Rows: Sync {
    /// [Out, In].
    fn dims(&self) -> [usize; 2];

    /// Some of its rows, over which `lines` rows of x will go: as they are stored, if they can be widened in
    /// registers that often, or else in f32, in `scratch` if they have to be widened.
    fn some<'a>(
        &'a self,
        rows: Range<usize>,
        lines: usize,
        scratch: &'a mut Vec<f32>,
    ) -> Numbers<'a>;
}

/// Numbers that a tile reads.
pub enum Numbers<'a> {
    /// In f32.
    F32(&'a [f32]),
    /// The upper halves of f32.
    Bf16(&'a [u16]),
    /// In half precision.
    F16(&'a [u16]),
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

    fn some<'a>(&'a self, rows: Range<usize>, _: usize, _: &'a mut Vec<f32>) -> Numbers<'a> {
        let columns = self.dims[1];
        Numbers::F32(&self.values[rows.start * columns..rows.end * columns])
    }
}

/// What is added to x·Wᵀ: u·Bᵀ, of an adapter.
#[derive(Clone, Copy)]
pub struct LowRank<'a> {
    /// u [N, r], row after row.
    pub x: &'a [f32],
    /// B [Out, r], row after row.
    pub weight: &'a [f32],
    /// r, the length of their rows.
    pub columns: usize,
}

impl LowRank<'_> {
    /// Nothing.
    pub const NONE: Self = LowRank { x: &[], weight: &[], columns: 0 };
}

/// Whether a matrix [Out, In] is one for [`product`]; none in a page of the built-in model, which is small.
pub fn suits([rows, columns]: [usize; 2]) -> bool {
    READS_MODELS && rows * columns >= LARGE
}

/// x [N, In] → x·Wᵀ [N, Out].
pub fn product(x: &[f32], matrix: &impl Rows) -> Vec<f32> {
    product_with(x, matrix, LowRank::NONE)
}

/// x [N, In] → x·Wᵀ + u·Bᵀ [N, Out], a sum along In and r together.
pub fn product_with(x: &[f32], matrix: &impl Rows, low: LowRank<'_>) -> Vec<f32> {
    let [rows, columns] = matrix.dims();
    let n = x.len() / columns;
    let strip = (STRIP_BYTES / (4 * columns)).max(1).next_multiple_of(STRIP_ROWS);
    let threads = rayon::current_num_threads();
    let tasks = match n.max(ALONE_AS) * rows * columns / TASK {
        few @ 0..4 => few.max(1).min(threads),
        many => many.min(4 * threads) / threads * threads,
    };
    let each = rows.div_ceil(tasks.max(1)).next_multiple_of(STRIP_ROWS);
    let mut out = vec![0.0; n * rows];
    // The pieces of all rows that a task writes.
    let mut parts: Vec<Vec<&mut [f32]>> = Vec::new();
    parts.resize_with(rows.div_ceil(each), || Vec::with_capacity(n));
    for row in out.chunks_exact_mut(rows) {
        parts.iter_mut().zip(row.chunks_mut(each)).for_each(|(part, piece)| part.push(piece));
    }
    parts.into_par_iter().enumerate().for_each(|(task, mut out)| {
        let rows = task * each..rows.min((task + 1) * each);
        columns_of(x, matrix, low, rows, strip, &mut out);
    });
    out
}

/// x·Wᵀ for some rows of W, which are the product's columns.
fn columns_of(
    x: &[f32],
    matrix: &impl Rows,
    low: LowRank<'_>,
    rows: Range<usize>,
    strip: usize,
    out: &mut [&mut [f32]],
) {
    let [_, columns] = matrix.dims();
    let mut scratch = Vec::new();
    let lines = out.len();
    // What only one tile goes over needs no cache.
    let strip = if lines == 1 { rows.len().next_multiple_of(STRIP_ROWS) } else { strip };
    let block = (X_BYTES / (4 * columns)).max(1).next_multiple_of(ROWS);
    for (index, (x, out)) in x.chunks(block * columns).zip(out.chunks_mut(block)).enumerate() {
        for first in rows.clone().step_by(strip) {
            let these = first..rows.end.min(first + strip);
            let low = LowRank {
                x: &low.x[index * block * low.columns..][..out.len() * low.columns],
                weight: &low.weight[these.start * low.columns..these.end * low.columns],
                ..low
            };
            let (count, first) = (these.len(), first - rows.start);
            let product = Product { x, columns, low, count, out, first };
            match matrix.some(these, lines, &mut scratch) {
                Numbers::F32(weight) => wide(By::<InFull>(product, weight)),
                Numbers::Bf16(weight) => wide(By::<InBf16>(product, weight)),
                Numbers::F16(weight) => wide(By::<InF16>(product, weight)),
            }
        }
    }
}

/// How a number is stored.
pub trait Number {
    /// Its bits.
    type Unit: Copy;

    /// The number in f32, exactly.
    fn widened(unit: Self::Unit) -> f32;
}

/// f32.
struct InFull;

/// bfloat16: the upper half of an f32.
pub struct InBf16;

/// Half precision.
pub struct InF16;

impl Number for InFull {
    type Unit = f32;

    #[inline(always)]
    fn widened(unit: f32) -> f32 {
        unit
    }
}

impl Number for InBf16 {
    type Unit = u16;

    #[inline(always)]
    fn widened(unit: u16) -> f32 {
        f32::from_bits(u32::from(unit) << 16)
    }
}

impl Number for InF16 {
    type Unit = u16;

    #[inline(always)]
    fn widened(unit: u16) -> f32 {
        // An f16's fields, shifted to f32's places, read as the number times 2^(15 − 127),
        // subnormals included.
        const SCALE: f32 = f32::from_bits((127 + 112) << 23);
        let unit = u32::from(unit);
        let size = f32::from_bits((unit & 0x7fff) << 13) * SCALE;
        f32::from_bits(size.to_bits() | (unit & 0x8000) << 16)
    }
}

/// A register's numbers, in it.
#[inline(always)]
fn vector<S: Simd, T: Number, const LANES: usize>(units: &[T::Unit; LANES]) -> S::f32s {
    let mut wide = [0.0; LANES];
    for i in 0..LANES {
        wide[i] = T::widened(units[i]);
    }
    S::as_simd_f32s(&wide).0[0]
}

/// Rows of x and of W in a tile: 12 sums, 4 numbers of x and 3 of W are all that AVX2's registers take.
const ROWS: usize = 4;
const COLUMNS: usize = 3;
/// Rows of W in a tile of a single row of x.
const ALONE: usize = 8;

/// x·Wᵀ of `count` rows of W, and what is added to it, for `out`: pieces of the product's rows, from `first` on.
struct Product<'a, 'o> {
    x: &'a [f32],
    columns: usize,
    low: LowRank<'a>,
    count: usize,
    out: &'a mut [&'o mut [f32]],
    first: usize,
}

/// A product with W's rows.
struct By<'a, 'o, T: Number>(Product<'a, 'o>, &'a [T::Unit]);

/// Rows of the same length, `apart` from each other.
#[inline(always)]
fn lines<T, const N: usize>(all: &[T], first: usize, apart: usize, columns: usize) -> [&[T]; N] {
    let mut lines: [&[T]; N] = [&[]; N];
    for i in 0..N {
        lines[i] = &all[(first + i * apart) * columns..][..columns];
    }
    lines
}

/// Rows in pieces of a register's length, the first of them.
#[inline(always)]
fn registers<T, const LANES: usize, const N: usize>(
    rows: [&[T]; N],
    vectors: usize,
) -> [&[[T; LANES]]; N] {
    let mut pieces: [&[[T; LANES]]; N] = [&[]; N];
    for i in 0..N {
        pieces[i] = &rows[i].as_chunks().0[..vectors];
    }
    pieces
}

/// Adds to the sums what fills registers, along the rows of `x` and `weight`.
#[inline(always)]
fn add_vectors<S: Simd, T: Number, const LANES: usize, const R: usize, const C: usize>(
    simd: S,
    sums: &mut [[S::f32s; C]; R],
    x: [&[f32]; R],
    weight: [&[T::Unit]; C],
    columns: usize,
) {
    // Of one length, so that the loop checks no bounds.
    let vectors = columns / LANES;
    let x = registers::<f32, LANES, R>(x, vectors);
    let weight = registers::<T::Unit, LANES, C>(weight, vectors);
    for k in 0..vectors {
        let mut of_weight = [simd.splat_f32s(0.0); C];
        for j in 0..C {
            of_weight[j] = vector::<S, T, LANES>(&weight[j][k]);
        }
        for i in 0..R {
            let of_x = vector::<S, InFull, LANES>(&x[i][k]);
            for j in 0..C {
                sums[i][j] = simd.mul_add_e_f32s(of_x, of_weight[j], sums[i][j]);
            }
        }
    }
}

/// Adds to a sum what is left of two rows.
#[inline(always)]
fn add_tail<T: Number, const LANES: usize>(sum: &mut f32, x: &[f32], weight: &[T::Unit]) {
    let tail = x.len() / LANES * LANES;
    for (x, &weight) in x[tail..].iter().zip(&weight[tail..]) {
        *sum += x * T::widened(weight);
    }
}

impl<T: Number> By<'_, '_, T> {
    /// `R` rows of x times `C` rows of W, from row `r` and `c` on: a sum of vectors for each, along In. W's are
    /// `apart`, so that one tile's rows go on where the last one's ended: memory is read in `C` long lines, which
    /// the CPU fetches ahead.
    #[inline(always)]
    fn tile<S: Simd, const LANES: usize, const R: usize, const C: usize>(
        &mut self,
        simd: S,
        r: usize,
        c: usize,
        apart: usize,
    ) {
        let Self(Product { x, columns, low, out, first, .. }, weight) = self;
        let x: [_; R] = lines(x, r, 1, *columns);
        let weight: [_; C] = lines(weight, c, apart, *columns);
        let low_x: [_; R] = lines(low.x, r, 1, low.columns);
        let low_weight: [_; C] = lines(low.weight, c, apart, low.columns);
        let mut sums = [[simd.splat_f32s(0.0); C]; R];
        add_vectors::<S, T, LANES, R, C>(simd, &mut sums, x, weight, *columns);
        if low.columns > 0 {
            add_vectors::<S, InFull, LANES, R, C>(simd, &mut sums, low_x, low_weight, low.columns);
        }
        let (has_tail, low_has_tail) = (*columns % LANES > 0, low.columns % LANES > 0);
        for i in 0..R {
            let out = &mut out[r + i][*first + c..];
            for j in 0..C {
                let mut sum = simd.reduce_sum_f32s(sums[i][j]);
                if has_tail {
                    add_tail::<T, LANES>(&mut sum, x[i], weight[j]);
                }
                if low_has_tail {
                    add_tail::<InFull, LANES>(&mut sum, low_x[i], low_weight[j]);
                }
                out[j * apart] = sum;
            }
        }
    }

    #[inline(always)]
    fn tiles<S: Simd, const LANES: usize>(&mut self, simd: S) {
        let (n, rows) = (self.0.out.len(), self.0.count);
        let (tiled, apart) = (n / ROWS * ROWS, rows / COLUMNS);
        for r in (0..tiled).step_by(ROWS) {
            for c in 0..apart {
                self.tile::<S, LANES, ROWS, COLUMNS>(simd, r, c, apart);
            }
            for c in apart * COLUMNS..rows {
                self.tile::<S, LANES, ROWS, 1>(simd, r, c, 1);
            }
        }
        let apart = rows / ALONE;
        for r in tiled..n {
            for c in 0..apart {
                self.tile::<S, LANES, 1, ALONE>(simd, r, c, apart);
            }
            for c in apart * ALONE..rows {
                self.tile::<S, LANES, 1, 1>(simd, r, c, 1);
            }
        }
    }
}

impl<T: Number> WithSimd for By<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        match S::F32_LANES {
            16 => self.tiles::<S, 16>(simd),
            8 => self.tiles::<S, 8>(simd),
            4 => self.tiles::<S, 4>(simd),
            _ => self.tiles::<S, 1>(simd),
        }
    }
}
