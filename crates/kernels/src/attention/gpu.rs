//! The launcher of `shaders/attention_decode.wgsl`.

use burn::backend::wgpu::{CubeBackend, CubeTensor};
use burn::tensor::{DType, Int, Tensor};

use super::{AttentionShape, Rope};
use crate::cube::{self, Shader};

/// Invocations of a workgroup, and positions a turn: with twice as many, barriers cost software adapters more
/// than they save.
const LANES: usize = 128;
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
    /// None if a head is too wide for the shader. It depends on the widths alone, so a row's bits do too.
    pub fn of(shape: AttentionShape) -> Option<Self> {
        let (group, head_dim) = (shape.group(), shape.head_dim);
        let width = if head_dim.is_multiple_of(4) { 4 } else { 2 };
        let words = |heads: usize| {
            let staged = (heads + 1) * head_dim;
            staged + staged.max(heads * LANES) + LANES * width + 2 * heads + 1
        };
        let fits = |&heads: &usize| group.is_multiple_of(heads) && words(heads) <= MEMORY;
        let heads = (1..=MOST_HEADS).rev().find(fits)?;
        (head_dim / width <= LANES).then_some(Self { width, heads, pieces: group / heads })
    }
}

/// One new position a row: q [B, Hq·dh], k and v [B, Hkv·dh], unturned → [B, Hq·dh]. Gives `keys` and `values`
/// of the cache back with the new position, and `lengths`, the past of each workgroup, with 1 more.
pub fn decode(
    (shape, split): (AttentionShape, Split),
    rope: &Rope,
    capacity: usize,
    qkv: [Tensor<2>; 3],
    past: [Tensor<2>; 2],
    lengths: Tensor<1, Int>,
) -> (Tensor<2>, [Tensor<2>; 2], Tensor<1, Int>) {
    let Split { width, heads, pieces } = split;
    let shader = Shader::new("attention_decode", srft_shaders::ATTENTION_DECODE)
        .with("width", width)
        .with("head_dim", shape.head_dim)
        .with("heads", heads)
        .with("pieces", pieces);
    let shader = Shader { workgroup: LANES as u32, ..shader };
    let groups = shape.batch * shape.kv_heads * pieces;
    let words = [groups, capacity, rope.positions(), rope.window.min(u32::MAX as usize)];
    let mut info = words.map(|n| n as u32).to_vec();
    info.push(shape.scale().to_bits());

    let [q, k, v] = qkv.map(|x| cube::dense(on_gpu(x)));
    let [keys, values] = past.map(|x| cube::owned(on_gpu(x)));
    let lengths = cube::owned(lengths.try_into_primitive::<CubeBackend>().expect(HERE));
    let turns = on_gpu(rope.turns.clone());
    let out = cube::empty(&q, q.meta.shape().clone(), DType::F32);
    let buffers = [&q, &k, &v, &turns, &keys, &values, &lengths, &out];
    cube::launch(shader, groups, &buffers, &info);
    let past = [keys, values].map(Tensor::from_primitive::<CubeBackend>);
    let lengths = Tensor::from_primitive::<CubeBackend>(lengths);
    (Tensor::from_primitive::<CubeBackend>(out), past, lengths)
}

const HERE: &str = "a tensor of the GPU";

fn on_gpu<const D: usize>(x: Tensor<D>) -> CubeTensor {
    x.try_into_primitive::<CubeBackend>().expect(HERE)
}
