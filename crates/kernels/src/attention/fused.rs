//! Attention on the CPU, forward and backward. A task takes a tree of sequences and keeps one row of their
//! scores at a time. The backward pass computes the probabilities again, which costs less than keeping them.

use super::{AttentionShape, Packing, Segment, Table, Tree};
use crate::cpu::{f32s, tensor};
use crate::fused::FusedOp;
use crate::vector::{LANES, add_scaled, dot, softmax, weighted_rows, wide};
use burn::backend::flex::FlexTensor;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub(super) struct Attention {
    pub shape: AttentionShape,
    pub packing: Arc<Packing>,
    pub rope: Arc<Table>,
    pub window: usize,
}

/// The rows of a tree, [T, heads·dh], and how they divide into heads.
#[derive(Clone, Copy)]
struct Rows<'a> {
    values: &'a [f32],
    heads: usize,
    head_dim: usize,
}

impl<'a> Rows<'a> {
    /// A head's vector of a row.
    #[inline(always)]
    fn head(self, row: usize, head: usize) -> &'a [f32] {
        &self.values[(row * self.heads + head) * self.head_dim..][..self.head_dim]
    }
}

/// A key head of a prompt and of one thing that follows it, by position, laid out for row-times-matrix products;
/// widths are padded with zeros to `LANES`.
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
    fn new(positions: usize, head_dim: usize) -> Self {
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

    /// Loads head `head` of a segment's k and v.
    #[inline(always)]
    fn load(&mut self, k: Rows, v: Rows, head: usize, segment: &Segment, rope: &Table) {
        let (width, length) = (self.width, self.length);
        for row in segment.rows.clone() {
            let t = segment.position(row);
            let (k, v) = (k.head(row, head), v.head(row, head));
            let turned = &mut self.k[t * width..][..k.len()];
            rope.rotate(t, 1.0, k, turned);
            transpose_into(&mut self.k_transposed, length, t, turned);
            self.v[t * width..][..v.len()].copy_from_slice(v);
        }
    }

    /// Transposes a segment's loaded v, which only gradients need.
    #[inline(always)]
    fn transpose_values(&mut self, segment: &Segment) {
        for t in segment.rows.clone().map(|row| segment.position(row)) {
            let v = &self.v[t * self.width..][..self.width];
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

/// What a task takes: a tree's rows, and some of its key heads with their query heads.
struct Task<'a> {
    op: &'a Attention,
    tree: &'a Tree,
    kv_heads: Range<usize>,
    q: Rows<'a>,
    k: Rows<'a>,
    v: Rows<'a>,
}

impl Task<'_> {
    /// Query heads of a key head, each with its first column among those of the task's output.
    #[inline(always)]
    fn queries(&self, kv_head: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let AttentionShape { head_dim, .. } = self.op.shape;
        let (group, first) = (self.op.shape.group(), self.kv_heads.start);
        (kv_head * group..(kv_head + 1) * group)
            .map(move |head| (head, (head - first * group) * head_dim))
    }

    /// Numbers of a row of the output, as wide as q, and of one as wide as k.
    #[inline(always)]
    fn widths(&self) -> (usize, usize) {
        let kv = self.kv_heads.len() * self.op.shape.head_dim;
        (kv * self.op.shape.group(), kv)
    }
}

/// The output of the task's query heads.
struct Forward<'a>(Task<'a>);

