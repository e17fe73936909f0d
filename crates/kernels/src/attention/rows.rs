//! A cache's rows on the CPU.

use super::Table;
use crate::matmul::few::{InF16, Number};
use crate::vector::LANES;
use burn::tensor::f16;
use srft_formats::packing::Packing;
use std::sync::Arc;

/// Keys and values of one row's past, positions of [Hkv·dh'] numbers, heads padded with zeros to whole `LANES`.
#[derive(Debug, Clone)]
pub struct Row<T> {
    /// Of its prompt, which other rows may have too.
    pub prompt: Arc<[Vec<T>; 2]>,
    /// Of the positions after it.
    pub own: [Vec<T>; 2],
}

/// The numbers of a position.
pub fn stride(kv_heads: usize, head_dim: usize) -> usize {
    kv_heads * head_dim.next_multiple_of(LANES)
}

impl<T: Held> Row<T> {
    /// A row for each branch of a packed pass whose k, unturned, and v are given, with room for `room` positions.
    pub fn of(
        [k, v]: [&[f32]; 2],
        [kv_heads, head_dim]: [usize; 2],
        packing: &Packing,
        room: usize,
        rope: &Table,
    ) -> Vec<Self> {
        let (width, stride) = (kv_heads * head_dim, stride(kv_heads, head_dim));
        let empty = |positions| [0, 1].map(|_| Vec::with_capacity(positions * stride));
        let mut rows = Vec::new();
        for (mut at, tree) in packing.placed() {
            let mut take = |past: &mut [Vec<T>; 2], first: usize, count: usize| {
                for position in first..first + count {
                    let [k, v] = [k, v].map(|x| &x[at * width..][..width]);
                    append(past, position, [k, v], stride, rope);
                    at += 1;
                }
            };
            let mut prompt = empty(tree.prompt);
            take(&mut prompt, 0, tree.prompt);
            let prompt = Arc::new(prompt);
            rows.extend(tree.branches.iter().map(|&count| {
                let mut own = empty(room);
                take(&mut own, tree.prompt, count);
                Self { prompt: prompt.clone(), own }
            }));
        }
        rows
    }
}

/// Rows that forget their own positions but for so many each, and have room for others.
pub fn back_to<T>(mut rows: Vec<Row<T>>, own: &[usize], room: usize, stride: usize) -> Vec<Row<T>> {
    for (row, &positions) in rows.iter_mut().zip(own) {
        for x in &mut row.own {
            x.truncate(positions * stride);
            x.reserve_exact(room * stride - x.len());
        }
    }
    rows
}

/// Adds k and v [Hkv·dh] of a position, k being turned to it.
pub fn append<T: Held>(
    [keys, values]: &mut [Vec<T>; 2],
    position: usize,
    [k, v]: [&[f32]; 2],
    stride: usize,
    rope: &Table,
) {
    let head_dim = 2 * rope.half;
    let width = head_dim.next_multiple_of(LANES);
    let from = keys.len();
    keys.resize(from + stride, T::default());
    values.resize(from + stride, T::default());
    let mut turned = vec![0.0; head_dim];
    let heads = k.chunks_exact(head_dim).zip(v.chunks_exact(head_dim));
    let stored = keys[from..].chunks_exact_mut(width).zip(values[from..].chunks_exact_mut(width));
    for ((k, v), (key, value)) in heads.zip(stored) {
        rope.rotate(position, 1.0, k, &mut turned);
        key.iter_mut().zip(&turned).for_each(|(held, &x)| *held = T::of(x));
        value.iter_mut().zip(v).for_each(|(held, &x)| *held = T::of(x));
    }
}

/// A number of the host's store.
pub trait Held: Copy + Default + Send + Sync {
    /// The number nearest to it.
    fn of(value: f32) -> Self;

    /// Numbers in f32, in `scratch` if they have to be widened.
    fn widened<'a>(held: &'a [Self], scratch: &'a mut Vec<f32>) -> &'a [f32];
}

impl Held for f32 {
    fn of(value: f32) -> Self {
        value
    }

    fn widened<'a>(held: &'a [Self], _: &'a mut Vec<f32>) -> &'a [f32] {
        held
    }
}

impl Held for u16 {
    fn of(value: f32) -> Self {
        f16::from_f32(value.clamp(f16::MIN.to_f32(), f16::MAX.to_f32())).to_bits()
    }

    #[inline(always)]
    fn widened<'a>(held: &'a [Self], scratch: &'a mut Vec<f32>) -> &'a [f32] {
        scratch.clear();
        scratch.extend(held.iter().map(|&bits| InF16::widened(bits)));
        scratch
    }
}
