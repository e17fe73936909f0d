//! What a packed batch's attention needs on the device.

use burn::tensor::{Device, Int, Tensor};
use srft_formats::packing::Packing;
use std::sync::Arc;

use super::tiles::Tiles;

/// A packed batch's layout, with what the device needs of it: made once a batch, used by every layer.
#[derive(Debug, Clone)]
pub struct Places {
    pub(super) packing: Arc<Packing>,
    /// What the shaders read.
    pub(super) tiles: Tiles,
}

impl Places {
    /// Uploads what the device of the model needs.
    pub fn new(packing: Packing, device: &Device) -> Self {
        let tiles = Tiles::new(&packing, device);
        Self { packing: Arc::new(packing), tiles }
    }

    /// Each row's position in its sequence, [N].
    pub(super) fn positions(&self) -> Tensor<1, Int> {
        self.tiles.words.clone().narrow(0, 0, self.rows())
    }

    /// The last row of each prompt, `[P]`.
    pub fn ends(&self) -> Tensor<1, Int> {
        let ends = self.packing.placed().map(|(start, tree)| (start + tree.prompt) as i32 - 1);
        Tensor::from_ints(&*ends.collect::<Vec<_>>(), &self.tiles.words.device())
    }

    /// N, all rows.
    pub fn rows(&self) -> usize {
        self.packing.rows()
    }
}
