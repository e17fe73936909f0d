//! Attention of one new position per row over the keys and values of the row's past.

use super::cache::{KvCache, Store, host};
use super::gpu::{self, HeadNorms, Past, Split};
use super::pool::{Both, Pool};
use super::rows::{self, Held, Row};
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
            let lengths = [&cache.lengths[..], &cache.shared];
            let out = match past {
                Both::F32(past) => attend_rows(past, new, shape, lengths, rope),
                Both::F16(past, _) => attend_rows(past, new, shape, lengths, rope),
            };
            let width = out.len() / rows;
            Tensor::from_data(TensorData::new(out, [rows, width]), &device)
        }
        Store::Device(pool) => {
            let qkv = [q, k, v].map(Tensor::without_autodiff);
            if runs_on(&device) && by_shader && takes_parts(shape, 1) {
                let whole = Tensor::cat(qkv.to_vec(), 1);
                let added = Added::nothing(whole.dims()[1]);
                return decode_parts(&Parts::whole(whole, &added), cache, rope, None, 1.0);
            }
            pool.table = None;
            stock(shape, qkv, pool, [&cache.lengths, &cache.shared], cache.room, rope)
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
    let positions = cache.positions();
    let Store::Device(pool) = &mut cache.store else {
        panic!("a cache of the GPU");
    };
    let split = Split::of(shape, parts.low_words()).expect("heads that the shader takes");
    let table = pool.table.take().unwrap_or_else(|| {
        let each = shape.kv_heads * split.pieces;
        let words = pool.words([&cache.lengths, &cache.shared], each);
        Tensor::from_ints(words.as_slice(), &rope.turns.device())
    });
    // Taken out, a tensor has one owner and is written in place.
    let (stored, halves) = match &mut pool.past {
        Both::F32(past) => (past.each_mut().map(gpu::taken), None),
        Both::F16(past, native) => (past.each_mut().map(gpu::taken), Some(*native)),
    };
    let of = Past { rows, shape, split, positions, rope, norms, factor, halves: halves.is_some() };
    let (out, stored, table) = gpu::decode(parts, &of, stored, table);
    pool.past = match halves {
        None => Both::F32(stored.map(cube::tensor)),
        Some(native) => Both::F16(stored.map(cube::tensor), native),
    };
    pool.table = Some(table);
    cache.lengths.iter_mut().for_each(|n| *n += times as u32);
    out
}

/// The new position by burn's own operations, for every device.
fn stock(
    shape: AttentionShape,
    [q, k, v]: [Tensor<2>; 3],
    pool: &mut Pool,
    [lengths, shared]: [&[u32]; 2],
    room: usize,
    rope: &Rope,
) -> Tensor<2> {
    let Both::F32([keys, values]) = &mut pool.past else {
        panic!("burn's operations take a past in f32");
    };
    let rows = lengths.len();
    // The slot of a row's position; of one that it has no room for, some other of its slots.
    let slot = |row: usize, t: usize| {
        let (place, shared) = (pool.places[row], shared[row] as usize);
        let slot = match t.checked_sub(shared) {
            None => place.prompt + t,
            Some(after) => place.own + after.min(room - 1),
        };
        slot as i32
    };
    let most = shared.iter().max().map_or(0, |&shared| shared as usize + room);
    let all = |row: usize| (0..most).map(move |t| (row, t));
    // One upload: each ends a batch of dispatches.
    let words: Vec<i32> = (lengths.iter().map(|&n| n as i32))
        .chain(lengths.iter().enumerate().map(|(row, &n)| slot(row, n as usize)))
        .chain((0..rows).flat_map(all).map(|(row, t)| slot(row, t)))
        .collect();
    let words = Tensor::<1, Int>::from_ints(&*words, &keys.device());
    let position = words.clone().narrow(0, 0, rows); // [B]
    let new = words.clone().narrow(0, rows, rows);
    let seen = words.narrow(0, 2 * rows, rows * most);
    let turn = |x: Tensor<2>, heads: usize| {
        let x = x.reshape([rows, heads, shape.head_dim]);
        let at =
            |table: &Tensor<2>| table.clone().select(0, position.clone()).unsqueeze_dim::<3>(1);
        Rope::rotate(x, at(&rope.cos), at(&rope.sin)).reshape([rows, heads * shape.head_dim])
    };
    let append = |past: &mut Tensor<2>, x: Tensor<2>| {
        // Take the past out and leave `x` in its place: with one owner it is written in place.
        let taken = std::mem::replace(past, x.clone());
        *past = taken.select_assign(0, new.clone(), x, IndexingUpdateOp::Assign);
        let seen = past.clone().select(0, seen.clone());
        seen.reshape([rows, most, shape.kv_heads, shape.head_dim]).swap_dims(1, 2)
    };
    let keys = append(keys, turn(k, shape.kv_heads)); // [B, Hkv, most, dh]
    let values = append(values, v);

    let q = turn(q, shape.heads);
    let q = q.reshape([rows, shape.kv_heads, shape.group(), shape.head_dim]);
    let scores = matmul_nt(q, keys) * shape.scale();
    let columns = Tensor::<1, Int>::arange(0..most as i64, &position.device()).unsqueeze::<2>();
    let mut unseen = columns.clone().greater(position.clone().unsqueeze_dim(1)); // [B, most]
    if rope.window < most {
        let past = position.sub_scalar(rope.window as i32).unsqueeze_dim(1);
        unseen = unseen.bool_or(columns.lower_equal(past));
    }
    let unseen = unseen.reshape([rows, 1, 1, most]);
    let weights = activation::softmax(scores.mask_fill(unseen, MASKED), 3);
    let mixed = matmul_nt(weights, values.swap_dims(2, 3));
    mixed.reshape([rows, shape.heads * shape.head_dim])
}