impl WithSimd for Forward<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Self(task) = self;
        let Task { op, tree, q, k, v, .. } = task;
        let head_dim = op.shape.head_dim;
        let (width, _) = task.widths();
        let mut out = vec![0.0; tree.rows() * width];
        let mut keys = Keys::new(tree.positions(), head_dim);
        let mut probabilities = vec![0.0; keys.length];
        let mut query = vec![0.0; head_dim];
        let mut mixed = vec![0.0; keys.width];
        for kv_head in task.kv_heads.clone() {
            // What follows the prompt takes the place of what followed it before.
            for segment in tree.segments(0) {
                keys.load(k, v, kv_head, &segment, &op.rope);
                for (head, column) in task.queries(kv_head) {
                    for row in segment.rows.clone() {
                        let t = segment.position(row);
                        op.rope.rotate(t, op.shape.scale(), q.head(row, head), &mut query);
                        let seen = Seen::of(t, op.window);
                        keys.probabilities(simd, &query, seen, &mut probabilities[..seen.padded()]);
                        let weights = &probabilities[..seen.end - seen.start];
                        let values = &keys.v[seen.start * keys.width..];
                        weighted_rows(simd, weights, values, keys.width, 0, &mut mixed);
                        let out = &mut out[row * width + column..][..head_dim];
                        out.copy_from_slice(&mixed[..head_dim]);
                    }
                }
            }
        }
        out
    }
}

/// The gradients of the task's heads, dq, dk and dv, given dy, [T, Hq·dh].
///
/// With P the probabilities and dP = dy·vᵀ: dS = P∘(dP − Σ P∘dP), dv = Pᵀ·dy,
/// d rope(q) = dS·rope(k)/√dh, d rope(k) = dSᵀ·rope(q)/√dh.
struct Backward<'a> {
    task: Task<'a>,
    dy: Rows<'a>,
}

impl WithSimd for Backward<'_> {
    type Output = [Vec<f32>; 3];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [Vec<f32>; 3] {
        let Self { task, dy } = self;
        let Task { op, tree, q, k, v, .. } = task;
        let (head_dim, scale) = (op.shape.head_dim, op.shape.scale());
        let (q_width, kv_width) = task.widths();
        let mut dq = vec![0.0; tree.rows() * q_width];
        let mut dk = vec![0.0; tree.rows() * kv_width];
        let mut dv = dk.clone();
        let mut keys = Keys::new(tree.positions(), head_dim);
        let width = keys.width;
        let (mut p, mut ds) = (vec![0.0; keys.length], vec![0.0; keys.length]);
        let (mut query, mut dquery) = (vec![0.0; width], vec![0.0; width]);
        let mut dout = vec![0.0; width];
        // By position, as the keys; the prompt's go on growing through all that follows it.
        let (mut dkeys, mut dvalues) = (vec![0.0; keys.k.len()], vec![0.0; keys.v.len()]);
        for (kv_head, column_of_kv) in task.kv_heads.clone().zip((0..).step_by(head_dim)) {
            dkeys.fill(0.0);
            dvalues.fill(0.0);
            let mut write = |segment: &Segment, dkeys: &[f32], dvalues: &[f32]| {
                for row in segment.rows.clone() {
                    let t = segment.position(row);
                    let out = row * kv_width + column_of_kv;
                    let dkey = &dkeys[t * width..][..head_dim];
                    op.rope.rotate_back(t, 1.0, dkey, &mut dk[out..][..head_dim]);
                    dv[out..][..head_dim].copy_from_slice(&dvalues[t * width..][..head_dim]);
                }
            };
            for segment in tree.segments(0) {
                keys.load(k, v, kv_head, &segment, &op.rope);
                keys.transpose_values(&segment);
                for (head, column) in task.queries(kv_head) {
                    for row in segment.rows.clone() {
                        let t = segment.position(row);
                        op.rope.rotate(t, scale, q.head(row, head), &mut query[..head_dim]);
                        dout[..head_dim].copy_from_slice(dy.head(row, head));
                        let seen = Seen::of(t, op.window);
                        let (p, ds) = (&mut p[..seen.padded()], &mut ds[..seen.padded()]);
                        keys.probabilities(simd, &query[..head_dim], seen, p);
                        let (start, end) = (seen.start, &dout[..head_dim]);
                        weighted_rows(simd, end, &keys.v_transposed, keys.length, start, ds);
                        let mean = dot(simd, p, ds);
                        for (ds, &p) in ds.iter_mut().zip(p.iter()) {
                            *ds = p * (*ds - mean);
                        }
                        let count = seen.end - start;
                        let past = &keys.k[start * width..];
                        weighted_rows(simd, &ds[..count], past, width, 0, &mut dquery);
                        let dq = &mut dq[row * q_width + column..][..head_dim];
                        op.rope.rotate_back(t, scale, &dquery[..head_dim], dq);
                        let dkeys = dkeys[start * width..].chunks_exact_mut(width);
                        let sums = dkeys.zip(dvalues[start * width..].chunks_exact_mut(width));
                        for ((dkey, dvalue), (&ds, &p)) in
                            sums.zip(ds.iter().zip(p.iter())).take(count)
                        {
                            add_scaled(simd, dkey, ds, &query);
                            add_scaled(simd, dvalue, p, &dout);
                        }
                    }
                }
                if segment.seen_until == segment.rows.end {
                    write(&segment, &dkeys, &dvalues);
                    let own = segment.past.len() * width..;
                    dkeys[own.clone()].fill(0.0);
                    dvalues[own].fill(0.0);
                }
            }
            let prompt = tree.segments(0).next().filter(|s| s.seen_until > s.rows.end);
            prompt.iter().for_each(|prompt| write(prompt, &dkeys, &dvalues));
        }
        [dq, dk, dv]
    }
}

