//! Blocks to f32, exactly as ggml's reference widens them (`dequantize_row_*` in `ggml-quants.c`, and the
//! `gguf` package's `quants.py`): each product and sum is rounded to f32 in the same order.
//!
//! All is `inline(always)` and there are no closures, which may be left outside: so it is compiled for the vector
//! unit of whoever calls [`widen`].

use super::BlockType;
use half::f16;

/// A loop over whole blocks.
macro_rules! each {
    ($widen:ident, $blocks:expr, $out:expr) => {
        for (block, out) in $blocks.as_chunks().0.iter().zip($out.as_chunks_mut().0) {
            $widen(block, out);
        }
    };
}

/// Widens whole blocks; `out` has an element for each of theirs.
#[inline(always)]
pub fn widen(kind: BlockType, blocks: &[u8], out: &mut [f32]) {
    debug_assert_eq!(blocks.len() / kind.bytes() * kind.elements(), out.len());
    match kind {
        BlockType::F32 => each!(whole, blocks, out),
        BlockType::F16 => each!(half, blocks, out),
        BlockType::Bf16 => each!(brain, blocks, out),
        BlockType::Q4_0 => each!(q4_0, blocks, out),
        BlockType::Q4_1 => each!(q4_1, blocks, out),
        BlockType::Q5_0 => each!(q5_0, blocks, out),
        BlockType::Q5_1 => each!(q5_1, blocks, out),
        BlockType::Q8_0 => each!(q8_0, blocks, out),
        BlockType::Q4K => each!(q4_k, blocks, out),
        BlockType::Q5K => each!(q5_k, blocks, out),
        BlockType::Q6K => each!(q6_k, blocks, out),
    }
}

#[inline(always)]
fn whole(b: &[u8; 4], out: &mut [f32; 1]) {
    out[0] = f32::from_le_bytes(*b);
}

#[inline(always)]
fn half(b: &[u8; 2], out: &mut [f32; 1]) {
    out[0] = half_at(b, 0);
}

#[inline(always)]
fn brain(b: &[u8; 2], out: &mut [f32; 1]) {
    out[0] = f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16);
}

/// The F16 at byte `at`.
#[inline(always)]
fn half_at(block: &[u8], at: usize) -> f32 {
    // The fields, shifted to f32's places, read as the number times 2^(15 − 127), subnormals included.
    const SCALE: f32 = f32::from_bits((127 + 112) << 23);
    let bits = u16::from_le_bytes([block[at], block[at + 1]]);
    if bits & 0x7c00 == 0x7c00 {
        return f16::from_bits(bits).to_f32(); // not finite
    }
    let magnitude = f32::from_bits(u32::from(bits & 0x7fff) << 13) * SCALE;
    f32::from_bits(magnitude.to_bits() | u32::from(bits & 0x8000) << 16)
}

/// N numbers in N / 2 bytes from byte `at`: element i in the low half of byte i, and element i + N / 2 in the
/// high half.
#[inline(always)]
fn nibbles<const N: usize>(block: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    let (low, high) = out.split_at_mut(N / 2);
    for ((low, high), byte) in low.iter_mut().zip(high).zip(&block[at..at + N / 2]) {
        (*low, *high) = (byte & 15, byte >> 4);
    }
    out
}

/// 32 numbers of five bits: the fifth ones in four bytes from byte `at`, the others after them.
#[inline(always)]
fn fives(block: &[u8], at: usize) -> [u8; 32] {
    let fifth = u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    let mut out = nibbles(block, at + 4);
    for (i, q) in out.iter_mut().enumerate() {
        *q |= ((fifth >> i & 1) << 4) as u8;
    }
    out
}

#[inline(always)]
fn q4_0(b: &[u8; 18], out: &mut [f32; 32]) {
    let scale = half_at(b, 0);
    for (out, q) in out.iter_mut().zip(nibbles::<32>(b, 2)) {
        *out = f32::from(q as i8 - 8) * scale;
    }
}

