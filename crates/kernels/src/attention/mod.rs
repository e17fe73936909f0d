//! Causal grouped-query attention with rotary positions (Su et al., 2021), as in Llama:
//! softmax(rope(q)·rope(k)ᵀ / √dh)·v, position i seeing the positions 0..=i, or the last `window` of them.
//!
//! Padding on the right of a sequence needs no mask: no earlier position sees it.

mod cache;
mod decode;
mod fused;
mod gpu;
pub mod reference;
mod rope;

pub use cache::KvCache;
pub use decode::{decode_attention, decode_parts, decode_stock, takes_parts};
pub use gpu::HeadNorms;
pub use rope::Rope;

use super::fused as fused_op;
use super::matmul::matmul_nt;
use burn::tensor::{Bool, Tensor, activation};
use rope::Table;

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
        let op = fused::Attention { shape, rope: rope.table.clone(), window: rope.window };
        fused_op::run(op, [q, k, v])
    } else {
        stock(q, k, v, shape, rope)
    }
}

/// [`attention`] composed of burn's own operations, for every device.
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
    let future = Tensor::<2, Bool>::tril_mask([t, t], 0, &scores.device());
    let mut scores = scores.reshape([b, heads, t, t]).mask_fill(future.unsqueeze(), MASKED);
    if rope.window < t {
        let past = Tensor::<2, Bool>::triu_mask([t, t], 1 - rope.window as i64, &scores.device());
        scores = scores.mask_fill(past.unsqueeze(), MASKED);
    }
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
