//! The keys and values of the past, one cache a layer.
//!
//! Rows have pasts of different lengths. Each is stored from its own position 0, so a row's numbers
//! don't depend on its neighbours (on the CPU, bit for bit).

use super::{AttentionShape, Rope, Table, gpu};
use crate::matmul::few::{InF16, Number};
use crate::vector::LANES;
use burn::tensor::kind::Basic;
use burn::tensor::{Device, Int, Tensor, f16};
use srft_formats::config::CacheDtype;
use srft_formats::platform::{NATIVE, Native};

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
    /// [rows, capacity, Hkv·dh'], on the host, heads padded with zeros to whole `LANES`: the CPU kernel appends in place.
    Host(Both<Vec<f32>, Vec<u16>>),
    /// [rows·Hkv·capacity, dh], or two numbers a word of F16: one matrix per head, as matrix products need it.
    /// Positions past a row's length hold finite numbers, so that a weight of 0 cancels them. `lengths` is what the
    /// shader counts for itself, as long as the rows stay the same.
    Device { past: Both<Tensor<2>, Tensor<2, Int>>, lengths: Option<Tensor<1, Int>> },
}

/// Keys and values, in F32 or in F16, which a page does without.
#[derive(Debug, Clone)]
pub(super) enum Both<A, B> {
    F32([A; 2]),
    F16([B; 2], Native),
}

impl<A, B> Both<A, B> {
    /// The same done to keys and values, in whichever form.
    fn map(self, on_f32: impl Fn(A) -> A, on_f16: impl Fn(B) -> B) -> Self {
        match self {
            Self::F32(both) => Self::F32(both.map(on_f32)),
            Self::F16(both, native) => Self::F16(both.map(on_f16), native),
        }
    }

    /// Those of two caches, one after the other.
    fn join(self, other: Self, f32s: impl Fn(A, A) -> A, f16s: impl Fn(B, B) -> B) -> Self {
        match (self, other) {
            (Self::F32([k, v]), Self::F32([more_k, more_v])) => {
                Self::F32([f32s(k, more_k), f32s(v, more_v)])
            }
            (Self::F16([k, v], native), Self::F16([more_k, more_v], _)) => {
                Self::F16([f16s(k, more_k), f16s(v, more_v)], native)
            }
            _ => panic!("caches of one type"),
        }
    }
}

