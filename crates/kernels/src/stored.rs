//! Products with frozen weights that stay as their file stores them: in half precision, or in GGUF's blocks
//! of quantised numbers.
//!
//! The bytes lie in 32-bit words, which every adapter can bind; WGSL's own `f16` is an extension that many
//! adapters lack, and it has neither bfloat16 nor blocks. A product widens the matrix (exactly), multiplies
//! in f32, and drops the wide copy. The backward pass widens again: else the graph would keep a wide
//! copy of every matrix. A decoding step's product widens on a GPU as it reads. The embedding looks rows up
//! and widens these alone; the head, too large to be widened whole, is multiplied a part at a time.

pub(crate) mod cpu;
mod gpu;
pub mod reference;

use std::iter::repeat;
use std::ops::Range;
use std::sync::Arc;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, backend_extension};
use burn::tensor::{Device, Int, Tensor, TensorData};
pub use srft_formats::model::gguf::BlockType;

use super::gradient::record;
pub use super::layout::Layout;
use super::matmul::{MatmulNt, product};
use super::weight::FrozenMatrix;

/// A matrix of finite numbers as its file stores it.
#[derive(Debug, Clone)]
pub struct StoredMatrix {
    words: Tensor<1, Int>, // its blocks' bytes, row after row; little-endian
    layout: Layout,
}

impl StoredMatrix {
    /// A matrix of `rows` rows from the bytes of its blocks; `None` if they are f32, if a row isn't whole
    /// blocks, or if it is an odd number of halves (a word holds two).
    pub fn new(bytes: &[u8], kind: BlockType, rows: usize, device: &Device) -> Option<Self> {
        let row_bytes = bytes.len() / rows.max(1);
        let whole = row_bytes.is_multiple_of(kind.bytes()) && row_bytes * rows == bytes.len();
        let columns = row_bytes / kind.bytes() * kind.elements();
        if !whole || kind == BlockType::F32 || !columns.is_multiple_of(2) {
            return None;
        }
        let words = bytes.chunks(4).map(|chunk| {
            let mut word = [0; 4]; // the last may have two bytes
            word[..chunk.len()].copy_from_slice(chunk);
            i32::from_le_bytes(word)
        });
        // Whole vectors of four words, as shaders read them.
        let count = bytes.len().div_ceil(4).next_multiple_of(4);
        let words = words.chain(repeat(0)).take(count);
        let data = TensorData::new(words.collect::<Vec<_>>(), [count]);
        let words = Tensor::from_data(data, &device.clone().without_autodiff());
        Some(Self { words, layout: Layout { kind, first: 0, rows, columns } })
    }

    /// [Out, In].
    pub fn dims(&self) -> [usize; 2] {
        [self.layout.rows, self.layout.columns]
    }

    /// The matrix in f32, [Out, In].
    pub fn widen(&self) -> Tensor<2> {
        Tensor::from_dispatch(Dispatch::widen(self.words.clone().into_dispatch(), self.layout))
    }

    /// Rows `rows` `[N]` in f32, [N, In].
    pub fn select(&self, rows: Tensor<1, Int>) -> Tensor<2> {
        let rows = if self.layout.first == 0 { rows } else { rows + self.layout.first as i32 };
        let words = self.words.clone().into_dispatch();
        Tensor::from_dispatch(Dispatch::widen_rows(words, rows.into_dispatch(), self.layout))
    }

    /// Some of its rows; the words are shared.
    pub fn part(&self, rows: Range<usize>) -> Self {
        Self { words: self.words.clone(), layout: self.layout.part(rows) }
    }

    /// x [N, In] → x·Wᵀ [N, Out], differentiable in x.
    pub fn linear(&self, x: Tensor<2>) -> Tensor<2> {
        let words = self.words.clone().into_dispatch();
        Tensor::from_dispatch(Dispatch::stored_linear(x.into_dispatch(), words, self.layout))
    }
}

impl FrozenMatrix for StoredMatrix {
    fn dims(&self) -> [usize; 2] {
        self.dims()
    }

    fn linear(&self, x: Tensor<2>) -> Tensor<2> {
        self.linear(x)
    }

    fn stored(&self) -> (Tensor<1, Int>, Layout) {
        (self.words.clone(), self.layout)
    }

    fn widen(&self) -> Tensor<2> {
        self.widen()
    }

    fn select(&self, rows: Tensor<1, Int>) -> Tensor<2> {
        self.select(rows)
    }

    fn part(&self, rows: Range<usize>) -> Arc<dyn FrozenMatrix> {
        Arc::new(self.part(rows))
    }
}

/// The operations behind [`StoredMatrix::widen`] and [`StoredMatrix::select`].
#[backend_extension(Cube, Flex)]
pub trait Widen: Backend {
    /// The words of a matrix → [Out, In].
    fn widen(words: IntTensor<Self>, layout: Layout) -> FloatTensor<Self>;

    /// The words of a matrix, numbers of rows in them `[N]` → [N, In].
    fn widen_rows(
        words: IntTensor<Self>,
        rows: IntTensor<Self>,
        layout: Layout,
    ) -> FloatTensor<Self>;
}

/// The operation behind [`StoredMatrix::linear`].
#[backend_extension(Cube, Flex, Autodiff)]
pub trait StoredLinear: Backend {
    /// x [N, In], the words of a matrix → [N, Out].
    fn stored_linear(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        layout: Layout,
    ) -> FloatTensor<Self>;
}

impl<B: StoredLinear + Widen + MatmulNt, C: CheckpointStrategy> StoredLinear for Autodiff<B, C> {
    fn stored_linear(
        x: FloatTensor<Self>,
        words: IntTensor<B>,
        layout: Layout,
    ) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let output = B::stored_linear(x, words.clone(), layout);
        // ∂L/∂x = g·W, for the upstream gradient g [N, Out].
        record::<B, C, _, 1>([node], output, (words, layout), |(words, layout), g, _| {
            let columns = B::float_transpose(B::widen(words, layout));
            [Some(product::<B>(g, columns))]
        })
    }
}
