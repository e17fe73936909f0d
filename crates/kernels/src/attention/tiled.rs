//! Attention over a packed batch on a GPU, forward and backward, without its scores: the launchers of
//! `shaders/attention_turn.wgsl`, `shaders/attention_forward.wgsl`, `shaders/attention_dq.wgsl` and
//! `shaders/attention_dkv.wgsl`. What is kept for the gradient grows with the rows, not with their square.

use burn::backend::wgpu::{CubeBackend, CubeTensor};
use burn::tensor::{DType, Device, Tensor};

use super::Rope;
use super::tiles::{Table, Tiles};
use crate::adapter;
use crate::cube::{self, Shader, WORKGROUP};
use crate::gradient::on_gpu;

/// The widest head whose sums fit in registers.
const WIDEST: usize = 256;
/// Windows above this are none. A sum of two of them is still a 32-bit number.
const FAR: usize = 1 << 30;

/// Whether [`attention`] takes heads of this width on this device.
pub fn takes(device: &Device, head_dim: usize) -> bool {
    cube::runs_on(device) && fits(head_dim)
}

/// Whether heads of this width are whole vectors, and few enough.
pub fn fits(head_dim: usize) -> bool {
    head_dim.is_multiple_of(4) && head_dim <= WIDEST
}

/// q [N, Hq·dh], k and v [N, Hkv·dh], unturned, of the rows that `tiles` was made for → [N, Hq·dh].
///
/// # Panics
/// If the sizes disagree, or if [`takes`] is false.
pub(super) fn attention(qkv: [Tensor<2>; 3], tiles: &Tiles, rope: &Rope) -> Tensor<2> {
    let head_dim = 2 * rope.table.half;
    let [[rows, q_dim], k_dims, v_dims] = qkv.each_ref().map(Tensor::dims);
    assert!(takes(&qkv[0].device(), head_dim), "heads of {head_dim} on {:?}", qkv[0].device());
    assert_eq!((rows, k_dims), (tiles.rows, v_dims), "rows of tables, q, k and v");
    assert!(rope.positions() >= tiles.positions, "rope holds {} positions", rope.positions());
    let (heads, key_heads) = (q_dim / head_dim, k_dims[1] / head_dim);
    assert_eq!([rows, key_heads * head_dim], k_dims, "keys of whole heads");
    assert_eq!(heads / key_heads * k_dims[1], q_dim, "query heads a multiple of {key_heads}");
    let turns = rope.turns.clone().try_into_primitive::<CubeBackend>();
    let op = Op {
        heads,
        key_heads,
        head_dim,
        window: rope.window.min(FAR),
        tables: tiles.on_gpu(),
        tiles: tiles.clone(),
        turns: cube::dense(turns.expect("a tensor of the GPU")),
        positions: rope.positions(),
    };
    let forward = |qkv| {
        let kept = op.forward(qkv);
        (kept.out.clone(), (op, kept))
    };
    on_gpu(qkv, forward, |(op, kept), d_out, _| op.backward(kept, cube::dense(d_out)).map(Some))
}

#[derive(Debug, Clone)]
struct Op {
    heads: usize,
    key_heads: usize,
    head_dim: usize,
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
    fn forward(&self, qkv: [CubeTensor; 3]) -> Kept {
        let [q, k, v] = qkv.map(cube::dense);
        let [q, k] = [q, k].map(cube::owned);
        self.turn([&q, &k], 1.0);
        let rows = self.tiles.rows;
        let out = cube::empty(&q, [rows, self.heads * self.head_dim], DType::F32);
        let stats = cube::empty(&q, [rows, 2 * self.heads], DType::F32);
        let shader = Shader::new("attention_forward", srft_shaders::ATTENTION_FORWARD);
        let shader = Shader { workgroup: if self.head_dim <= 128 { 64 } else { 128 }, ..shader };
        let buffers = [&q, &k, &v, &self.tables, &out, &stats];
        self.launch(shader, &self.tiles.queries, self.heads, 2, &buffers);
        Kept { q, k, v, out, stats }
    }

    /// ∂L/∂ q, k and v.
    fn backward(&self, kept: Kept, d_out: CubeTensor) -> [CubeTensor; 3] {
        let Kept { q, k, v, out, stats } = kept;
        let stats = cube::owned(stats);
        let like = |x: &CubeTensor| cube::empty(x, x.meta.shape().clone(), DType::F32);
        let (d_q, d_k, d_v) = (like(&q), like(&k), like(&v));
        let shader = Shader::new("attention_dq", srft_shaders::ATTENTION_DQ);
        let shader = Shader { workgroup: if self.head_dim <= 128 { 64 } else { 128 }, ..shader };
        let buffers = [&q, &k, &v, &self.tables, &out, &d_out, &stats, &d_q];
        self.launch(shader, &self.tiles.queries, self.heads, 3, &buffers);
        let shader = Shader::new("attention_dkv", srft_shaders::ATTENTION_DKV);
        let shader = shader.with("windowed", self.window < self.tiles.positions);
        let workgroup = (self.head_dim.next_power_of_two() as u32).clamp(64, 256);
        let shader = Shader { workgroup, ..shader };
        let buffers = [&q, &k, &v, &self.tables, &d_out, &stats, &d_k, &d_v];
        self.launch(
            shader,
            &self.tiles.keys,
            self.key_heads,
            4 * self.heads / self.key_heads,
            &buffers,
        );
        self.turn([&d_q, &d_k], -1.0);
        [d_q, d_k, d_v]
    }

    /// Turns q and k to their positions, or back, in place.
    fn turn(&self, [q, k]: [&CubeTensor; 2], way: f32) {
        let shader = Shader::new("attention_turn", srft_shaders::ATTENTION_TURN)
            .with("head_dim", self.head_dim);
        let scale = (1.0 / (self.head_dim as f64).sqrt()) as f32;
        let sizes = [self.tiles.rows, self.heads, self.key_heads, self.positions];
        let info = [sizes.map(|n| n as u32).to_vec(), vec![scale.to_bits(), way.to_bits()]];
        let all = self.tiles.rows * (self.heads + self.key_heads) * self.head_dim / 4;
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
        let shader = shader.with("head_dim", self.head_dim);
        let kind = adapter::kind(buffers[0]);
        let flop = |pairs: usize| (2 * products * pairs * self.head_dim * heads) as u64;
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
            let sizes = [self.heads, self.key_heads, self.window, table.start];
            let info = [&sizes[..], &[first * heads, groups]].concat();
            let info: Vec<u32> = info.into_iter().map(|n| n as u32).collect();
            cube::launch(shader.clone(), groups, buffers, &info);
            first += count;
        }
    }
}
