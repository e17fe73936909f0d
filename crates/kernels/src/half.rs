//! Products with frozen weights that stay in half precision, as their file stores them.
//!
//! Two numbers stand in a 32-bit word, which every adapter can bind; WGSL's own `f16` is an extension
//! that many lack, and bfloat16 is in none. A product widens the matrix, exactly, multiplies in f32,
//! and drops the wide copy: so does the backward pass, which would otherwise keep one of each matrix.

pub mod reference;

use super::cpu::{i32s, tensor};
use super::cube::{self, Shader, WORKGROUP};
use super::matmul::{MatmulNt, product};
use super::vector::wide;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::wgpu::{CubeBackend, CubeTensor};
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// A format of 16 bits.
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
    /// A matrix of `rows` rows from its little-endian bytes, 2 a number; `None` where a row does not
    /// fill whole words.
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

    /// In f32, [Out, In].
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
        #[derive(Debug)]
        struct HalfLinearBackward;

        impl<B: Widen + MatmulNt> Backward<B, 1> for HalfLinearBackward {
            type State = (IntTensor<B>, Half);

            /// ∂L/∂x = g·W, for the upstream gradient g [N, Out].
            fn backward(
                self,
                ops: Ops<Self::State, 1>,
                grads: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let g = grads.consume::<B>(&ops.node);
                if let [Some(parent)] = ops.parents {
                    let (words, half) = ops.state;
                    let columns = B::float_transpose(B::widen(words, half));
                    grads.register::<B>(parent.id, product::<B>(g, columns));
                }
            }
        }

        let (x, node) = x.into_parts();
        let output = B::half_linear(x, words.clone(), half);
        match HalfLinearBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((words, half), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

impl Widen for CubeBackend {
    fn widen(words: CubeTensor, half: Half) -> CubeTensor {
        let words = cube::dense(words);
        let shape = words.shape();
        let (rows, count) = (shape[0], shape.num_elements());
        let out = cube::empty(&words, [rows, 2 * shape[1]], DType::F32);
        let source = srft_shaders::WIDEN;
        let shader = Shader::new("widen", source).with("bfloat", half == Half::Bf16);
        let groups = count.div_ceil(WORKGROUP as usize);
        cube::launch(shader, groups, &[&words, &out], &[count as u32]);
        out
    }
}

/// Words that a task takes at a time.
const CHUNK: usize = 1 << 14;

impl Widen for Flex {
    fn widen(words: FlexTensor, half: Half) -> FlexTensor {
        let shape = words.shape();
        let mut out = vec![0.0; 2 * shape.num_elements()];
        let tasks = out.par_chunks_mut(2 * CHUNK).zip(i32s(&words).par_chunks(CHUNK));
        tasks.for_each(|(out, words)| match half {
            Half::F16 => wide(FromF16 { out, words }),
            Half::Bf16 => wide(FromBf16 { out, words }),
        });
        tensor(out, [shape[0], 2 * shape[1]])
    }
}

struct FromF16<'a> {
    out: &'a mut [f32],
    words: &'a [i32],
}

impl WithSimd for FromF16<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        // The fields in f32's places are the number times 2^(15 − 127), also below the normal range.
        const SCALE: f32 = f32::from_bits((127 + 112) << 23);
        for (pair, &word) in self.out.chunks_exact_mut(2).zip(self.words) {
            let word = word as u32;
            let low = f32::from_bits((word & 0x7fff) << 13) * SCALE;
            let high = f32::from_bits((word >> 3) & (0x7fff << 13)) * SCALE;
            pair[0] = f32::from_bits(low.to_bits() | (word & 0x8000) << 16);
            pair[1] = f32::from_bits(high.to_bits() | word & 0x8000_0000);
        }
    }
}

struct FromBf16<'a> {
    out: &'a mut [f32],
    words: &'a [i32],
}

impl WithSimd for FromBf16<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (pair, &word) in self.out.chunks_exact_mut(2).zip(self.words) {
            let word = word as u32;
            pair[0] = f32::from_bits(word << 16);
            pair[1] = f32::from_bits(word & 0xffff_0000);
        }
    }
}
