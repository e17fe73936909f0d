//! Attention of one new position per row over the keys and values of the row's past.

use super::cache::{Both, Held, KvCache, Store, host, store_key, store_value};
use super::gpu::{self, HeadNorms, Past, Split};
use super::{AttentionShape, MASKED, Rope, Table};
use crate::cube::{self, runs_on};
use crate::matmul::matmul_nt;
use crate::step::{Added, Parts};
use crate::vector::{LANES, dot, softmax, weighted_rows, wide};
use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData, activation};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use srft_formats::platform::IS_PAGE;

/// Appends each row's new position to `cache` and attends from it: q [B, Hq·dh], k and v
/// [B, Hkv·dh], all unrotated, → [B, Hq·dh]. Row b's new position is `cache.lengths()[b]`.
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
    decode([q, k, v], cache, rope, !IS_PAGE)
}

/// [`decode_attention`], on a GPU composed of burn's own operations: a page's, which needs them to train anyway.
pub fn decode_stock(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    cache: &mut KvCache,
    rope: &Rope,
) -> Tensor<2> {
    decode([q, k, v], cache, rope, false)
}

fn decode(
    [q, k, v]: [Tensor<2>; 3],
    cache: &mut KvCache,
    rope: &Rope,
    by_shader: bool,
) -> Tensor<2> {
    let rows = cache.lengths.len();
    let shape = cache.shape(q.dims()[1]);
    shape.check(rows, &q, &k, &v);
    cache.require_room(1, rope);
    let device = q.device();
    let out = match &mut cache.store {
        Store::Host(past) => {
            let (q, k, v) = (host(q), host(k), host(v));
            let new = [&q[..], &k, &v];
            let out = match past {
                Both::F32(past) => attend_rows(past, new, shape, &cache.lengths, rope),
                Both::F16(past, _) => attend_rows(past, new, shape, &cache.lengths, rope),
            };
            let width = out.len() / rows;
            Tensor::from_data(TensorData::new(out, [rows, width]), &device)
        }
        Store::Device { past, lengths } => {
            let qkv = [q, k, v].map(Tensor::without_autodiff);
            if runs_on(&device) && by_shader && takes_parts(shape, 1) {
                let whole = Tensor::cat(qkv.to_vec(), 1);
                let added = Added::nothing(whole.dims()[1]);
                return decode_parts(&Parts::whole(whole, &added), cache, rope, None, 1.0);
            }
            *lengths = None;
            let Both::F32([keys, values]) = past else {
                panic!("burn's operations take a past in f32");
            };
            stock(shape, qkv, [keys, values], cache.capacity, &cache.lengths, rope)
        }
    };
    cache.lengths.iter_mut().for_each(|n| *n += 1);
    out
}

/// Whether [`decode_parts`] takes heads of `shape` where `low` words are kept for adapters.
pub fn takes_parts(shape: AttentionShape, low: usize) -> bool {
    Split::of(shape, low).is_some()
}

/// [`decode_attention`] on a native GPU from the parts of a product of q, k and v, whose heads go through `norms` first;
/// q is multiplied by `factor`. The product has as many rows as the cache, or several times as many: then
/// the cache takes them one after the other. → [M, Hq·dh].
///
/// # Panics
/// If the sizes disagree, a row is full, or the heads are too wide ([`takes_parts`]).
pub fn decode_parts(
    parts: &Parts<'_>,
    cache: &mut KvCache,
    rope: &Rope,
    norms: Option<&HeadNorms>,
    factor: f32,
) -> Tensor<2> {
    let rows = cache.lengths.len();
    let times = parts.rows() / rows;
    assert_eq!(parts.rows(), times * rows, "a product of whole times {rows} rows");
    let shape = cache.shape(parts.columns() - 2 * cache.kv_heads * cache.head_dim);
    cache.require_room(times, rope);
    let Store::Device { past, lengths } = &mut cache.store else {
        panic!("a cache of the GPU");
    };
    let split = Split::of(shape, parts.low_words()).expect("heads that the shader takes");
    let device = rope.turns.device();
    let counted = lengths.take().unwrap_or_else(|| {
        let each = shape.kv_heads * split.pieces;
        let of_groups = |&n: &u32| std::iter::repeat_n(n as i32, each);
        let all: Vec<i32> = cache.lengths.iter().flat_map(of_groups).collect();
        Tensor::from_ints(all.as_slice(), &device)
    });
    // Taken out, a tensor has one owner and is written in place.
    let (stored, halves) = match past {
        Both::F32(past) => (past.each_mut().map(gpu::taken), None),
        Both::F16(past, native) => (past.each_mut().map(gpu::taken), Some(*native)),
    };
    let of = Past {
        rows,
        shape,
        split,
        capacity: cache.capacity,
        rope,
        norms,
        factor,
        halves: halves.is_some(),
    };
    let (out, stored, counted) = gpu::decode(parts, &of, stored, counted);
    *past = match halves {
        None => Both::F32(stored.map(cube::tensor)),
        Some(native) => Both::F16(stored.map(cube::tensor), native),
    };
    *lengths = Some(counted);
    cache.lengths.iter_mut().for_each(|n| *n += times as u32);
    out
}

