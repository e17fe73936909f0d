//! The CPU twins of `shaders/widen.wgsl` and `shaders/widen_blocks.wgsl`: threads over words or blocks.

use std::ops::Range;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use srft_formats::model::gguf::{self, BlockType};

use super::{Layout, StoredLinear, Widen};
use crate::cpu::{dense, f32s, i32s, tensor};
use crate::matmul::few::{self, InBf16, InF16, LowRank, Number, Numbers};
use crate::matmul::product;
use crate::vector::wide;

/// Numbers that a task takes at a time.
const CHUNK: usize = 1 << 15;

/// Most rows of x for which halves are widened in registers, which costs bfloat16 two instructions and f16 seven.
const BF16_LINES: usize = 16;
const F16_LINES: usize = 4;

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
        let out = product_few(f32s(&x), &words, layout, LowRank::NONE);
        tensor(out, [x.layout().shape()[0], layout.rows])
    }
}

/// x·Wᵀ of a large stored matrix, and what is added to it.
pub fn product_few(x: &[f32], words: &FlexTensor, layout: Layout, low: LowRank<'_>) -> Vec<f32> {
    let matrix = Blocks { bytes: layout.bytes_in(i32s(words)), layout };
    few::product_with(x, &matrix, low)
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

    fn some<'a>(
        &'a self,
        rows: Range<usize>,
        lines: usize,
        scratch: &'a mut Vec<f32>,
    ) -> Numbers<'a> {
        let width = self.layout.row_bytes();
        let bytes = &self.bytes[rows.start * width..rows.end * width];
        match self.layout.kind {
            BlockType::Bf16 if lines <= BF16_LINES => Numbers::Bf16(bytemuck::cast_slice(bytes)),
            BlockType::F16 if lines <= F16_LINES => Numbers::F16(bytemuck::cast_slice(bytes)),
            kind => {
                scratch.resize(rows.len() * self.layout.columns, 0.0);
                widen(kind, bytes, scratch);
                Numbers::F32(scratch)
            }
        }
    }
}

/// Widens blocks on the widest vector unit.
fn widen(kind: BlockType, bytes: &[u8], out: &mut [f32]) {
    match kind {
        BlockType::F16 => wide(FromHalves::<InF16> { out, halves: bytemuck::cast_slice(bytes) }),
        BlockType::Bf16 => wide(FromHalves::<InBf16> { out, halves: bytemuck::cast_slice(bytes) }),
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

struct FromHalves<'a, T: Number> {
    out: &'a mut [f32],
    halves: &'a [T::Unit],
}

impl<T: Number> WithSimd for FromHalves<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (out, &half) in self.out.iter_mut().zip(self.halves) {
            *out = T::widened(half);
        }
    }
}
