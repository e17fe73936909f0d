//! A packed batch as the attention shaders read it: where each row is in its sequence, and the batch cut into tiles.

use burn::tensor::{Device, Int, Tensor, TensorData};
use srft_formats::packing::{Packing, Segment};
use std::sync::Arc;

/// Rows of a tile: `shaders/include/tiles.wgsl` has the number too.
const SIDE: usize = 32;

/// The tables of one batch, which are made once for all layers and passes: an upload ends a batch of dispatches.
#[derive(Debug, Clone)]
pub struct Tiles {
    /// Rows' positions, then four words a tile of queries, then four a tile of keys.
    pub(super) words: Tensor<1, Int>,
    /// N.
    pub(super) rows: usize,
    /// Positions of the longest sequence.
    pub(super) positions: usize,
    /// What each tile of queries multiplies with.
    pub(super) queries: Table,
    /// The same of keys.
    pub(super) keys: Table,
}

/// Tiles of one kind.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// The first word.
    pub start: usize,
    /// Products of a row with a row in each tile, a head; most first, so that none begins a long tile when the others are done.
    pub pairs: Arc<[usize]>,
}

impl Tiles {
    /// The tables of `packing`, on `device`.
    pub fn new(packing: &Packing, device: &Device) -> Self {
        let rows = packing.rows();
        let positions = packing.segments().flat_map(|segment| {
            let first = segment.past.len() as u32;
            first..first + segment.rows.len() as u32
        });
        let mut words: Vec<u32> = positions.collect();
        let mut table = |of_tile: fn(&Segment, usize, usize) -> ([usize; 4], usize)| {
            let mut tiles: Vec<_> = packing
                .segments()
                .flat_map(|segment| {
                    let firsts = segment.rows.clone().step_by(SIDE);
                    let of_segment = move |first| {
                        let rows = SIDE.min(segment.rows.end - first);
                        let (words, seen) = of_tile(&segment, first, rows);
                        (words, SIDE * seen.next_multiple_of(SIDE))
                    };
                    firsts.map(of_segment)
                })
                .collect();
            tiles.sort_by_key(|&(_, pairs)| std::cmp::Reverse(pairs));
            let start = words.len();
            words.extend(tiles.iter().flat_map(|(words, _)| words.map(|n| n as u32)));
            Table { start, pairs: tiles.into_iter().map(|(_, pairs)| pairs).collect() }
        };
        let queries = table(|segment, first, rows| {
            let past = &segment.past;
            ([first, rows, past.start, past.len()], segment.position(first) + rows)
        });
        let keys = table(|segment, first, rows| {
            ([first, rows, segment.seen_until, segment.rows.end], segment.seen_until - first)
        });
        let words: Vec<i32> = words.into_iter().map(|word| word as i32).collect();
        let count = words.len();
        let device = device.clone().without_autodiff();
        Self {
            words: Tensor::from_data(TensorData::new(words, [count]), &device),
            rows,
            positions: packing.positions(),
            queries,
            keys,
        }
    }
}