impl KvCache {
    /// An empty cache for `rows` rows of at most `capacity` positions, with numbers as `dtype` has them. F16 is
    /// for the CPU and for [`super::decode_parts`], whose heads are whole vectors of eight numbers.
    pub fn new(
        device: &Device,
        [rows, capacity]: [usize; 2],
        [kv_heads, head_dim]: [usize; 2],
        dtype: CacheDtype,
    ) -> Self {
        let elements = rows * capacity * kv_heads * head_dim.next_multiple_of(LANES);
        let matrices = rows * kv_heads * capacity;
        let plain = device.clone().without_autodiff();
        let native = NATIVE.filter(|_| dtype == CacheDtype::F16);
        let store = match (crate::fused::runs_on(device), native) {
            (true, None) => Store::Host(Both::F32([0, 1].map(|_| vec![0.0; elements]))),
            (true, Some(native)) => {
                Store::Host(Both::F16([0, 1].map(|_| vec![0; elements]), native))
            }
            (false, None) => {
                let zeros = |_| Tensor::zeros([matrices, head_dim], &plain);
                Store::Device { past: Both::F32([0, 1].map(zeros)), lengths: None }
            }
            (false, Some(native)) => {
                assert!(fits_in_halves(head_dim), "heads of {head_dim} are not whole vectors");
                let zeros = |_| Tensor::zeros([matrices, head_dim / 2], &plain);
                Store::Device { past: Both::F16([0, 1].map(zeros), native), lengths: None }
            }
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
            Store::Host(past) => {
                let (k, v) = (host(k), host(v));
                match past {
                    Both::F32(past) => {
                        fill(past, [&k, &v], lengths, [t, capacity, kv_heads, head_dim], rope);
                    }
                    Both::F16(past, _) => {
                        fill(past, [&k, &v], lengths, [t, capacity, kv_heads, head_dim], rope);
                    }
                }
            }
            Store::Device { past, lengths } => {
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
                let k = stored(Rope::rotate(per_head(k), row(&rope.cos), row(&rope.sin)));
                let v = stored(per_head(v));
                *past = match past {
                    Both::F32(_) => Both::F32([k, v]),
                    Both::F16(_, native) => Both::F16([k, v].map(gpu::in_halves), *native),
                };
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
        let matrices = self.lengths.len() * self.kv_heads;
        let width = self.kv_heads * self.head_dim.next_multiple_of(LANES);
        let [old, new] = [self.capacity, capacity];
        let to = [matrices, old, new];
        self.store = match self.store {
            Store::Host(past) => Store::Host(past.map(
                |x| longer_on_host(&x, old * width, new * width),
                |x| longer_on_host(&x, old * width, new * width),
            )),
            Store::Device { past, .. } => {
                let past = past.map(|x| longer(x, to), |x| longer(x, to));
                Store::Device { past, lengths: None }
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
            (Store::Host(past), Store::Host(more)) => Store::Host(past.join(
                more,
                |old, new| [old, new].concat(),
                |old, new| [old, new].concat(),
            )),
            (Store::Device { past, .. }, Store::Device { past: more, .. }) => {
                let past = past.join(
                    more,
                    |old, new| Tensor::cat(vec![old, new], 0),
                    |old, new| Tensor::cat(vec![old, new], 0),
                );
                Store::Device { past, lengths: None }
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
        self.store =
            match self.store {
                Store::Host(past) => {
                    let row_len = head_rows * self.head_dim.next_multiple_of(LANES);
                    Store::Host(past.map(
                        |x| pick_on_host(&x, rows, row_len),
                        |x| pick_on_host(&x, rows, row_len),
                    ))
                }
                Store::Device { past, .. } => {
                    let count = self.lengths.len();
                    let past = past.map(|x| pick(x, rows, count), |x| pick(x, rows, count));
                    Store::Device { past, lengths: None }
                }
            };
        self.lengths = rows.iter().map(|&row| self.lengths[row]).collect();
        self
    }
}

/// Whether a GPU's cache can hold such heads in F16.
pub fn fits_in_halves(head_dim: usize) -> bool {
    head_dim.is_multiple_of(8)
}

/// Rows of `old` numbers, each as `new` numbers, what is more being 0.
fn longer_on_host<T: Copy + Default>(x: &[T], old: usize, new: usize) -> Vec<T> {
    let mut grown = vec![T::default(); x.len() / old * new];
    let rows = grown.chunks_exact_mut(new).zip(x.chunks_exact(old));
    rows.for_each(|(new, old)| new[..old.len()].copy_from_slice(old));
    grown
}

fn pick_on_host<T: Copy>(x: &[T], rows: &[usize], row_len: usize) -> Vec<T> {
    rows.iter().flat_map(|&row| &x[row * row_len..][..row_len]).copied().collect()
}

/// Matrices of `old` rows with `new` rows each.
fn longer<K: Basic>(x: Tensor<2, K>, [matrices, old, new]: [usize; 3]) -> Tensor<2, K> {
    let width = x.dims()[1];
    let more = Tensor::zeros([matrices, new - old, width], &x.device());
    Tensor::cat(vec![x.reshape([matrices, old, width]), more], 1).reshape([matrices * new, width])
}

/// The given ones of `count` rows, each several lines of x.
fn pick<K: Basic>(x: Tensor<2, K>, rows: &[usize], count: usize) -> Tensor<2, K> {
    let [lines, width] = x.dims();
    let index: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
    let index = Tensor::<1, Int>::from_ints(index.as_slice(), &x.device());
    let picked = x.reshape([count, lines / count * width]).select(0, index);
    picked.reshape([rows.len() * lines / count, width])
}

/// A number of the host's store.
pub(super) trait Held: Copy + Default + Send + Sync {
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

/// Fills an empty store from prompts of `t` positions, of which row p has the first `lengths[p]`.
fn fill<T: Held>(
    [keys, values]: &mut [Vec<T>; 2],
    [k, v]: [&[f32]; 2],
    lengths: &[u32],
    [t, capacity, kv_heads, head_dim]: [usize; 4],
    rope: &Rope,
) {
    let (kv_dim, width) = (kv_heads * head_dim, kv_heads * head_dim.next_multiple_of(LANES));
    for (row, &length) in lengths.iter().enumerate() {
        for position in 0..length as usize {
            let source = (row * t + position) * kv_dim;
            let to = (row * capacity + position) * width;
            let (k, v) = (&k[source..source + kv_dim], &v[source..source + kv_dim]);
            store_key(&rope.table, position, k, &mut keys[to..to + width]);
            store_value(head_dim, v, &mut values[to..to + width]);
        }
    }
}

/// Writes k [Hkv·dh], rotated to `position`, as a row of the host's store.
#[inline(always)]
pub(super) fn store_key<T: Held>(rope: &Table, position: usize, k: &[f32], stored: &mut [T]) {
    let head_dim = 2 * rope.half;
    let mut turned = vec![0.0; head_dim];
    let stored = stored.chunks_exact_mut(head_dim.next_multiple_of(LANES));
    for (k, stored) in k.chunks_exact(head_dim).zip(stored) {
        rope.rotate(position, 1.0, k, &mut turned);
        stored.iter_mut().zip(&turned).for_each(|(held, &x)| *held = T::of(x));
    }
}

/// Writes v [Hkv·dh] as a row of the host's store.
#[inline(always)]
pub(super) fn store_value<T: Held>(head_dim: usize, v: &[f32], stored: &mut [T]) {
    let stored = stored.chunks_exact_mut(head_dim.next_multiple_of(LANES));
    for (v, stored) in v.chunks_exact(head_dim).zip(stored) {
        stored.iter_mut().zip(v).for_each(|(held, &x)| *held = T::of(x));
    }
}

/// A CPU tensor's elements.
pub(super) fn host(x: Tensor<2>) -> Vec<f32> {
    x.into_data().try_into_vec().expect("an f32 tensor")
}
