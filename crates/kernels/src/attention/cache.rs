//! The keys and values of the past, one cache a layer.
//!
//! Rows have pasts of different lengths. Each is stored from its own position 0, so a row's numbers
//! don't depend on its neighbours (on the CPU, bit for bit).

use super::{AttentionShape, Rope, Table};
use crate::vector::LANES;
use burn::tensor::{Device, Int, Tensor};

/// The past of one layer: rotated keys and values of every row.
#[derive(Debug, Clone)]
pub struct KvCache {
    pub(super) store: Store,
    /// Positions held, per row.
    pub(super) lengths: Vec<u32>,
    /// Positions that fit in a row.
    pub(super) capacity: usize,
    /// Hkv and dh.
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
}

/// Where keys and values live.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a burn tensor is 640 bytes; a cache lives long")]
pub(super) enum Store {
    /// [rows, capacity, Hkv·dh'] each, on the host, heads padded with zeros to whole `LANES`: the
    /// CPU kernel appends in place.
    Host { k: Vec<f32>, v: Vec<f32> },
    /// [rows·Hkv·capacity, dh] each: one matrix per head, as matrix products need it. Positions past
    /// a row's length hold finite numbers, so that a weight of 0 cancels them. `lengths` is what the
    /// shader counts for itself, as long as the rows stay the same.
    Device { k: Tensor<2>, v: Tensor<2>, lengths: Option<Tensor<1, Int>> },
}

impl KvCache {
    /// An empty cache for `rows` rows of at most `capacity` positions.
    pub fn new(
        device: &Device,
        rows: usize,
        capacity: usize,
        kv_heads: usize,
        head_dim: usize,
    ) -> Self {
        let elements = rows * capacity * kv_heads * head_dim.next_multiple_of(LANES);
        let store = if crate::fused::runs_on(device) {
            Store::Host { k: vec![0.0; elements], v: vec![0.0; elements] }
        } else {
            let device = device.clone().without_autodiff();
            let zeros = || Tensor::zeros([rows * kv_heads * capacity, head_dim], &device);
            Store::Device { k: zeros(), v: zeros(), lengths: None }
        };
        Self { store, lengths: vec![0; rows], capacity, kv_heads, head_dim }
    }

    /// Positions held, per row.
    pub fn lengths(&self) -> &[u32] {
        &self.lengths
    }

    /// Its heads, for queries of `width` numbers.
    pub(super) fn shape(&self, width: usize) -> AttentionShape {
        let (kv_heads, head_dim) = (self.kv_heads, self.head_dim);
        AttentionShape { heads: width / head_dim, kv_heads, head_dim }
    }

    /// Panics if a row has no room for so many more positions.
    pub(super) fn require_room(&self, more: usize, rope: &Rope) {
        let room = self.capacity.min(rope.positions());
        let fits = self.lengths.iter().all(|&n| n as usize + more <= room);
        assert!(fits, "a row is full at {room}");
    }

    /// Fills an empty cache from a padded pass over prompts: k (unrotated) and v are
    /// [P·T, Hkv·dh], as `attention` takes them, of which row p holds the first `lengths[p]`
    /// positions.
    ///
    /// # Panics
    /// If the sizes disagree or a prompt doesn't fit.
    pub fn prefill(&mut self, k: Tensor<2>, v: Tensor<2>, lengths: &[u32], rope: &Rope) {
        let (rows, kv_dim) = (self.lengths.len(), self.kv_heads * self.head_dim);
        assert_eq!(lengths.len(), rows, "one length a row");
        let t = k.dims()[0] / rows;
        assert_eq!(k.dims(), [rows * t, kv_dim], "keys of {rows} rows");
        assert_eq!(v.dims(), k.dims(), "values like keys");
        let fits = lengths.iter().all(|&n| n as usize <= t.min(self.capacity));
        assert!(fits && t <= rope.positions(), "prompts of {t} in {} positions", self.capacity);
        let (kv_heads, head_dim, capacity) = (self.kv_heads, self.head_dim, self.capacity);
        match &mut self.store {
            Store::Host { k: keys, v: values } => {
                let (k, v) = (host(k), host(v));
                let width = kv_heads * head_dim.next_multiple_of(LANES);
                for (row, &length) in lengths.iter().enumerate() {
                    for position in 0..length as usize {
                        let from = (row * t + position) * kv_dim;
                        let to = (row * capacity + position) * width;
                        let (k, v) = (&k[from..from + kv_dim], &v[from..from + kv_dim]);
                        store_key(&rope.table, position, k, &mut keys[to..to + width]);
                        store_value(head_dim, v, &mut values[to..to + width]);
                    }
                }
            }
            Store::Device { k: keys, v: values, lengths } => {
                *lengths = None;
                let per_head = |x: Tensor<2>| {
                    let x = x.without_autodiff().reshape([rows, t, kv_heads, head_dim]);
                    x.swap_dims(1, 2) // [P, Hkv, T, dh]
                };
                // A padded pass may be longer than the cache; what doesn't fit is padding.
                let kept = t.min(capacity);
                let stored = |x: Tensor<4>| {
                    let x = x.narrow(2, 0, kept);
                    let behind = [rows, kv_heads, capacity - kept, head_dim];
                    let behind = Tensor::zeros(behind, &x.device());
                    Tensor::cat(vec![x, behind], 2).reshape([rows * kv_heads * capacity, head_dim])
                };
                let row = |table: &Tensor<2>| table.clone().narrow(0, 0, t).unsqueeze::<4>();
                *keys = stored(Rope::rotate(per_head(k), row(&rope.cos), row(&rope.sin)));
                *values = stored(per_head(v));
            }
        }
        self.lengths = lengths.to_vec();
    }

