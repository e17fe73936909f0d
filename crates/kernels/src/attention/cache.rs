//! The keys and values of the past, one cache a layer.
//!
//! Rows have pasts of different lengths: a prompt's positions, which stand once for all rows that go on from it, and
//! then a row's own. A row's numbers don't depend on its neighbours (on the CPU, bit for bit).

use super::pool::{Both, Pool};
use super::rows::{self, Row};
use super::{AttentionShape, Places, Rope, gpu};
use burn::tensor::Tensor;
use srft_formats::config::CacheDtype;
use srft_formats::platform::NATIVE;

/// The past of one layer: rotated keys and values of every row.
#[derive(Debug, Clone)]
pub struct KvCache {
    pub(super) store: Store,
    /// Positions held, per row.
    pub(super) lengths: Vec<u32>,
    /// Those of them that are its prompt's, per row.
    pub(super) shared: Vec<u32>,
    /// Positions that fit in a row after its prompt's.
    pub(super) room: usize,
    /// Hkv and dh.
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
}

/// Where keys and values live.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a burn tensor is 640 bytes; a cache lives long")]
pub(super) enum Store {
    /// On the host, where the CPU kernel appends in place.
    Host(Both<Vec<Row<f32>>, Vec<Row<u16>>>),
    Device(Pool),
}

impl KvCache {
    /// The past that a pass over packed prompts leaves: k (unrotated) and v are [N, Hkv·dh], as `attention` takes
    /// them. Each branch of a tree is a row, which goes on from the tree's prompt and has room for `room` positions, those
    /// that it has in the pass among them; one that begins with the prompt's end has none. Numbers are held as `dtype`
    /// has them. F16 is for the CPU and for [`super::decode_parts`], whose heads are whole vectors of eight numbers.
    ///
    /// # Panics
    /// If the sizes disagree or a branch doesn't fit.
    pub fn new(
        [k, v]: [Tensor<2>; 2],
        head_dim: usize,
        places: &Places,
        room: usize,
        dtype: CacheDtype,
        rope: &Rope,
    ) -> Self {
        let packing = &places.packing;
        let kv_heads = k.dims()[1] / head_dim;
        assert_eq!(k.dims(), [packing.rows(), kv_heads * head_dim], "keys of the pass's rows");
        assert_eq!(v.dims(), k.dims(), "values like keys");
        assert!(packing.positions() <= rope.positions(), "positions that the tables hold");
        let trees = packing.trees.iter();
        let rows = trees.flat_map(|tree| tree.branches.iter().map(|&own| (tree.prompt, own)));
        let rows: Vec<(usize, usize)> = rows.collect();
        assert!(rows.iter().all(|&(_, own)| own <= room), "a row is full at {room}");
        let native = NATIVE.filter(|_| dtype == CacheDtype::F16);
        let store = match (crate::fused::runs_on(&k.device()), native) {
            (true, native) => {
                let [k, v] = [k, v].map(host);
                let kv = [&k[..], &v[..]];
                let shape = [kv_heads, head_dim];
                Store::Host(match native {
                    None => Both::F32(Row::of(kv, shape, packing, room, &rope.table)),
                    Some(native) => {
                        Both::F16(Row::of(kv, shape, packing, room, &rope.table), native)
                    }
                })
            }
            (false, native) => {
                let of_heads = |x: Tensor<2>| {
                    x.without_autodiff().reshape([packing.rows(), kv_heads, head_dim])
                };
                let at = |table: &Tensor<2>| {
                    table.clone().select(0, places.positions()).unsqueeze_dim::<3>(1)
                };
                let k = Rope::rotate(of_heads(k), at(&rope.cos), at(&rope.sin));
                let kv = [k, of_heads(v)].map(|x| x.reshape([packing.rows(), kv_heads * head_dim]));
                let past = match native {
                    None => Both::F32(kv),
                    Some(native) => {
                        assert!(
                            fits_in_halves(head_dim),
                            "heads of {head_dim} are no whole vectors"
                        );
                        Both::F16(kv.map(gpu::in_halves), native)
                    }
                };
                Store::Device(Pool::of(past, packing, room))
            }
        };
        let of = |n: fn((usize, usize)) -> usize| rows.iter().map(|&row| n(row) as u32).collect();
        let (lengths, shared) = (of(|(shared, own)| shared + own), of(|(shared, _)| shared));
        Self { store, lengths, shared, room, kv_heads, head_dim }
    }

    /// Positions held, per row.
    pub fn lengths(&self) -> &[u32] {
        &self.lengths
    }

