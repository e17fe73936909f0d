//! Attention of one new position per row over the keys and values of the row's past.
//!
//! Rows have pasts of different lengths. Each is stored from its own position 0, so a row's
//! numbers never depend on its neighbours; on the CPU not even in the last bit.

use super::{AttentionShape, MASKED, Rope, Table};
use crate::ops::vector::{LANES, dot, softmax, wide};
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData, activation};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// The past of one layer: rotated keys and values of every row.
#[derive(Debug, Clone)]
pub struct KvCache {
    store: Store,
    /// Positions held, per row.
    lengths: Vec<u32>,
    /// Positions that fit in a row.
    capacity: usize,
    /// Hkv and dh.
    kv_heads: usize,
    head_dim: usize,
}

/// Where keys and values live.
#[derive(Debug, Clone)]
enum Store {
    /// [rows, capacity, Hkv·dh] each, on the host: the CPU kernel appends in place.
    Host { k: Vec<f32>, v: Vec<f32> },
    /// [rows·Hkv·capacity, dh] each: one matrix per head, as the products want it, and positions
    /// behind a row's length hold finite numbers, so that a weight of 0 silences them.
    Device { k: Tensor<2>, v: Tensor<2> },
}

impl KvCache {
    /// An empty cache for `rows` rows of at most `capacity` positions.
    pub fn new(
        device: &Device,
        rows: usize,
        capacity: usize,
        kv_heads: usize,
        head_dim: usize,
    ) -> Self {
        let elements = rows * capacity * kv_heads * head_dim;
        let store = if crate::ops::fused::runs_on(device) {
            Store::Host { k: vec![0.0; elements], v: vec![0.0; elements] }
        } else {
            let device = device.clone().without_autodiff();
            let zeros = || Tensor::zeros([rows * kv_heads * capacity, head_dim], &device);
            Store::Device { k: zeros(), v: zeros() }
        };
        Self { store, lengths: vec![0; rows], capacity, kv_heads, head_dim }
    }

    /// Positions held, per row.
    pub fn lengths(&self) -> &[u32] {
        &self.lengths
    }

    /// Fills an empty cache from a padded pass over prompts: k (unrotated) and v are
    /// [P·T, Hkv·dh], as `attention` takes them, of which row p holds the first `lengths[p]`
    /// positions.
    ///
    /// # Panics
    /// If the sizes disagree or a prompt doesn't fit.
    pub fn prefill(&mut self, k: Tensor<2>, v: Tensor<2>, lengths: &[u32], rope: &Rope) {
        let (rows, kv_dim) = (self.lengths.len(), self.kv_heads * self.head_dim);
        assert_eq!(lengths.len(), rows, "one length a row");
        let t = k.dims()[0] / rows;
        assert_eq!(k.dims(), [rows * t, kv_dim], "keys of {rows} rows");
        assert_eq!(v.dims(), k.dims(), "values like keys");
        let fits = lengths.iter().all(|&n| n as usize <= t.min(self.capacity));
        assert!(fits && t <= rope.positions(), "prompts of {t} in {} positions", self.capacity);
        let (kv_heads, head_dim, capacity) = (self.kv_heads, self.head_dim, self.capacity);
        match &mut self.store {
            Store::Host { k: keys, v: values } => {
                let (k, v) = (host(k), host(v));
                for (row, &length) in lengths.iter().enumerate() {
                    for position in 0..length as usize {
                        let from = (row * t + position) * kv_dim;
                        let to = (row * capacity + position) * kv_dim;
                        let key = &mut keys[to..to + kv_dim];
                        rope.table.rotate_heads(position, 1.0, &k[from..from + kv_dim], key);
                        values[to..to + kv_dim].copy_from_slice(&v[from..from + kv_dim]);
                    }
                }
            }
            Store::Device { k: keys, v: values } => {
                let per_head = |x: Tensor<2>| {
                    let x = x.without_autodiff().reshape([rows, t, kv_heads, head_dim]);
                    x.swap_dims(1, 2) // [P, Hkv, T, dh]
                };
                // A padded pass may be longer than the cache: what lies behind is padding.
                let kept = t.min(capacity);
                let stored = |x: Tensor<4>| {
                    let x = x.narrow(2, 0, kept);
                    let behind = [rows, kv_heads, capacity - kept, head_dim];
                    let behind = Tensor::zeros(behind, &x.device());
                    Tensor::cat(vec![x, behind], 2).reshape([rows * kv_heads * capacity, head_dim])
                };
                let row = |table: &Tensor<2>| table.clone().narrow(0, 0, t).unsqueeze::<4>();
                *keys = stored(Rope::rotate(per_head(k), row(&rope.cos), row(&rope.sin)));
                *values = stored(per_head(v));
            }
        }
        self.lengths = lengths.to_vec();
    }

