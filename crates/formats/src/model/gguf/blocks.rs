//! Blocks to f32, exactly as ggml's reference widens them (`dequantize_row_*` in `ggml-quants.c`, and the
//! `gguf` package's `quants.py`): each product and sum is rounded to f32 in the same order.

use super::BlockType;
use half::{bf16, f16};

/// Widens whole blocks; `out` has an element for each of theirs.
pub fn widen(kind: BlockType, blocks: &[u8], out: &mut [f32]) {
    debug_assert_eq!(blocks.len() / kind.bytes() * kind.elements(), out.len());
    let mut each = |block: fn(&[u8], &mut [f32])| {
        let pairs = blocks.chunks_exact(kind.bytes()).zip(out.chunks_exact_mut(kind.elements()));
        pairs.for_each(|(bytes, out)| block(bytes, out));
    };
    match kind {
        BlockType::F32 => each(|b, out| out[0] = f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        BlockType::F16 => each(|b, out| out[0] = half_at(b, 0)),
        BlockType::Bf16 => each(|b, out| out[0] = bf16::from_le_bytes([b[0], b[1]]).to_f32()),
        BlockType::Q4_0 => each(q4_0),
        BlockType::Q4_1 => each(q4_1),
        BlockType::Q5_0 => each(q5_0),
        BlockType::Q5_1 => each(q5_1),
        BlockType::Q8_0 => each(q8_0),
        BlockType::Q4K => each(q4_k),
        BlockType::Q5K => each(q5_k),
        BlockType::Q6K => each(q6_k),
    }
}

/// The F16 at byte `at`.
fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// 16 bytes with element i in the low half of byte i, and element i + 16 in the high half.
fn nibbles(bytes: &[u8], out: &mut [f32], widen: impl Fn(usize, u8) -> f32) {
    let (low, high) = out.split_at_mut(bytes.len());
    for (i, &byte) in bytes.iter().enumerate() {
        low[i] = widen(i, byte & 15);
        high[i] = widen(i + bytes.len(), byte >> 4);
    }
}

/// The fifth bit of element i, as 16 where it is set.
fn fifth(bits: &[u8]) -> impl Fn(usize) -> u8 + use<> {
    let bits = u32::from_le_bytes([bits[0], bits[1], bits[2], bits[3]]);
    move |i| ((bits >> i & 1) << 4) as u8
}

fn q4_0(b: &[u8], out: &mut [f32]) {
    let scale = half_at(b, 0);
    nibbles(&b[2..], out, |_, q| f32::from(q as i8 - 8) * scale);
}

fn q4_1(b: &[u8], out: &mut [f32]) {
    let (scale, least) = (half_at(b, 0), half_at(b, 2));
    nibbles(&b[4..], out, |_, q| f32::from(q) * scale + least);
}

fn q5_0(b: &[u8], out: &mut [f32]) {
    let (scale, fifth) = (half_at(b, 0), fifth(&b[2..]));
    nibbles(&b[6..], out, |i, q| f32::from((q | fifth(i)) as i8 - 16) * scale);
}

fn q5_1(b: &[u8], out: &mut [f32]) {
    let (scale, least, fifth) = (half_at(b, 0), half_at(b, 2), fifth(&b[4..]));
    nibbles(&b[8..], out, |i, q| f32::from(q | fifth(i)) * scale + least);
}

fn q8_0(b: &[u8], out: &mut [f32]) {
    let scale = half_at(b, 0);
    for (out, &q) in out.iter_mut().zip(&b[2..]) {
        *out = f32::from(q as i8) * scale;
    }
}

/// The scale and the least value of the eight groups of a block, each 6 bits (ggml's `get_scale_min_k4`).
fn groups(b: &[u8]) -> impl Fn(usize) -> (f32, f32) + use<'_> {
    let (scale, least, packed) = (half_at(b, 0), half_at(b, 2), &b[4..16]);
    move |group| {
        let (s, m) = if group < 4 {
            (packed[group] & 63, packed[group + 4] & 63)
        } else {
            let both = packed[group + 4];
            (both & 15 | packed[group - 4] >> 6 << 4, both >> 4 | packed[group] >> 6 << 4)
        };
        (scale * f32::from(s), least * f32::from(m))
    }
}

/// 32 bytes hold two groups of 32 elements, one in their low halves and the next in their high ones.
fn pairs_of_groups(b: &[u8], quants: &[u8], out: &mut [f32], fifth: impl Fn(usize, usize) -> u8) {
    let groups = groups(b);
    for (pair, (bytes, out)) in quants.chunks_exact(32).zip(out.chunks_exact_mut(64)).enumerate() {
        let halves = [groups(2 * pair), groups(2 * pair + 1)];
        nibbles(bytes, out, |i, q| {
            let (scale, least) = halves[i / 32];
            scale * f32::from(q | fifth(2 * pair + i / 32, i % 32)) - least
        });
    }
}

fn q4_k(b: &[u8], out: &mut [f32]) {
    pairs_of_groups(b, &b[16..], out, |_, _| 0);
}

fn q5_k(b: &[u8], out: &mut [f32]) {
    let bits = &b[16..48];
    pairs_of_groups(b, &b[48..], out, |group, i| (bits[i] >> group & 1) << 4);
}

fn q6_k(b: &[u8], out: &mut [f32]) {
    let (low, high, scales, scale) = (&b[..128], &b[128..192], &b[192..208], half_at(b, 208));
    for (i, out) in out.iter_mut().enumerate() {
        // Each half of a block: 64 bytes of low bits, 32 of high ones; 4 runs of 32 elements.
        let (part, run, at) = (i / 128, i % 128 / 32, i % 32);
        let four = low[64 * part + 32 * (run % 2) + at] >> (4 * (run / 2)) & 15;
        let two = high[32 * part + at] >> (2 * run) & 3;
        let scale = scale * f32::from(scales[i / 16] as i8);
        *out = scale * f32::from((four | two << 4) as i8 - 32);
    }
}