    /// The most positions that a row may come to.
    pub(super) fn positions(&self) -> usize {
        self.room + self.shared.iter().max().map_or(0, |&shared| shared as usize)
    }

    /// Its heads, for queries of `width` numbers.
    pub(super) fn shape(&self, width: usize) -> AttentionShape {
        let (kv_heads, head_dim) = (self.kv_heads, self.head_dim);
        AttentionShape { heads: width / head_dim, kv_heads, head_dim }
    }

    /// Panics if a row has no room for so many more positions.
    pub(super) fn require_room(&self, more: usize, rope: &Rope) {
        let (room, positions) = (self.room, rope.positions());
        let fits = |(&n, &shared): (&u32, &u32)| {
            (n - shared) as usize + more <= room && n as usize + more <= positions
        };
        let all = self.lengths.iter().zip(&self.shared).all(fits);
        assert!(all, "a row is full at {room} positions after its prompt, or at {positions}");
    }

    /// Forgets each row's positions from `length` on, and makes room for `positions` of them, if there is less:
    /// how a conversation goes on from the part of its past that stays.
    #[must_use]
    pub fn back_to(mut self, length: u32, positions: usize) -> Self {
        self.lengths.iter_mut().for_each(|n| *n = length.min(*n));
        self.shared.iter_mut().for_each(|n| *n = length.min(*n));
        let least = self.shared.iter().min().map_or(0, |&shared| shared as usize);
        let room = self.room.max(positions.saturating_sub(least));
        let stride = rows::stride(self.kv_heads, self.head_dim);
        let own = self.lengths.iter().zip(&self.shared).map(|(n, shared)| (n - shared) as usize);
        self.store = match self.store {
            Store::Host(past) => {
                let own: Vec<usize> = own.collect();
                Store::Host(past.map(
                    |past| rows::back_to(past, &own, room, stride),
                    |past| rows::back_to(past, &own, room, stride),
                ))
            }
            Store::Device(pool) if room > self.room => {
                Store::Device(pool.laid_out([&self.lengths, &self.shared], room))
            }
            Store::Device(pool) => Store::Device(Pool { table: None, ..pool }),
        };
        Self { room, ..self }
    }

    /// The same rows, without what a GPU still holds of those that have ended.
    #[must_use]
    pub fn settled(mut self) -> Self {
        if let Store::Device(pool) = self.store {
            self.store = Store::Device(pool.laid_out([&self.lengths, &self.shared], self.room));
        }
        self
    }

    /// The rows of both caches, those of `self` first: how new sequences join those still running.
    ///
    /// # Panics
    /// If the caches differ in device, or in the rows' room.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        assert_eq!(self.room, other.room, "caches of one room");
        self.store = match (self.store, other.store) {
            (Store::Host(past), Store::Host(more)) => {
                Store::Host(past.join(more, in_turn, in_turn))
            }
            (Store::Device(pool), Store::Device(more)) => Store::Device(pool.join(more)),
            _ => panic!("caches of one device"),
        };
        self.lengths.extend(other.lengths);
        self.shared.extend(other.shared);
        self
    }

    /// The given rows, in ascending order: the others have ended. On a GPU this copies nothing, and their memory stays
    /// until [`KvCache::settled`].
    #[must_use]
    pub fn keep(mut self, rows: &[usize]) -> Self {
        self.store = match self.store {
            Store::Host(past) => {
                Store::Host(past.map(|past| kept(past, rows), |past| kept(past, rows)))
            }
            Store::Device(pool) => {
                Store::Device(Pool { places: kept(pool.places, rows), table: None, ..pool })
            }
        };
        self.lengths = kept(self.lengths, rows);
        self.shared = kept(self.shared, rows);
        self
    }
}

/// Whether a GPU's cache can hold such heads in F16.
pub fn fits_in_halves(head_dim: usize) -> bool {
    head_dim.is_multiple_of(8)
}

fn in_turn<T>(old: Vec<T>, new: Vec<T>) -> Vec<T> {
    old.into_iter().chain(new).collect()
}

fn kept<T>(list: Vec<T>, rows: &[usize]) -> Vec<T> {
    let mut wanted = rows.iter().copied().peekable();
    let is_wanted = |(index, _): &(usize, T)| wanted.next_if_eq(index).is_some();
    let kept: Vec<T> = list.into_iter().enumerate().filter(is_wanted).map(|(_, x)| x).collect();
    assert_eq!(kept.len(), rows.len(), "rows in ascending order");
    kept
}

/// A CPU tensor's elements.
pub(super) fn host(x: Tensor<2>) -> Vec<f32> {
    x.into_data().try_into_vec().expect("an f32 tensor")
}
