//! Attention on the CPU, forward and backward. A task takes one sequence and keeps one row of the
//! T × T scores at a time. The backward pass computes the probabilities again, which costs less than
//! keeping them.

use super::{AttentionShape, Table};
use crate::cpu::{f32s, f32s_mut, tensor};
use crate::fused::FusedOp;
use crate::vector::{LANES, add_scaled, dot, softmax, weighted_rows, wide};
use burn::backend::flex::FlexTensor;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub(super) struct Attention {
    pub shape: AttentionShape,
    pub rope: Arc<Table>,
    pub window: usize,
}

/// The rows of one sequence, [T, heads·dh], and how they divide into heads.
#[derive(Clone, Copy)]
struct Rows<'a> {
    values: &'a [f32],
    heads: usize,
    head_dim: usize,
}

impl<'a> Rows<'a> {
    /// One head's vectors, position by position.
    #[inline(always)]
    fn head(self, head: usize) -> impl Iterator<Item = &'a [f32]> {
        let Self { values, heads, head_dim } = self;
        let rows = values.chunks_exact(heads * head_dim);
        rows.map(move |row| &row[head * head_dim..][..head_dim])
    }
}

/// A key head of a sequence, laid out for row-times-matrix products; widths are padded with zeros
/// to `LANES`.
struct Keys {
    /// rope(k), [T, dh'].
    k: Vec<f32>,
    /// rope(k)ᵀ, [dh, T'].
    k_transposed: Vec<f32>,
    /// v, [T, dh'].
    v: Vec<f32>,
    /// vᵀ, [dh, T'].
    v_transposed: Vec<f32>,
    /// dh'.
    width: usize,
    /// T'.
    length: usize,
}

impl Keys {
    #[inline(always)]
    fn new(shape: AttentionShape) -> Self {
        let AttentionShape { positions, head_dim, .. } = shape;
        let (width, length) = (head_dim.next_multiple_of(LANES), positions.next_multiple_of(LANES));
        let (rows, columns) = (vec![0.0; positions * width], vec![0.0; head_dim * length]);
        Self {
            k: rows.clone(),
            v: rows,
            k_transposed: columns.clone(),
            v_transposed: columns,
            width,
            length,
        }
    }

    /// Loads head `head` of k and v.
    #[inline(always)]
    fn load(&mut self, k: Rows, v: Rows, head: usize, rope: &Table) {
        let (width, length) = (self.width, self.length);
        for (t, (row, k)) in self.k.chunks_exact_mut(width).zip(k.head(head)).enumerate() {
            rope.rotate(t, 1.0, k, &mut row[..k.len()]);
            transpose_into(&mut self.k_transposed, length, t, &row[..k.len()]);
        }
        for (row, v) in self.v.chunks_exact_mut(width).zip(v.head(head)) {
            row[..v.len()].copy_from_slice(v);
        }
    }

    /// Transposes the loaded v, which only gradients need.
    #[inline(always)]
    fn transpose_values(&mut self) {
        for (t, v) in self.v.chunks_exact(self.width).enumerate() {
            transpose_into(&mut self.v_transposed, self.length, t, v);
        }
    }

    /// Writes the attention probabilities of a rotated and scaled query that sees the positions in `seen` to
    /// `out`, whose first element is position `start`, zeros around them; `start` and `out`'s length are
    /// whole `LANES`.
    #[inline(always)]
    fn probabilities<S: Simd>(
        &self,
        simd: S,
        q: &[f32],
        Seen { start, first, end }: Seen,
        out: &mut [f32],
    ) {
        weighted_rows(simd, q, &self.k_transposed, self.length, start, out);
        softmax(simd, out, first - start..end - start);
    }
}

/// The positions that one sees.
#[derive(Clone, Copy)]
struct Seen {
    /// The first of them, or some before it: whole `LANES`.
    start: usize,
    first: usize,
    /// After the last.
    end: usize,
}

impl Seen {
    /// Of position `t`.
    #[inline(always)]
    fn of(t: usize, window: usize) -> Self {
        let first = (t + 1).saturating_sub(window);
        Self { start: first / LANES * LANES, first, end: t + 1 }
    }

