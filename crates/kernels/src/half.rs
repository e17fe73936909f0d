//! Products with frozen weights that stay in half precision, as their file stores them.
//!
//! A 32-bit word, which every adapter can bind, holds two numbers; WGSL's own `f16` is an extension
//! that many adapters lack, and WGSL has no bfloat16. A product widens the matrix (exactly), multiplies
//! in f32, and drops the wide copy. The backward pass widens again: else the graph would keep a wide
//! copy of every matrix.

mod cpu;
mod gpu;
pub mod reference;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::{CubeBackend, CubeTensor};
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::gradient::record;
use super::matmul::{MatmulNt, product};

/// A 16-bit floating-point format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// IEEE 754 binary16: 5 bits of exponent, 10 of fraction.
    F16,
    /// bfloat16: 8 bits of exponent, 7 of fraction.
    Bf16,
}

impl Half {
    /// Whether these 16 bits are a finite number.
    pub fn is_finite(self, bits: u16) -> bool {
        let exponent = match self {
            Half::F16 => 0x7c00,
            Half::Bf16 => 0x7f80,
        };
        bits & exponent != exponent
    }
}

/// A matrix of finite numbers in half precision.
#[derive(Debug, Clone)]
pub struct HalfMatrix {
    words: Tensor<2, Int>, // [Out, In/2], low half first
    half: Half,
}

impl HalfMatrix {
    /// A matrix of `rows` rows from its little-endian bytes, 2 a number; `None` if a row doesn't fill
    /// whole 32-bit words.
    pub fn new(bytes: &[u8], half: Half, rows: usize, device: &Device) -> Option<Self> {
        let row_bytes = bytes.len() / rows.max(1);
        let words = bytes.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        (row_bytes.is_multiple_of(4) && row_bytes * rows == bytes.len()).then(|| {
            let data = TensorData::new(words.collect::<Vec<_>>(), [rows, row_bytes / 4]);
            Self { words: Tensor::from_data(data, &device.clone().without_autodiff()), half }
        })
    }

    /// [Out, In].
    pub fn dims(&self) -> [usize; 2] {
        let [rows, words] = self.words.dims();
        [rows, 2 * words]
    }

    /// The matrix in f32, [Out, In].
    pub fn widen(&self) -> Tensor<2> {
        Tensor::from_dispatch(Dispatch::widen(self.words.clone().into_dispatch(), self.half))
    }

    /// x [N, In] → x·Wᵀ [N, Out], differentiable in x.
    pub fn linear(&self, x: Tensor<2>) -> Tensor<2> {
        let words = self.words.clone().into_dispatch();
        Tensor::from_dispatch(Dispatch::half_linear(x.into_dispatch(), words, self.half))
    }
}

/// The operation behind [`HalfMatrix::widen`].
#[backend_extension(Cube, Flex)]
pub trait Widen: Backend {
    /// words [Out, In/2] → [Out, In].
    fn widen(words: IntTensor<Self>, half: Half) -> FloatTensor<Self>;
}

/// The operation behind [`HalfMatrix::linear`].
#[backend_extension(Cube, Flex, Autodiff)]
pub trait HalfLinear: Backend {
    /// x [N, In], words [Out, In/2] → [N, Out].
    fn half_linear(x: FloatTensor<Self>, words: IntTensor<Self>, half: Half) -> FloatTensor<Self>;
}

impl HalfLinear for CubeBackend {
    fn half_linear(x: CubeTensor, words: CubeTensor, half: Half) -> CubeTensor {
        product::<Self>(x, Self::widen(words, half))
    }
}

impl HalfLinear for Flex {
    fn half_linear(x: FlexTensor, words: FlexTensor, half: Half) -> FlexTensor {
        product::<Self>(x, Self::widen(words, half))
    }
}

impl<B: HalfLinear + Widen + MatmulNt, C: CheckpointStrategy> HalfLinear for Autodiff<B, C> {
    fn half_linear(x: FloatTensor<Self>, words: IntTensor<B>, half: Half) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let output = B::half_linear(x, words.clone(), half);
        // ∂L/∂x = g·W, for the upstream gradient g [N, Out].
        record::<B, C, _, 1>([node], output, (words, half), |(words, half), g, _| {
            let columns = B::float_transpose(B::widen(words, half));
            [Some(product::<B>(g, columns))]
        })
    }
}