    /// Each row `times` times, copies side by side: the samples of a prompt's group.
    #[must_use]
    pub fn repeat(self, times: usize) -> Self {
        let rows = 0..self.lengths.len();
        self.gather(&rows.flat_map(|row| std::iter::repeat_n(row, times)).collect::<Vec<_>>())
    }

    /// Only the given rows, in the given order: compaction when sequences have ended.
    #[must_use]
    pub fn keep(self, rows: &[usize]) -> Self {
        self.gather(rows)
    }

    fn gather(mut self, rows: &[usize]) -> Self {
        let row_len = self.capacity * self.kv_heads * self.head_dim;
        self.store = match self.store {
            Store::Host { k, v } => {
                let pick = |x: Vec<f32>| -> Vec<f32> {
                    rows.iter().flat_map(|&row| &x[row * row_len..][..row_len]).copied().collect()
                };
                Store::Host { k: pick(k), v: pick(v) }
            }
            Store::Device { k, v } => {
                let head_rows = self.kv_heads * self.capacity;
                let index: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
                let index = Tensor::<1, Int>::from_ints(index.as_slice(), &k.device());
                let pick = |x: Tensor<2>| {
                    x.reshape([self.lengths.len(), row_len])
                        .select(0, index.clone())
                        .reshape([rows.len() * head_rows, self.head_dim])
                };
                Store::Device { k: pick(k), v: pick(v) }
            }
        };
        self.lengths = rows.iter().map(|&row| self.lengths[row]).collect();
        self
    }
}

impl Table {
    /// `rotate` for each head of a row.
    #[inline(always)]
    fn rotate_heads(&self, position: usize, scale: f32, x: &[f32], out: &mut [f32]) {
        let head_dim = 2 * self.half;
        for (x, out) in x.chunks_exact(head_dim).zip(out.chunks_exact_mut(head_dim)) {
            self.rotate(position, scale, x, out);
        }
    }
}