    /// From `start` to the end, rounded up to whole `LANES`.
    #[inline(always)]
    fn padded(self) -> usize {
        (self.end - self.start).next_multiple_of(LANES)
    }
}

#[inline(always)]
fn transpose_into(matrix: &mut [f32], stride: usize, column: usize, values: &[f32]) {
    for (row, &value) in matrix.chunks_exact_mut(stride).zip(values) {
        row[column] = value;
    }
}

impl Attention {
    fn rows<'a>(&self, values: &'a [f32], heads: usize) -> Rows<'a> {
        Rows { values, heads, head_dim: self.shape.head_dim }
    }
}

/// One sequence: q [T, Hq·dh], k and v [T, Hkv·dh] → out [T, Hq·dh].
struct Forward<'a> {
    op: &'a Attention,
    q: Rows<'a>,
    k: Rows<'a>,
    v: Rows<'a>,
    out: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { op, q, k, v, out } = self;
        let AttentionShape { head_dim, heads, .. } = op.shape;
        let mut keys = Keys::new(op.shape);
        let mut probabilities = vec![0.0; keys.length];
        let mut query = vec![0.0; head_dim];
        let mut mixed = vec![0.0; keys.width];
        for head in 0..heads {
            if head % op.shape.group() == 0 {
                keys.load(k, v, head / op.shape.group(), &op.rope);
            }
            let outs = out.chunks_exact_mut(heads * head_dim);
            for (t, (q, out)) in q.head(head).zip(outs).enumerate() {
                op.rope.rotate(t, op.shape.scale(), q, &mut query);
                let seen = Seen::of(t, op.window);
                keys.probabilities(simd, &query, seen, &mut probabilities[..seen.padded()]);
                let weights = &probabilities[..seen.end - seen.start];
                let values = &keys.v[seen.start * keys.width..];
                weighted_rows(simd, weights, values, keys.width, 0, &mut mixed);
                out[head * head_dim..][..head_dim].copy_from_slice(&mixed[..head_dim]);
            }
        }
    }
}

/// One sequence's gradients: `dk` and `dv` [T, Hkv·dh], and dq, which overwrites `dy` [T, Hq·dh].
///
/// With P the probabilities and dP = dy·vᵀ: dS = P∘(dP − Σ P∘dP), dv = Pᵀ·dy,
/// d rope(q) = dS·rope(k)/√dh, d rope(k) = dSᵀ·rope(q)/√dh.
struct Backward<'a> {
    op: &'a Attention,
    q: Rows<'a>,
    k: Rows<'a>,
    v: Rows<'a>,
    dy: &'a mut [f32],
    dk: &'a mut [f32],
    dv: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { op, q, k, v, dy, dk, dv } = self;
        let AttentionShape { head_dim, heads, kv_heads, .. } = op.shape;
        let scale = op.shape.scale();
        let mut keys = Keys::new(op.shape);
        let width = keys.width;
        let (mut p, mut ds) = (vec![0.0; keys.length], vec![0.0; keys.length]);
        let (mut query, mut dquery) = (vec![0.0; width], vec![0.0; width]);
        let mut dout = vec![0.0; width];
        let (mut dkeys, mut dvalues) = (vec![0.0; keys.k.len()], vec![0.0; keys.v.len()]);
        for head in 0..heads {
            let kv_head = head / op.shape.group();
            if head % op.shape.group() == 0 {
                keys.load(k, v, kv_head, &op.rope);
                keys.transpose_values();
                dkeys.fill(0.0);
                dvalues.fill(0.0);
            }
            let rows = q.head(head).zip(dy.chunks_exact_mut(heads * head_dim));
            for (t, (q, dy)) in rows.enumerate() {
                let dy = &mut dy[head * head_dim..][..head_dim];
                op.rope.rotate(t, scale, q, &mut query[..head_dim]);
                dout[..head_dim].copy_from_slice(dy);
                let seen = Seen::of(t, op.window);
                let (p, ds) = (&mut p[..seen.padded()], &mut ds[..seen.padded()]);
                keys.probabilities(simd, &query[..head_dim], seen, p);
                let start = seen.start;
                weighted_rows(simd, &dout[..head_dim], &keys.v_transposed, keys.length, start, ds);
                let mean = dot(simd, p, ds);
                for (ds, &p) in ds.iter_mut().zip(p.iter()) {
                    *ds = p * (*ds - mean);
                }
                let count = seen.end - start;
                let past = &keys.k[start * width..];
                weighted_rows(simd, &ds[..count], past, width, 0, &mut dquery);
                op.rope.rotate_back(t, scale, &dquery[..head_dim], dy);
                let dkeys = dkeys[start * width..].chunks_exact_mut(width);
                let sums = dkeys.zip(dvalues[start * width..].chunks_exact_mut(width));
                for ((dkey, dvalue), (&ds, &p)) in sums.zip(ds.iter().zip(p.iter())).take(count) {
                    add_scaled(simd, dkey, ds, &query);
                    add_scaled(simd, dvalue, p, &dout);
                }
            }
            if (head + 1) % op.shape.group() == 0 {
                let columns = kv_head * head_dim..(kv_head + 1) * head_dim;
                let outs = dk.chunks_exact_mut(kv_heads * head_dim);
                for (t, (dk, dkey)) in outs.zip(dkeys.chunks_exact(width)).enumerate() {
                    op.rope.rotate_back(t, 1.0, &dkey[..head_dim], &mut dk[columns.clone()]);
                }
                let outs = dv.chunks_exact_mut(kv_heads * head_dim);
                for (dv, dvalue) in outs.zip(dvalues.chunks_exact(width)) {
                    dv[columns.clone()].copy_from_slice(&dvalue[..head_dim]);
                }
            }
        }
    }
}

