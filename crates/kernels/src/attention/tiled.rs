//! Attention over a packed batch on a GPU, forward and backward, without its scores: the launchers of
//! `shaders/attention_turn.wgsl`, `shaders/attention_forward.wgsl`, `shaders/attention_dq.wgsl` and
//! `shaders/attention_dkv.wgsl`. What is kept for the gradient grows with the rows, not with their square.

use burn::backend::wgpu::CubeTensor;
use burn::tensor::{DType, Device, Tensor};

use super::tiles::{Table, Tiles};
use super::{AttentionShape, Rope};
use crate::adapter;
use crate::cube::{self, Shader, WORKGROUP};
use crate::gradient::on_gpu;

/// The widest head whose sums fit in registers.
const WIDEST: usize = 256;
/// Windows above this are none. A sum of two of them is still a 32-bit number.
const FAR: usize = 1 << 30;

/// Whether [`attention`] takes heads of this width, whole vectors and few enough, on this device.
pub fn takes(device: &Device, head_dim: usize) -> bool {
    cube::runs_on(device) && head_dim.is_multiple_of(4) && head_dim <= WIDEST
}

/// q [N, Hq·dh], k and v [N, Hkv·dh], unturned, of the rows that `tiles` was made for → [N, Hq·dh]. The sizes have been
/// checked; [`takes`] holds.
pub(super) fn attention(
    qkv: [Tensor<2>; 3],
    shape: AttentionShape,
    tiles: &Tiles,
    rope: &Rope,
) -> Tensor<2> {
    let op = Op {
        shape,
        window: rope.window.min(FAR),
        tables: cube::buffer(tiles.words.clone()),
        tiles: tiles.clone(),
        turns: cube::buffer(rope.turns.clone()),
        positions: rope.positions(),
    };
    let forward = |qkv| {
        let kept = op.forward(qkv);
        (kept.out.clone(), (op, kept))
    };
    on_gpu(qkv, forward, |(op, kept), d_out, _| op.backward(kept, d_out).map(Some))
}

#[derive(Debug, Clone)]
struct Op {
    shape: AttentionShape,
    window: usize,
    tiles: Tiles,
    tables: CubeTensor,
    turns: CubeTensor,
    /// In `turns`.
    positions: usize,
}

/// What the gradient needs.
#[derive(Debug, Clone)]
struct Kept {
    /// Turned, q scaled too.
    q: CubeTensor,
    k: CubeTensor,
    v: CubeTensor,
    out: CubeTensor,
    /// Of each row and head ln Σ e^score, and room for Σ dO·O.
    stats: CubeTensor,
}

impl Op {
    fn forward(&self, [q, k, v]: [CubeTensor; 3]) -> Kept {
        let AttentionShape { heads, head_dim, .. } = self.shape;
        let [q, k] = [q, k].map(cube::owned);
        self.turn([&q, &k], 1.0);
        let rows = self.tiles.rows;
        let out = cube::empty(&q, [rows, heads * head_dim], DType::F32);
        let stats = cube::empty(&q, [rows, 2 * heads], DType::F32);
        let shader = self.over_queries("attention_forward", srft_shaders::ATTENTION_FORWARD);
        let buffers = [&q, &k, &v, &self.tables, &out, &stats];
        self.launch(shader, &self.tiles.queries, heads, 2, &buffers);
        Kept { q, k, v, out, stats }
    }

    /// ∂L/∂ q, k and v.
    fn backward(&self, kept: Kept, d_out: CubeTensor) -> [CubeTensor; 3] {
        let Kept { q, k, v, out, stats } = kept;
        let AttentionShape { heads, kv_heads, head_dim } = self.shape;
        let stats = cube::owned(stats);
        let like = |x: &CubeTensor| cube::empty(x, x.meta.shape().clone(), DType::F32);
        let (d_q, d_k, d_v) = (like(&q), like(&k), like(&v));
        let shader = self.over_queries("attention_dq", srft_shaders::ATTENTION_DQ);
        let buffers = [&q, &k, &v, &self.tables, &out, &d_out, &stats, &d_q];
        self.launch(shader, &self.tiles.queries, heads, 3, &buffers);
        let shader = Shader::new("attention_dkv", srft_shaders::ATTENTION_DKV);
        let shader = shader.with("windowed", self.window < self.tiles.positions);
        let workgroup = (head_dim.next_power_of_two() as u32).clamp(64, 256);
        let shader = Shader { workgroup, ..shader };
        let buffers = [&q, &k, &v, &self.tables, &d_out, &stats, &d_k, &d_v];
        self.launch(shader, &self.tiles.keys, kv_heads, 4 * self.shape.group(), &buffers);
        self.turn([&d_q, &d_k], -1.0);
        [d_q, d_k, d_v]
    }

    /// A shader whose workgroups take a tile of queries.
    fn over_queries(&self, name: &'static str, source: &'static str) -> Shader {
        let workgroup = if self.shape.head_dim <= 128 { 64 } else { 128 };
        Shader { workgroup, ..Shader::new(name, source) }
    }

    /// Turns q and k to their positions, or back, in place.
    fn turn(&self, [q, k]: [&CubeTensor; 2], way: f32) {
        let AttentionShape { heads, kv_heads, head_dim } = self.shape;
        let shader =
            Shader::new("attention_turn", srft_shaders::ATTENTION_TURN).with("head_dim", head_dim);
        let scale = self.shape.scale();
        let sizes = [self.tiles.rows, heads, kv_heads, self.positions];
        let info = [sizes.map(|n| n as u32).to_vec(), vec![scale.to_bits(), way.to_bits()]];
        let all = self.tiles.rows * (heads + kv_heads) * head_dim / 4;
        let groups = all.div_ceil(WORKGROUP as usize);
        cube::launch(shader, groups, &[q, k, &self.turns, &self.tables], &info.concat());
    }

    /// Runs a shader over `heads` of each tile, where a pair of rows takes so many `products`. Not all at once where that
    /// would be too long a submission.
    fn launch(
        &self,
        shader: Shader,
        table: &Table,
        heads: usize,
        products: usize,
        buffers: &[&CubeTensor],
    ) {
        let head_dim = self.shape.head_dim;
        let shader = shader.with("head_dim", head_dim);
        let kind = adapter::kind(buffers[0]);
        let flop = |pairs: usize| (2 * products * pairs * head_dim * heads) as u64;
        let mut first = 0;
        while first < table.pairs.len() {
            let mut sum = flop(table.pairs[first]);
            let more = table.pairs[first + 1..].iter().take_while(|&&pairs| {
                sum += flop(pairs);
                sum <= kind.most_flop()
            });
            let count = 1 + more.count();
            let pairs = table.pairs[first..first + count].iter().sum();
            adapter::make_room(buffers[0], kind, flop(pairs));
            let groups = count * heads;
            let sizes = [self.shape.heads, self.shape.kv_heads, self.window, table.start];
            let info = [&sizes[..], &[first * heads, groups]].concat();
            let info: Vec<u32> = info.into_iter().map(|n| n as u32).collect();
            cube::launch(shader.clone(), groups, buffers, &info);
            first += count;
        }
    }
}
