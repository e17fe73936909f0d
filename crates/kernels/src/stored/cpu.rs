//! The CPU twins of `shaders/widen.wgsl` and `shaders/widen_blocks.wgsl`: threads over words or blocks.

use std::ops::Range;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use srft_formats::model::gguf::{self, BlockType};

use super::{Layout, StoredLinear, Widen};
use crate::cpu::{dense, f32s, i32s, tensor};
use crate::matmul::{few, product};
use crate::vector::wide;

/// Numbers that a task takes at a time.
const CHUNK: usize = 1 << 15;

impl Widen for Flex {
    fn widen(words: FlexTensor, layout: Layout) -> FlexTensor {
        let mut out = vec![0.0; layout.rows * layout.columns];
        let chunk = CHUNK / layout.kind.elements();
        let tasks = out.par_chunks_mut(chunk * layout.kind.elements());
        let bytes = layout.bytes_in(i32s(&words)).par_chunks(chunk * layout.kind.bytes());
        tasks.zip(bytes).for_each(|(out, bytes)| widen(layout.kind, bytes, out));
        tensor(out, [layout.rows, layout.columns])
    }

    fn widen_rows(words: FlexTensor, rows: FlexTensor, layout: Layout) -> FlexTensor {
        let (rows, width) = (dense(rows), layout.row_bytes());
        let (rows, bytes) = (i32s(&rows), bytemuck::cast_slice(i32s(&words)));
        let mut out = vec![0.0; rows.len() * layout.columns];
        out.par_chunks_mut(layout.columns).zip(rows).for_each(|(out, &row)| {
            let bytes: &[u8] = &bytes[row as usize * width..];
            widen(layout.kind, &bytes[..width], out);
        });
        tensor(out, [rows.len(), layout.columns])
    }
}

impl StoredLinear for Flex {
    fn stored_linear(x: FlexTensor, words: FlexTensor, layout: Layout) -> FlexTensor {
        let dims = [layout.rows, layout.columns];
        if !few::suits(dims) {
            return product::<Self>(x, Self::widen(words, layout));
        }
        let x = dense(x);
        let matrix = Blocks { bytes: layout.bytes_in(i32s(&words)), layout };
        tensor(few::product(f32s(&x), &matrix), [x.layout().shape()[0], layout.rows])
    }
}

/// A stored matrix's rows.
struct Blocks<'a> {
    bytes: &'a [u8],
    layout: Layout,
}

impl few::Rows for Blocks<'_> {
    fn dims(&self) -> [usize; 2] {
        [self.layout.rows, self.layout.columns]
    }

    fn widened<'a>(&'a self, rows: Range<usize>, scratch: &'a mut Vec<f32>) -> &'a [f32] {
        let width = self.layout.row_bytes();
        scratch.resize(rows.len() * self.layout.columns, 0.0);
        widen(self.layout.kind, &self.bytes[rows.start * width..rows.end * width], scratch);
        scratch
    }
}

/// Widens blocks on the widest vector unit.
fn widen(kind: BlockType, bytes: &[u8], out: &mut [f32]) {
    match kind {
        BlockType::F16 => wide(FromF16 { out, words: bytemuck::cast_slice(bytes) }),
        BlockType::Bf16 => wide(FromBf16 { out, words: bytemuck::cast_slice(bytes) }),
        _ => wide(FromBlocks { out, kind, bytes }),
    }
}

struct FromBlocks<'a> {
    out: &'a mut [f32],
    kind: BlockType,
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
