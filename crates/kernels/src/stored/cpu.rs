//! The CPU twins of `shaders/widen.wgsl` and `shaders/widen_blocks.wgsl`: threads over words or blocks.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use srft_formats::model::gguf::{self, BlockType};

use super::{Layout, Widen};
use crate::cpu::{i32s, tensor};
use crate::vector::wide;

/// Numbers that a task takes at a time.
const CHUNK: usize = 1 << 15;

impl Widen for Flex {
    fn widen(words: FlexTensor, layout: Layout) -> FlexTensor {
        let kind = layout.kind;
        let bytes: &[u8] = bytemuck::cast_slice(i32s(&words));
        let mut out = vec![0.0; layout.numbers()];
        let chunk = CHUNK / kind.elements() * kind.bytes();
        let tasks = out.par_chunks_mut(CHUNK).zip(bytes.par_chunks(chunk));
        tasks.for_each(|(out, bytes)| match kind {
            BlockType::F16 => wide(FromF16 { out, words: bytemuck::cast_slice(bytes) }),
            BlockType::Bf16 => wide(FromBf16 { out, words: bytemuck::cast_slice(bytes) }),
            _ => gguf::widen(kind, bytes, out),
        });
        tensor(out, [layout.rows, layout.columns])
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
        // An f16's fields, shifted to f32's places, read as the number times 2^(15 − 127),
        // subnormals included.
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