/// Each row's new position on the CPU: appended to keys and values, and what it attends to, [B, Hq·dh].
fn attend_rows<T: Held>(
    pasts: &mut [Row<T>],
    [q, k, v]: [&[f32]; 3],
    shape: AttentionShape,
    [lengths, shared]: [&[u32]; 2],
    rope: &Rope,
) -> Vec<f32> {
    let AttentionShape { heads, kv_heads, head_dim } = shape;
    let mut out = vec![0.0; q.len()];
    let (q_dim, kv_dim) = (heads * head_dim, kv_heads * head_dim);
    let stride = rows::stride(kv_heads, head_dim);
    let news = q.par_chunks_exact(q_dim).zip(k.par_chunks_exact(kv_dim));
    let news = news.zip(v.par_chunks_exact(kv_dim));
    let outs = out.par_chunks_exact_mut(q_dim).zip(lengths.par_iter().zip(shared));
    // Rows of a prompt lie side by side, so that a thread finds its keys near at hand.
    outs.zip(pasts.par_iter_mut().zip(news)).with_min_len(8).for_each(
        |((out, (&length, &shared)), (past, ((q, k), v)))| {
            let (position, shared) = (length as usize, shared as usize);
            rows::append(&mut past.own, position, [k, v], stride, &rope.table);
            let first = (position + 1).saturating_sub(rope.window);
            let of_prompt = first.min(shared) * stride..shared * stride;
            let own = first.saturating_sub(shared) * stride..;
            let seen = |x: usize| [&past.prompt[x][of_prompt.clone()], &past.own[x][own.clone()]];
            let (keys, values) = (seen(0), seen(1));
            wide(AttendRow { shape, rope: &rope.table, position, q, keys, values, out });
        },
    );
    out
}

/// One row on the CPU: q [Hq·dh] unrotated, the keys and values that it sees, its prompt's and then its own, with
/// the new one's among them, [seen, Hkv·dh'], → out [Hq·dh].
struct AttendRow<'a, T> {
    shape: AttentionShape,
    rope: &'a Table,
    position: usize,
    q: &'a [f32],
    keys: [&'a [T]; 2],
    values: [&'a [T]; 2],
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
        let (mut first_keys, mut first_values) = (Vec::new(), Vec::new());
        let (mut more_keys, mut more_values) = (Vec::new(), Vec::new());
        let keys = [T::widened(keys[0], &mut first_keys), T::widened(keys[1], &mut more_keys)];
        let values =
            [T::widened(values[0], &mut first_values), T::widened(values[1], &mut more_values)];
        let (of_prompt, own) = (keys[0].len() / stride, keys[1].len() / stride);
        let seen = of_prompt + own;
        let mut weights = vec![0.0; seen.next_multiple_of(LANES)];
        let (mut query, mut mixed, mut more) =
            (vec![0.0; width], vec![0.0; width], vec![0.0; width]);
        let heads = q.chunks_exact(head_dim).zip(out.chunks_exact_mut(head_dim));
        for (head, (q, out)) in heads.enumerate() {
            let first = (head / shape.group()) * width;
            rope.rotate(position, shape.scale(), q, &mut query[..head_dim]);
            let (of_first, of_more) = weights.split_at_mut(of_prompt);
            for (weight, key) in of_first.iter_mut().zip(keys[0].chunks_exact(stride)) {
                *weight = dot(simd, &query, &key[first..][..width]);
            }
            for (weight, key) in of_more.iter_mut().zip(keys[1].chunks_exact(stride)) {
                *weight = dot(simd, &query, &key[first..][..width]);
            }
            softmax(simd, &mut weights, 0..seen);
            let (of_first, of_more) = weights[..seen].split_at(of_prompt);
            weighted_rows(simd, of_first, values[0], stride, first, &mut mixed);
            weighted_rows(simd, of_more, values[1], stride, first, &mut more);
            for (out, (&a, &b)) in out.iter_mut().zip(mixed.iter().zip(&more)) {
                *out = a + b;
            }
        }
    }
}