impl Attention {
    /// Does the work of every tree, in as many parts as keep the threads busy, and joins what the parts give:
    /// each as many numbers a row, for each of `N` outputs.
    fn in_tasks<const N: usize>(
        &self,
        [q, k, v]: &[FlexTensor; 3],
        work: impl Fn(Task, Range<usize>) -> [Vec<f32>; N] + Sync,
    ) -> [Vec<f32>; N] {
        let AttentionShape { heads, kv_heads, .. } = self.shape;
        let trees: Vec<_> = self.packing.placed().collect();
        let whole = trees.len() >= 2 * rayon::current_num_threads();
        let parts = if whole { 1 } else { kv_heads };
        let done: Vec<_> = (0..trees.len() * parts)
            .into_par_iter()
            .map(|task| {
                let (start, tree) = trees[task / parts];
                let rows = start..start + tree.rows();
                let of = |x, heads| self.rows(x, heads, rows.clone());
                let each = kv_heads / parts;
                let first = task % parts * each;
                let (q, k, v) = (of(q, heads), of(k, kv_heads), of(v, kv_heads));
                let kv_heads = first..first + each;
                work(Task { op: self, tree, kv_heads, q, k, v }, rows.clone())
            })
            .collect();
        std::array::from_fn(|output| {
            let mut joined = Vec::with_capacity(done.iter().map(|part| part[output].len()).sum());
            for (of_tree, (_, tree)) in done.chunks(parts).zip(&trees) {
                for row in 0..tree.rows() {
                    for part in of_tree {
                        let width = part[output].len() / tree.rows();
                        joined.extend_from_slice(&part[output][row * width..][..width]);
                    }
                }
            }
            joined
        })
    }

    fn rows<'a>(&self, x: &'a FlexTensor, heads: usize, rows: Range<usize>) -> Rows<'a> {
        let head_dim = self.shape.head_dim;
        let width = heads * head_dim;
        Rows { values: &f32s(x)[rows.start * width..rows.end * width], heads, head_dim }
    }
}

impl FusedOp<3> for Attention {
    fn forward(&self, inputs: &[FlexTensor; 3]) -> FlexTensor {
        let [out] = self.in_tasks(inputs, |task, _| [wide(Forward(task))]);
        tensor(out, inputs[0].layout().shape().clone())
    }

    fn backward(&self, inputs: [FlexTensor; 3], dy: FlexTensor) -> [FlexTensor; 3] {
        let grads = self.in_tasks(&inputs, |task, rows| {
            wide(Backward { dy: self.rows(&dy, self.shape.heads, rows), task })
        });
        let [q, k, _] = inputs.map(|x| x.layout().shape().clone());
        let [dq, dk, dv] = grads;
        [tensor(dq, q), tensor(dk, k.clone()), tensor(dv, k)]
    }
}