impl FusedOp<3> for Attention {
    fn forward(&self, [q, k, v]: &[FlexTensor; 3]) -> FlexTensor {
        let AttentionShape { positions, heads, kv_heads, head_dim, .. } = self.shape;
        let (q_len, kv_len) = (positions * heads * head_dim, positions * kv_heads * head_dim);
        let mut out = vec![0.0; f32s(q).len()];
        let ins = f32s(q).par_chunks(q_len).zip(f32s(k).par_chunks(kv_len));
        let ins = ins.zip(f32s(v).par_chunks(kv_len));
        out.par_chunks_mut(q_len).zip(ins).for_each(|(out, ((q, k), v))| {
            let (q, k, v) = (self.rows(q, heads), self.rows(k, kv_heads), self.rows(v, kv_heads));
            wide(Forward { op: self, q, k, v, out });
        });
        tensor(out, q.layout().shape().clone())
    }

    fn backward(&self, [q, k, v]: [FlexTensor; 3], mut dy: FlexTensor) -> [FlexTensor; 3] {
        let AttentionShape { positions, heads, kv_heads, head_dim, .. } = self.shape;
        let (q_len, kv_len) = (positions * heads * head_dim, positions * kv_heads * head_dim);
        let kv_shape = k.layout().shape().clone();
        let (q, k, v) = (f32s(&q), f32s(&k), f32s(&v));
        let (mut dk, mut dv) = (vec![0.0; k.len()], vec![0.0; v.len()]);
        let outs = dk.par_chunks_mut(kv_len).zip(dv.par_chunks_mut(kv_len));
        let outs = outs.zip(f32s_mut(&mut dy).par_chunks_mut(q_len));
        let ins = q.par_chunks(q_len).zip(k.par_chunks(kv_len)).zip(v.par_chunks(kv_len));
        outs.zip(ins).for_each(|(((dk, dv), dy), ((q, k), v))| {
            let (q, k, v) = (self.rows(q, heads), self.rows(k, kv_heads), self.rows(v, kv_heads));
            wide(Backward { op: self, q, k, v, dy, dk, dv });
        });
        [dy, tensor(dk, kv_shape.clone()), tensor(dv, kv_shape)]
    }
}
