//! Causal grouped-query attention with rotary positions (Su et al., 2021), as in Llama:
//! softmax(rope(q)·rope(k)ᵀ / √dh)·v, position i seeing the positions 0..=i.
//!
//! Padding on the right of a sequence needs no mask: no earlier position sees it.

mod cache;
mod decode;
mod fused;

pub use cache::KvCache;
pub use decode::decode_attention;

use super::fused as fused_op;
use super::matmul::matmul_nt;
use burn::tensor::{Device, Tensor, activation};
use std::sync::Arc;

/// Stands for −∞ in masked scores: finite, so that no arithmetic makes a NaN of it.
const MASKED: f32 = -1e30;

/// The sizes of an attention call. Rows are sequence-major: row b·T + t is position t of sequence b.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionShape {
    /// B, sequences.
    pub batch: usize,
    /// T, positions of each sequence, padding included.
    pub positions: usize,
    /// Hq, query heads; a multiple of `kv_heads`.
    pub heads: usize,
    /// Hkv, key and value heads.
    pub kv_heads: usize,
    /// dh, the width of a head; even.
    pub head_dim: usize,
}

/// Rotary position tables: cos and sin of position·θ^(−2i/dh), [positions, dh/2].
#[derive(Debug, Clone)]
pub struct Rope {
    /// The host's copy: the CPU kernels read it.
    table: Arc<Table>,
    /// The device's copies, outside autodiff.
    cos: Tensor<2>,
    sin: Tensor<2>,
}

/// cos and sin, [positions, dh/2] each, computed in f64.
#[derive(Debug)]
struct Table {
    cos: Vec<f32>,
    sin: Vec<f32>,
    half: usize,
}

impl Rope {
    /// Tables for the positions `0..positions` of heads of width `head_dim`, θ = `theta`.
    pub fn new(positions: usize, head_dim: usize, theta: f64, device: &Device) -> Self {
        let half = head_dim / 2;
        let angle = |i: usize| {
            let frequency = theta.powf(-((2 * (i % half)) as f64) / head_dim as f64);
            (i / half) as f64 * frequency
        };
        let table = |f: fn(f64) -> f64| -> Vec<f32> {
            (0..positions * half).map(|i| f(angle(i)) as f32).collect()
        };
        let (cos, sin) = (table(f64::cos), table(f64::sin));
        let device = device.clone().without_autodiff();
        let upload =
            |values: &[f32]| Tensor::<1>::from_floats(values, &device).reshape([positions, half]);
        Self { cos: upload(&cos), sin: upload(&sin), table: Arc::new(Table { cos, sin, half }) }
    }

    /// How many positions the tables hold.
    pub fn positions(&self) -> usize {
        self.table.cos.len() / self.table.half
    }

    /// Rotates `x` [.., dh] by its position's `cos` and `sin`, broadcast to [.., dh/2].
    fn rotate<const D: usize>(x: Tensor<D>, cos: Tensor<D>, sin: Tensor<D>) -> Tensor<D> {
        let half = cos.dims()[D - 1];
        let (low, high) = (x.clone().narrow(D - 1, 0, half), x.narrow(D - 1, half, half));
        Tensor::cat(
            vec![low.clone() * cos.clone() - high.clone() * sin.clone(), high * cos + low * sin],
            D - 1,
        )
    }
}

impl Table {
    /// Writes `x` [dh] rotated to `position` and multiplied by `scale` into `out`: element i of the
    /// first half turns with element i of the second (Hugging Face's `rotate_half`).
    #[inline(always)]
    fn rotate(&self, position: usize, scale: f32, x: &[f32], out: &mut [f32]) {
        let (x_low, x_high) = x.split_at(self.half);
        let (out_low, out_high) = out.split_at_mut(self.half);
        let outs = out_low.iter_mut().zip(&mut out_high[..self.half]);
        for ((out, (&low, &high)), (&cos, &sin)) in
            outs.zip(x_low.iter().zip(x_high)).zip(self.at(position))
        {
            *out.0 = (low * cos - high * sin) * scale;
            *out.1 = (high * cos + low * sin) * scale;
        }
    }

