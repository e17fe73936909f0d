//! Causal grouped-query attention with rotary positions (Su et al., 2021), as in Llama:
//! softmax(rope(q)·rope(k)ᵀ / √dh)·v, position i seeing the positions 0..=i, or the last `window` of them.
//!
//! A batch is packed: sequences lie one after another, and those of a group share the rows of their prompt
//! ([`Packing`]).

mod cache;
mod decode;
mod fused;
mod gpu;
mod places;
mod pool;
pub mod reference;
mod rope;
mod rows;
mod tiled;
mod tiles;

pub use cache::{KvCache, fits_in_halves};
pub use decode::{decode_attention, decode_parts, decode_stock, takes_parts};
pub use gpu::HeadNorms;
pub use places::Places;
pub use rope::Rope;
pub use srft_formats::packing::{Packing, Segment, Tree};

use super::fused as fused_op;
use super::matmul::matmul_nt;
use burn::tensor::{Bool, Tensor, activation};
use rope::Table;

/// Stands for −∞ in masked scores: finite, so that no arithmetic makes a NaN of it.
const MASKED: f32 = -1e30;

/// The sizes of an attention layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionShape {
    /// Hq, query heads; a multiple of `kv_heads`.
    pub heads: usize,
    /// Hkv, key and value heads.
    pub kv_heads: usize,
    /// dh, the width of a head; even.
    pub head_dim: usize,
}

/// q [N, Hq·dh], k and v [N, Hkv·dh] of a packed batch's rows → [N, Hq·dh]; q and k come unrotated.
///
/// # Panics
/// If the tensors' shapes are not those of `shape` and `places`, or `rope` has fewer positions.
pub fn attention(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    shape: AttentionShape,
    places: &Places,
    rope: &Rope,
) -> Tensor<2> {
    shape.check(places.packing.rows(), &q, &k, &v);
    let (held, needed) = (rope.positions(), places.packing.positions());
    assert!(held >= needed, "rope holds {held} positions of {needed}");
    assert_eq!(2 * rope.table.half, shape.head_dim, "rope turns heads of another width");
    let device = q.device();
    if fused_op::runs_on(&device) {
        let packing = places.packing.clone();
        let op = fused::Attention { shape, packing, rope: rope.table.clone(), window: rope.window };
        return fused_op::run(op, [q, k, v]);
    }
    match tiled::takes(&device, shape.head_dim) {
        true => tiled::attention([q, k, v], shape, &places.tiles, rope),
        false => stock(q, k, v, shape, places, rope),
    }
}

/// [`attention`] composed of burn's own operations, segment by segment, for every device.
pub fn stock(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    shape: AttentionShape,
    places: &Places,
    rope: &Rope,
) -> Tensor<2> {
    let AttentionShape { heads, kv_heads, head_dim } = shape;
    let rows = places.packing.rows();
    let at = |table: &Tensor<2>| table.clone().select(0, places.positions()).unsqueeze_dim::<3>(1);
    let (cos, sin) = (at(&rope.cos), at(&rope.sin));
    let turned = |x: Tensor<2>, heads: usize| {
        let x = x.reshape([rows, heads, head_dim]);
        Rope::rotate(x, cos.clone(), sin.clone()).swap_dims(0, 1) // [H, N, dh]
    };
    let (q, k) = (turned(q, heads), turned(k, kv_heads));
    let v = v.reshape([rows, kv_heads, head_dim]).swap_dims(0, 1);
    let segments = places.packing.segments().map(|segment| {
        let Segment { rows, past, .. } = &segment;
        let seen = |x: &Tensor<3>| {
            let of = |rows: &std::ops::Range<usize>| x.clone().narrow(1, rows.start, rows.len());
            match past.is_empty() {
                true => of(rows),
                false => Tensor::cat(vec![of(past), of(rows)], 1),
            }
        };
        let (t, s) = (rows.len(), past.len() + rows.len());
        let q = q.clone().narrow(1, rows.start, t).reshape([kv_heads, shape.group() * t, head_dim]);
        let scores = matmul_nt(q, seen(&k)) * shape.scale(); // [Hkv, group·t, s]
        let scores = scores.reshape([heads, t, s]);
        let before = past.len() as i64;
        let future = Tensor::<2, Bool>::tril_mask([t, s], before, &scores.device());
        let mut scores = scores.mask_fill(future.unsqueeze(), MASKED);
        if rope.window < s {
            let first = before + 1 - rope.window as i64;
            let gone = Tensor::<2, Bool>::triu_mask([t, s], first, &scores.device());
            scores = scores.mask_fill(gone.unsqueeze(), MASKED);
        }
        let weights = activation::softmax(scores, 2).reshape([kv_heads, shape.group() * t, s]);
        matmul_nt(weights, seen(&v).swap_dims(1, 2)).reshape([heads, t, head_dim])
    });
    let mixed = Tensor::cat(segments.collect(), 1); // [Hq, N, dh]
    mixed.swap_dims(0, 1).reshape([rows, heads * head_dim])
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

    fn check(&self, rows: usize, q: &Tensor<2>, k: &Tensor<2>, v: &Tensor<2>) {
        let kv = [rows, self.kv_heads * self.head_dim];
        assert_eq!(q.dims(), [rows, self.heads * self.head_dim], "q against {self:?}");
        assert_eq!((k.dims(), v.dims()), (kv, kv), "k and v against {self:?}");
        assert_eq!(self.heads % self.kv_heads, 0, "query heads a multiple of {self:?}'s kv heads");
    }
}