    /// Forgets each row's positions from `length` on, and makes room for `capacity` of them, if there is less:
    /// how a conversation goes on from the part of its past that stays.
    #[must_use]
    pub fn back_to(mut self, length: u32, capacity: usize) -> Self {
        self.lengths.iter_mut().for_each(|n| *n = length.min(*n));
        if let Store::Device { lengths, .. } = &mut self.store {
            *lengths = None;
        }
        if capacity <= self.capacity {
            return self;
        }
        let (rows, kv_heads, head_dim) = (self.lengths.len(), self.kv_heads, self.head_dim);
        self.store = match self.store {
            Store::Host { k, v } => {
                let width = kv_heads * head_dim.next_multiple_of(LANES);
                let longer = |x: Vec<f32>| {
                    let mut grown = vec![0.0; rows * capacity * width];
                    let olds = x.chunks_exact(self.capacity * width);
                    for (new, old) in grown.chunks_exact_mut(capacity * width).zip(olds) {
                        new[..old.len()].copy_from_slice(old);
                    }
                    grown
                };
                Store::Host { k: longer(k), v: longer(v) }
            }
            Store::Device { k, v, .. } => {
                let longer = |x: Tensor<2>| {
                    let matrices = rows * kv_heads;
                    let more = [matrices, capacity - self.capacity, head_dim];
                    let x = x.reshape([matrices, self.capacity, head_dim]);
                    let more = Tensor::zeros(more, &x.device());
                    Tensor::cat(vec![x, more], 1).reshape([matrices * capacity, head_dim])
                };
                Store::Device { k: longer(k), v: longer(v), lengths: None }
            }
        };
        Self { capacity, ..self }
    }

    /// The rows of both caches, those of `self` first: how new sequences join those still running.
    ///
    /// # Panics
    /// If the caches differ in device or capacity.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        assert_eq!(self.capacity, other.capacity, "caches of one capacity");
        self.store = match (self.store, other.store) {
            (Store::Host { mut k, mut v }, Store::Host { k: more_k, v: more_v }) => {
                k.extend(more_k);
                v.extend(more_v);
                Store::Host { k, v }
            }
            (Store::Device { k, v, .. }, Store::Device { k: more_k, v: more_v, .. }) => {
                Store::Device {
                    k: Tensor::cat(vec![k, more_k], 0),
                    v: Tensor::cat(vec![v, more_v], 0),
                    lengths: None,
                }
            }
            _ => panic!("caches of one device"),
        };
        self.lengths.extend(other.lengths);
        self
    }

    /// The given rows, in the given order; a row may be named several times. Copies a prompt's row for
    /// each of its samples, and later drops the rows that have ended.
    #[must_use]
    pub fn keep(mut self, rows: &[usize]) -> Self {
        let head_rows = self.kv_heads * self.capacity;
        self.store = match self.store {
            Store::Host { k, v } => {
                let row_len = head_rows * self.head_dim.next_multiple_of(LANES);
                let pick = |x: Vec<f32>| -> Vec<f32> {
                    rows.iter().flat_map(|&row| &x[row * row_len..][..row_len]).copied().collect()
                };
                Store::Host { k: pick(k), v: pick(v) }
            }
            Store::Device { k, v, .. } => {
                let row_len = head_rows * self.head_dim;
                let index: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
                let index = Tensor::<1, Int>::from_ints(index.as_slice(), &k.device());
                let pick = |x: Tensor<2>| {
                    x.reshape([self.lengths.len(), row_len])
                        .select(0, index.clone())
                        .reshape([rows.len() * head_rows, self.head_dim])
                };
                Store::Device { k: pick(k), v: pick(v), lengths: None }
            }
        };
        self.lengths = rows.iter().map(|&row| self.lengths[row]).collect();
        self
    }
}

/// Writes k [Hkv·dh], rotated to `position`, as a row of the host's store.
#[inline(always)]
pub(super) fn store_key(rope: &Table, position: usize, k: &[f32], stored: &mut [f32]) {
    let head_dim = 2 * rope.half;
    let stored = stored.chunks_exact_mut(head_dim.next_multiple_of(LANES));
    for (k, stored) in k.chunks_exact(head_dim).zip(stored) {
        rope.rotate(position, 1.0, k, &mut stored[..head_dim]);
    }
}

/// Writes v [Hkv·dh] as a row of the host's store.
#[inline(always)]
pub(super) fn store_value(head_dim: usize, v: &[f32], stored: &mut [f32]) {
    let stored = stored.chunks_exact_mut(head_dim.next_multiple_of(LANES));
    for (v, stored) in v.chunks_exact(head_dim).zip(stored) {
        stored[..head_dim].copy_from_slice(v);
    }
}

/// A CPU tensor's elements.
pub(super) fn host(x: Tensor<2>) -> Vec<f32> {
    x.into_data().try_into_vec().expect("an f32 tensor")
}
