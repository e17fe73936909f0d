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
        let (words, kind) = (i32s(&words), layout.kind);
        let mut out = vec![0.0; layout.numbers()];
        let chunks = out.par_chunks_mut(CHUNK);
        match kind {
            BlockType::F16 => chunks
                .zip(words.par_chunks(CHUNK / 2))
                .for_each(|(out, words)| wide(FromF16 { out, words })),
            BlockType::Bf16 => chunks
                .zip(words.par_chunks(CHUNK / 2))
                .for_each(|(out, words)| wide(FromBf16 { out, words })),
            _ => {
                let bytes: &[u8] = bytemuck::cast_slice(words);
                chunks
                    .zip(bytes.par_chunks(CHUNK / kind.elements() * kind.bytes()))
                    .for_each(|(out, bytes)| wide(FromBlocks { kind, out, bytes }));
            }
        }
        tensor(out, [layout.rows, layout.columns])
    }
}

struct FromBlocks<'a> {
    kind: BlockType,
    out: &'a mut [f32],
    bytes: &'a [u8],
}

impl WithSimd for FromBlocks<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        gguf::widen(self.kind, self.bytes, self.out);
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