#[inline(always)]
fn q4_1(b: &[u8; 20], out: &mut [f32; 32]) {
    let (scale, least) = (half_at(b, 0), half_at(b, 2));
    for (out, q) in out.iter_mut().zip(nibbles::<32>(b, 4)) {
        *out = f32::from(q) * scale + least;
    }
}

#[inline(always)]
fn q5_0(b: &[u8; 22], out: &mut [f32; 32]) {
    let scale = half_at(b, 0);
    for (out, q) in out.iter_mut().zip(fives(b, 2)) {
        *out = f32::from(q as i8 - 16) * scale;
    }
}

#[inline(always)]
fn q5_1(b: &[u8; 24], out: &mut [f32; 32]) {
    let (scale, least) = (half_at(b, 0), half_at(b, 2));
    for (out, q) in out.iter_mut().zip(fives(b, 4)) {
        *out = f32::from(q) * scale + least;
    }
}

#[inline(always)]
fn q8_0(b: &[u8; 34], out: &mut [f32; 32]) {
    let scale = half_at(b, 0);
    for (out, &q) in out.iter_mut().zip(&b[2..]) {
        *out = f32::from(q as i8) * scale;
    }
}

/// The scale and the least value of one of the eight groups of a block, each 6 bits (ggml's
/// `get_scale_min_k4`).
#[inline(always)]
fn group(b: &[u8], group: usize) -> (f32, f32) {
    let packed = &b[4..16];
    let (s, m) = if group < 4 {
        (packed[group] & 63, packed[group + 4] & 63)
    } else {
        let both = packed[group + 4];
        (both & 15 | packed[group - 4] >> 6 << 4, both >> 4 | packed[group] >> 6 << 4)
    };
    (half_at(b, 0) * f32::from(s), half_at(b, 2) * f32::from(m))
}

/// 32 bytes from byte `at` hold two groups of 32 elements, one in their low halves and the next in their high
/// ones, and so on; bit g of byte i of `fifths` is the fifth one of element i of group g.
#[inline(always)]
fn groups(b: &[u8], at: usize, fifths: &[u8; 32], out: &mut [f32; 256]) {
    for (pair, out) in out.as_chunks_mut::<64>().0.iter_mut().enumerate() {
        let quants = nibbles::<64>(b, at + 32 * pair);
        for half in [0, 1] {
            let number = 2 * pair + half;
            let (scale, least) = group(b, number);
            for i in 0..32 {
                let q = quants[32 * half + i] | (fifths[i] >> number & 1) << 4;
                out[32 * half + i] = scale * f32::from(q) - least;
            }
        }
    }
}

#[inline(always)]
fn q4_k(b: &[u8; 144], out: &mut [f32; 256]) {
    groups(b, 16, &[0; 32], out);
}

#[inline(always)]
fn q5_k(b: &[u8; 176], out: &mut [f32; 256]) {
    let mut fifths = [0; 32];
    fifths.copy_from_slice(&b[16..48]);
    groups(b, 48, &fifths, out);
}

#[inline(always)]
fn q6_k(b: &[u8; 210], out: &mut [f32; 256]) {
    let scale = half_at(b, 208);
    for (run, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        // Each half of a block: 64 bytes of low bits, 32 of high ones; 4 parts of 32 elements.
        let (half, part, at) = (run / 8, run % 8 / 2, 16 * (run % 2));
        let low = &b[64 * half + 32 * (part % 2) + at..][..16];
        let high = &b[128 + 32 * half + at..][..16];
        let scale = scale * f32::from(b[192 + run] as i8);
        for i in 0..16 {
            let q = low[i] >> (4 * (part / 2)) & 15 | (high[i] >> (2 * part) & 3) << 4;
            out[i] = scale * f32::from(q as i8 - 32);
        }
    }
}
