//! The launcher of `shaders/attention_decode.wgsl`.

use burn::backend::wgpu::CubeTensor;
use burn::tensor::{DType, Int, Tensor};

use super::{AttentionShape, Rope};
use crate::cube::{self, OnGpu, Shader, WORKGROUP};
use crate::step::Parts;
use std::borrow::Cow;

/// Invocations of a workgroup, and positions a turn: with twice as many, barriers cost software adapters more
/// than they save.
const LANES: usize = 128;
/// Positions of the past that a workgroup takes, where the cache has room for more: so a GPU is busy with few rows,
/// too. Not below [`LANES`].
const BLOCK: usize = 512;
/// Most query heads of a workgroup, whose sums are in registers; sixteen invocations look for the maximum of each.
const MOST_HEADS: usize = 8;
/// Words of workgroup memory that WebGPU promises.
const MEMORY: usize = 4096;

/// How the heads are shared out among workgroups.
#[derive(Debug, Clone, Copy)]
pub struct Split {
    /// Numbers that are read at a time.
    width: usize,
    /// Query heads of a workgroup.
    heads: usize,
    /// Workgroups that share a key head.
    pub pieces: usize,
}

impl Split {
    /// None if a head is too wide for the shader; `low` words are kept for adapters. It depends on the widths alone, so
    /// a row's bits do too.
    pub fn of(shape: AttentionShape, low: usize) -> Option<Self> {
        let (group, head_dim) = (shape.group(), shape.head_dim);
        let width = if head_dim.is_multiple_of(4) { 4 } else { 2 };
        let words = |heads: usize| {
            let staged = (heads + 1) * head_dim;
            staged + staged.max(heads * LANES) + LANES * width + 2 * heads + 2 + low
        };
        let fits = |&heads: &usize| group.is_multiple_of(heads) && words(heads) <= MEMORY;
        let heads = (1..=MOST_HEADS).rev().find(fits)?;
        (head_dim / width <= LANES).then_some(Self { width, heads, pieces: group / heads })
    }
}

/// What the heads of q and k go through before they are turned.
#[derive(Debug, Clone)]
pub struct HeadNorms {
    /// Of q's heads and of k's, [2, dh], as they multiply.
    pub weights: Tensor<2>,
    /// ε.
    pub epsilon: f32,
}

/// What one new position a row attends over.
pub struct Past<'a> {
    /// Of the cache.
    pub rows: usize,
    /// Of its heads.
    pub shape: AttentionShape,
    /// Of its heads among workgroups.
    pub split: Split,
    /// The most that a row of it may come to.
    pub positions: usize,
    /// What positions mean.
    pub rope: &'a Rope,
    /// What the heads go through.
    pub norms: Option<&'a HeadNorms>,
    /// Multiplies q beside 1/√dh.
    pub factor: f32,
    /// Whether keys and values are in F16.
    pub halves: bool,
}

/// New positions, the rows of a product of q, k and v, unturned; the cache's rows take as many at a time as they are,
/// one after the other → [M, Hq·dh]. Gives keys and values of the cache back with the new positions, and
/// `table` (`Pool::words`) with as many more in each length.
pub fn decode(
    parts: &Parts<'_>,
    past: &Past<'_>,
    stored: [CubeTensor; 2],
    table: Tensor<1, Int>,
) -> (Tensor<2>, [CubeTensor; 2], Tensor<1, Int>) {
    let Past { shape, split: Split { width, heads, pieces }, rope, .. } = *past;
    let groups = past.rows * shape.kv_heads * pieces;
    let [keys, values] = stored.map(cube::owned);
    let table = cube::owned(cube::buffer(table));
    let turns = cube::buffer(rope.turns.clone());
    let [product, added] = parts.buffers();
    let norms = past.norms.map(|norms| cube::buffer(norms.weights.clone()));
    // Without norms nothing is read from their buffer.
    let norms = norms.map_or_else(|| cube::unread(&turns), Cow::Owned);
    let of_heads = |name, source| {
        let shader = Shader::new(name, source)
            .with("width", width)
            .with("head_dim", shape.head_dim)
            .with("heads", heads)
            .with("key_heads", shape.kv_heads)
            .with("pieces", pieces)
            .with("block", BLOCK);
        Shader { workgroup: LANES as u32, ..shader }
    };
    let out = cube::empty(&product, [parts.rows(), shape.heads * shape.head_dim], DType::F32);
    let blocks = past.positions.div_ceil(BLOCK);
    let of_blocks = [past.rows * shape.heads * blocks, shape.head_dim + width];
    let of_blocks = (blocks > 1).then(|| cube::empty(&product, of_blocks, DType::F32));
    let to = of_blocks.as_ref().unwrap_or(&out);
    let buffers = [&*product, &added, &norms, &turns, &keys, &values, &table, to];
    let window = rope.window.min(u32::MAX as usize);
    let scale = shape.scale() * past.factor;
    let epsilon = past.norms.map_or(0.0, |norms| norms.epsilon);
    for first in (0..parts.rows()).step_by(past.rows) {
        let shader = of_heads("attention_decode", srft_shaders::ATTENTION_DECODE)
            .with("normed", past.norms.is_some())
            .with("split", blocks > 1)
            .with("halves", past.halves);
        let sizes = [first, groups, blocks, rope.positions(), window];
        let info: Vec<u32> = parts.info().into_iter().chain(sizes.map(|n| n as u32)).collect();
        let info = [info, vec![scale.to_bits(), epsilon.to_bits()]].concat();
        cube::launch(parts.taken_by(shader), groups * blocks, &buffers, &info);
        if let Some(of_blocks) = &of_blocks {
            let shader = of_heads("attention_join", srft_shaders::ATTENTION_JOIN);
            let info = [first, groups, blocks, window].map(|n| n as u32);
            cube::launch(shader, groups, &[of_blocks, &table, &out], &info);
        }
    }
    (cube::tensor(out), [keys, values], cube::tensor(table))
}

/// x [M, K] in F16, two numbers a word [M, K/2]; numbers beyond F16's are its largest.
pub fn in_halves(x: Tensor<2>) -> Tensor<2, Int> {
    let x = cube::buffer(x);
    let (rows, words) = (x.meta.shape()[0], x.meta.shape()[1] / 2);
    let out = cube::empty(&x, [rows, words], DType::I32);
    let shader = Shader::new("pack_halves", srft_shaders::PACK_HALVES);
    let groups = (rows * words).div_ceil(WORKGROUP as usize);
    cube::launch(shader, groups, &[&x, &out], &[(rows * words) as u32]);
    cube::tensor(out)
}

/// A tensor's buffer, with which it is gone: something else stays in its place.
pub fn taken<K: OnGpu>(x: &mut Tensor<2, K>) -> CubeTensor {
    let nothing = Tensor::empty([1, 1], &x.device());
    cube::buffer(std::mem::replace(x, nothing))
}