    /// The inverse of `rotate`, which is its transpose: what a gradient needs.
    #[inline(always)]
    fn rotate_back(&self, position: usize, scale: f32, x: &[f32], out: &mut [f32]) {
        let (x_low, x_high) = x.split_at(self.half);
        let (out_low, out_high) = out.split_at_mut(self.half);
        let outs = out_low.iter_mut().zip(&mut out_high[..self.half]);
        for ((out, (&low, &high)), (&cos, &sin)) in
            outs.zip(x_low.iter().zip(x_high)).zip(self.at(position))
        {
            *out.0 = (low * cos + high * sin) * scale;
            *out.1 = (high * cos - low * sin) * scale;
        }
    }

    /// The pairs (cos, sin) of a position.
    #[inline(always)]
    fn at(&self, position: usize) -> impl Iterator<Item = (&f32, &f32)> {
        let row = position * self.half..(position + 1) * self.half;
        self.cos[row.clone()].iter().zip(&self.sin[row])
    }
}

/// q [B·T, Hq·dh], k and v [B·T, Hkv·dh] → [B·T, Hq·dh]; q and k come unrotated.
///
/// # Panics
/// If the tensors' shapes are not `shape`'s, or `rope` has fewer positions.
pub fn attention(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    shape: AttentionShape,
    rope: &Rope,
) -> Tensor<2> {
    shape.check(&q, &k, &v);
    assert!(rope.positions() >= shape.positions, "rope holds {} positions", rope.positions());
    if fused_op::runs_on(&q.device()) {
        fused_op::run(fused::Attention { shape, rope: rope.table.clone() }, [q, k, v])
    } else {
        stock(q, k, v, shape, rope)
    }
}

/// The same of burn's own operations, for every device.
pub fn stock(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    shape: AttentionShape,
    rope: &Rope,
) -> Tensor<2> {
    let AttentionShape { batch: b, positions: t, heads, kv_heads, head_dim } = shape;
    let rotated = |x: Tensor<2>, heads: usize| {
        let x = x.reshape([b, t, heads, head_dim]).swap_dims(1, 2); // [B, H, T, dh]
        let row = |table: &Tensor<2>| table.clone().narrow(0, 0, t).unsqueeze::<4>();
        Rope::rotate(x, row(&rope.cos), row(&rope.sin))
    };
    let q = rotated(q, heads).reshape([b, kv_heads, shape.group() * t, head_dim]);
    let k = rotated(k, kv_heads);
    let v = v.reshape([b, t, kv_heads, head_dim]).swap_dims(1, 2);

    let scores = matmul_nt(q, k) * shape.scale(); // [B, Hkv, group·T, T]
    let future = Tensor::<2, burn::tensor::Bool>::tril_mask([t, t], 0, &scores.device());
    let scores = scores.reshape([b, heads, t, t]).mask_fill(future.unsqueeze(), MASKED);
    let weights = activation::softmax(scores, 3).reshape([b, kv_heads, shape.group() * t, t]);
    let mixed = matmul_nt(weights, v.swap_dims(2, 3)).reshape([b, heads, t, head_dim]);
    mixed.swap_dims(1, 2).reshape([b * t, heads * head_dim])
}

impl AttentionShape {
    /// Query heads that share a key head.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// 1/√dh.
    fn scale(&self) -> f32 {
        (1.0 / (self.head_dim as f64).sqrt()) as f32
    }

    fn check(&self, q: &Tensor<2>, k: &Tensor<2>, v: &Tensor<2>) {
        let rows = self.batch * self.positions;
        let kv = [rows, self.kv_heads * self.head_dim];
        assert_eq!(q.dims(), [rows, self.heads * self.head_dim], "q against {self:?}");
        assert_eq!((k.dims(), v.dims()), (kv, kv), "k and v against {self:?}");
        assert_eq!(self.heads % self.kv_heads, 0, "query heads a multiple of {self:?}'s kv heads");
    }
}