/// Appends each row's new position to `cache` and attends from it: q [B, Hq·dh], k and v
/// [B, Hkv·dh], all unrotated, → [B, Hq·dh]. Row b stands at position `cache.lengths()[b]`.
///
/// # Panics
/// If the sizes disagree or a row is full.
pub fn decode_attention(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    cache: &mut KvCache,
    rope: &Rope,
) -> Tensor<2> {
    let rows = cache.lengths.len();
    let shape = AttentionShape {
        batch: rows,
        positions: 1,
        heads: q.dims()[1] / cache.head_dim,
        kv_heads: cache.kv_heads,
        head_dim: cache.head_dim,
    };
    shape.check(&q, &k, &v);
    let room = cache.capacity.min(rope.positions());
    assert!(cache.lengths.iter().all(|&n| (n as usize) < room), "a row is full at {room}");
    let device = q.device();
    let out = match &mut cache.store {
        Store::Host { k: keys, v: values } => {
            let (q, k, v) = (host(q), host(k), host(v));
            let mut out = vec![0.0; q.len()];
            let (q_dim, kv_dim) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
            let pasts = keys
                .par_chunks_exact_mut(cache.capacity * kv_dim)
                .zip(values.par_chunks_exact_mut(cache.capacity * kv_dim));
            let news = q.par_chunks_exact(q_dim).zip(k.par_chunks_exact(kv_dim));
            let news = news.zip(v.par_chunks_exact(kv_dim));
            let outs = out.par_chunks_exact_mut(q_dim).zip(&cache.lengths);
            outs.zip(pasts.zip(news)).with_min_len(8).for_each(
                |((out, &length), ((keys, values), ((q, k), v)))| {
                    let position = length as usize;
                    wide(AttendRow {
                        shape,
                        rope: &rope.table,
                        position,
                        q,
                        k,
                        v,
                        keys,
                        values,
                        out,
                    });
                },
            );
            Tensor::from_data(TensorData::new(out, [rows, q_dim]), &device)
        }
        Store::Device { k: keys, v: values } => {
            let index = |f: &dyn Fn(usize, i32) -> i32, per_row: usize| {
                let rows = cache.lengths.iter().enumerate();
                let values: Vec<i32> = rows
                    .flat_map(|(row, &n)| {
                        (0..per_row).map(move |head| f(row * per_row + head, n as i32))
                    })
                    .collect();
                Tensor::<1, Int>::from_ints(values.as_slice(), &keys.device())
            };
            let position = index(&|_, n| n, 1); // [B]
            let slot = index(&|head, n| (head * cache.capacity) as i32 + n, shape.kv_heads);
            let turn = |x: Tensor<2>, heads: usize| {
                let x = x.without_autodiff().reshape([rows, heads, shape.head_dim]);
                let at = |table: &Tensor<2>| {
                    table.clone().select(0, position.clone()).unsqueeze_dim::<3>(1)
                };
                Rope::rotate(x, at(&rope.cos), at(&rope.sin))
            };
            let append = |past: &mut Tensor<2>, x: Tensor<2>| {
                // Taken out, the cache has one owner and is written in place.
                let empty = Tensor::empty([0, shape.head_dim], &past.device());
                let taken = std::mem::replace(past, empty);
                *past = taken.select_assign(0, slot.clone(), x, IndexingUpdateOp::Assign);
            };
            let heads = [rows * shape.kv_heads, shape.head_dim];
            append(keys, turn(k, shape.kv_heads).reshape(heads));
            append(values, v.without_autodiff().reshape(heads));

            let matrices = [rows, shape.kv_heads, cache.capacity, shape.head_dim];
            let q = turn(q, shape.heads);
            let q = q.reshape([rows, shape.kv_heads, shape.group(), shape.head_dim]);
            let scores = q.matmul(keys.clone().reshape(matrices).swap_dims(2, 3)) * shape.scale();
            let columns = Tensor::<1, Int>::arange(0..cache.capacity as i64, &keys.device());
            let future = columns.unsqueeze::<2>().greater(position.unsqueeze_dim(1)); // [B, capacity]
            let future = future.reshape([rows, 1, 1, cache.capacity]);
            let weights = activation::softmax(scores.mask_fill(future, MASKED), 3);
            let mixed = weights.matmul(values.clone().reshape(matrices));
            mixed.reshape([rows, shape.heads * shape.head_dim])
        }
    };
    cache.lengths.iter_mut().for_each(|n| *n += 1);
    out
}

/// One row on the CPU: q [Hq·dh], k and v [Hkv·dh] unrotated, the row's store of keys and values
/// [capacity, Hkv·dh], → out [Hq·dh], zero before.
struct AttendRow<'a> {
    shape: AttentionShape,
    rope: &'a Table,
    position: usize,
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    keys: &'a mut [f32],
    values: &'a mut [f32],
    out: &'a mut [f32],
}

impl WithSimd for AttendRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { shape, rope, position, q, k, v, keys, values, out } = self;
        let AttentionShape { kv_heads, head_dim, .. } = shape;
        let kv_dim = kv_heads * head_dim;
        let (seen, end) = (position + 1, (position + 1) * kv_dim);
        rope.rotate_heads(position, 1.0, k, &mut keys[position * kv_dim..end]);
        values[position * kv_dim..end].copy_from_slice(v);
        let (keys, values) = (&keys[..end], &values[..end]);
        let mut weights = vec![0.0; seen.next_multiple_of(LANES)];
        let mut query = vec![0.0; head_dim];
        let heads = q.chunks_exact(head_dim).zip(out.chunks_exact_mut(head_dim));
        for (head, (q, out)) in heads.enumerate() {
            let columns = (head / shape.group()) * head_dim;
            rope.rotate(position, shape.scale(), q, &mut query);
            for (weight, key) in weights.iter_mut().zip(keys.chunks_exact(kv_dim)) {
                *weight = dot(simd, &query, &key[columns..][..head_dim]);
            }
            softmax(simd, &mut weights, seen);
            for (&weight, value) in weights.iter().zip(values.chunks_exact(kv_dim)) {
                for (out, &v) in out.iter_mut().zip(&value[columns..][..head_dim]) {
                    *out += weight * v;
                }
            }
        }
    }
}

/// A CPU tensor's elements.
fn host(x: Tensor<2>) -> Vec<f32> {
    x.into_data().try_into_vec().expect("an f32 tensor")
}