/// The new position by burn's own operations, for every device.
fn stock(
    shape: AttentionShape,
    [q, k, v]: [Tensor<2>; 3],
    [keys, values]: [&mut Tensor<2>; 2],
    capacity: usize,
    lengths: &[u32],
    rope: &Rope,
) -> Tensor<2> {
    let rows = lengths.len();
    let ints = |values: Vec<i32>| Tensor::<1, Int>::from_ints(values.as_slice(), &keys.device());
    let lengths = lengths.iter().map(|&n| n as i32);
    let position = ints(lengths.clone().collect()); // [B]
    let heads_of = |(row, n): (usize, i32)| {
        let first = row * shape.kv_heads;
        (first..first + shape.kv_heads).map(move |head| (head * capacity) as i32 + n)
    };
    let slot = ints(lengths.enumerate().flat_map(heads_of).collect()); // [B·Hkv]
    let turn = |x: Tensor<2>, heads: usize| {
        let x = x.reshape([rows, heads, shape.head_dim]);
        let at =
            |table: &Tensor<2>| table.clone().select(0, position.clone()).unsqueeze_dim::<3>(1);
        Rope::rotate(x, at(&rope.cos), at(&rope.sin))
    };
    let append = |past: &mut Tensor<2>, x: Tensor<2>| {
        // Take the past out and leave `x` in its place: with one owner it is written in place.
        let taken = std::mem::replace(past, x.clone());
        *past = taken.select_assign(0, slot.clone(), x, IndexingUpdateOp::Assign);
    };
    let heads = [rows * shape.kv_heads, shape.head_dim];
    append(keys, turn(k, shape.kv_heads).reshape(heads));
    append(values, v.reshape(heads));

    let matrices = [rows, shape.kv_heads, capacity, shape.head_dim];
    let q = turn(q, shape.heads);
    let q = q.reshape([rows, shape.kv_heads, shape.group(), shape.head_dim]);
    let scores = matmul_nt(q, keys.clone().reshape(matrices)) * shape.scale();
    let columns = Tensor::<1, Int>::arange(0..capacity as i64, &keys.device()).unsqueeze::<2>();
    let mut unseen = columns.clone().greater(position.clone().unsqueeze_dim(1)); // [B, capacity]
    if rope.window < capacity {
        let past = position.sub_scalar(rope.window as i32).unsqueeze_dim(1);
        unseen = unseen.bool_or(columns.lower_equal(past));
    }
    let unseen = unseen.reshape([rows, 1, 1, capacity]);
    let weights = activation::softmax(scores.mask_fill(unseen, MASKED), 3);
    let mixed = matmul_nt(weights, values.clone().reshape(matrices).swap_dims(2, 3));
    mixed.reshape([rows, shape.heads * shape.head_dim])
}

/// Each row's new position on the CPU: appended to keys and values, and what it attends to, [B, Hq·dh].
fn attend_rows<T: Held>(
    [keys, values]: &mut [Vec<T>; 2],
    [q, k, v]: [&[f32]; 3],
    shape: AttentionShape,
    lengths: &[u32],
    rope: &Rope,
) -> Vec<f32> {
    let AttentionShape { heads, kv_heads, head_dim } = shape;
    let mut out = vec![0.0; q.len()];
    let (q_dim, kv_dim) = (heads * head_dim, kv_heads * head_dim);
    let stride = kv_heads * head_dim.next_multiple_of(LANES);
    let row = keys.len() / lengths.len();
    let pasts = keys.par_chunks_exact_mut(row).zip(values.par_chunks_exact_mut(row));
    let news = q.par_chunks_exact(q_dim).zip(k.par_chunks_exact(kv_dim));
    let news = news.zip(v.par_chunks_exact(kv_dim));
    let outs = out.par_chunks_exact_mut(q_dim).zip(lengths);
    outs.zip(pasts.zip(news)).with_min_len(8).for_each(
        |((out, &length), ((keys, values), ((q, k), v)))| {
            let position = length as usize;
            let end = position + 1;
            store_key(&rope.table, position, k, &mut keys[position * stride..end * stride]);
            store_value(head_dim, v, &mut values[position * stride..end * stride]);
            let seen = end.saturating_sub(rope.window) * stride..end * stride;
            let (keys, values) = (&keys[seen.clone()], &values[seen]);
            wide(AttendRow { shape, rope: &rope.table, position, q, keys, values, out });
        },
    );
    out
}

/// One row on the CPU: q [Hq·dh] unrotated, the keys and values that it sees, its own among them,
/// [seen, Hkv·dh'], → out [Hq·dh].
struct AttendRow<'a, T> {
    shape: AttentionShape,
    rope: &'a Table,
    position: usize,
    q: &'a [f32],
    keys: &'a [T],
    values: &'a [T],
    out: &'a mut [f32],
}

impl<T: Held> WithSimd for AttendRow<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { shape, rope, position, q, keys, values, out } = self;
        let AttentionShape { kv_heads, head_dim, .. } = shape;
        let width = head_dim.next_multiple_of(LANES);
        let stride = kv_heads * width;
        let (mut wide_keys, mut wide_values) = (Vec::new(), Vec::new());
        let (keys, values) =
            (T::widened(keys, &mut wide_keys), T::widened(values, &mut wide_values));
        let seen = keys.len() / stride;
        let mut weights = vec![0.0; seen.next_multiple_of(LANES)];
        let (mut query, mut mixed) = (vec![0.0; width], vec![0.0; width]);
        let heads = q.chunks_exact(head_dim).zip(out.chunks_exact_mut(head_dim));
        for (head, (q, out)) in heads.enumerate() {
            let first = (head / shape.group()) * width;
            rope.rotate(position, shape.scale(), q, &mut query[..head_dim]);
            for (weight, key) in weights.iter_mut().zip(keys.chunks_exact(stride)) {
                *weight = dot(simd, &query, &key[first..][..width]);
            }
            softmax(simd, &mut weights, 0..seen);
            weighted_rows(simd, &weights[..seen], values, stride, first, &mut mixed);
            out.copy_from_slice(&mixed[..head_dim]);
        }
    }
}
