//! Random numbers in bulk: for speed it matters only that they are not all the same.

use crate::ops::stored::{BlockType, StoredMatrix};
use crate::ops::weight::Weight;
use crate::random::{Stream, purpose};
use burn::tensor::{Device, Tensor, TensorData};
use std::sync::{Arc, LazyLock};

/// A prime, so that no rows of a matrix are the same.
const COUNT: usize = 65_521;

/// Normal numbers that bfloat16 has too.
static BLOCK: LazyLock<Vec<f32>> = LazyLock::new(|| {
    let mut stream = Stream::new(0, purpose::WEIGHTS, 0);
    (0..COUNT).map(|_| f32::from_bits(stream.normal().to_bits() & 0xffff_0000)).collect()
});

/// `count` of them, `scale` times as large; `scale` is a power of two.
pub fn numbers(count: usize, scale: f32) -> Vec<f32> {
    BLOCK.iter().map(|x| x * scale).cycle().take(count).collect()
}

/// The number at `index` of as many as one likes.
pub fn number(index: usize) -> f32 {
    BLOCK[index % COUNT]
}

/// A matrix of them.
pub fn matrix(dims: [usize; 2], scale: f32, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(numbers(dims[0] * dims[1], scale), dims), device)
}

/// `count` of them in bfloat16's bytes.
pub fn halves(count: usize, scale: f32) -> Vec<u8> {
    let half = |x: f32| ((x.to_bits() >> 16) as u16).to_le_bytes();
    numbers(count, scale).into_iter().flat_map(half).collect()
}

/// A matrix of `rows` rows from bfloat16's bytes; `None` if the rows are of an odd length.
pub fn in_bf16(halves: &[u8], rows: usize, device: &Device) -> Option<Weight> {
    let matrix = StoredMatrix::new(halves, BlockType::Bf16, rows, device)?;
    Some(Weight::Frozen(Arc::new(matrix)))
}
