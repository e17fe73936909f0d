//! What a packed batch's attention needs on the device.

use burn::tensor::{Device, Int, Tensor};
use srft_formats::packing::Packing;
use std::sync::Arc;

/// A packed batch's layout, with what the device needs of it: made once a batch, used by every layer.
#[derive(Debug, Clone)]
pub struct Places {
    pub(super) packing: Arc<Packing>,
    /// Each row's position in its sequence, [N].
    pub(super) positions: Tensor<1, Int>,
}

impl Places {
    /// Uploads what the device of the model needs.
    pub fn new(packing: Packing, device: &Device) -> Self {
        let of = |segment: srft_formats::packing::Segment| {
            segment.rows.clone().map(move |row| segment.position(row) as i32)
        };
        let positions: Vec<i32> = packing.segments().flat_map(of).collect();
        let device = device.clone().without_autodiff();
        let positions = Tensor::from_ints(positions.as_slice(), &device);
        Self { packing: Arc::new(packing), positions }
    }

    /// N, all rows.
    pub fn rows(&self) -> usize {
        self.packing.rows()
    }
}
