//! Stored weights in plain loops and f64: the oracle of `shaders/widen.wgsl`, `shaders/widen_blocks.wgsl` and
//! of their CPU twins. Source: IEEE 754, and `dequantize_row_*` in ggml's `ggml-quants.c`.

use super::BlockType;

/// The numbers of whole blocks.
pub fn widen(bytes: &[u8], kind: BlockType) -> Vec<f64> {
    bytes.chunks_exact(kind.bytes()).flat_map(|block| numbers(block, kind)).collect()
}

/// The numbers of one block.
fn numbers(block: &[u8], kind: BlockType) -> Vec<f64> {
    let half = |at: usize| binary16(u16::from_le_bytes([block[at], block[at + 1]]));
    // Two numbers a byte: the first 16 in the low halves of 16 bytes, the others in the high ones.
    let nibbles = |bytes: &[u8]| -> Vec<u8> {
        bytes.iter().map(|b| b & 15).chain(bytes.iter().map(|b| b >> 4)).collect()
    };
    match kind {
        BlockType::F32 => vec![f64::from(f32::from_le_bytes(block.try_into().expect("4 bytes")))],
        BlockType::F16 => vec![half(0)],
        BlockType::Bf16 => vec![bfloat16(u16::from_le_bytes([block[0], block[1]]))],
        BlockType::Q8_0 => block[2..].iter().map(|&q| half(0) * f64::from(q as i8)).collect(),
        BlockType::Q4_0 => {
            nibbles(&block[2..]).into_iter().map(|q| half(0) * (f64::from(q) - 8.0)).collect()
        }
        BlockType::Q4_1 => {
            nibbles(&block[4..]).into_iter().map(|q| half(0) * f64::from(q) + half(2)).collect()
        }
        BlockType::Q5_0 => fifths(nibbles(&block[6..]), &block[2..6])
            .map(|q| half(0) * (f64::from(q) - 16.0))
            .collect(),
        BlockType::Q5_1 => fifths(nibbles(&block[8..]), &block[4..8])
            .map(|q| half(0) * f64::from(q) + half(2))
            .collect(),
        BlockType::Q4K | BlockType::Q5K => {
            let low = if kind == BlockType::Q4K { &block[16..] } else { &block[48..] };
            let mut out = Vec::with_capacity(256);
            for (pair, bytes) in low.chunks_exact(32).enumerate() {
                for part in [2 * pair, 2 * pair + 1] {
                    let (scale, least) = six_bits(&block[4..16], part);
                    for (l, byte) in bytes.iter().enumerate() {
                        let mut q = if part % 2 == 0 { byte & 15 } else { byte >> 4 };
                        if kind == BlockType::Q5K {
                            q += 16 * (block[16 + l] >> part & 1);
                        }
                        out.push(half(0) * scale * f64::from(q) - half(2) * least);
                    }
                }
            }
            out
        }
        BlockType::Q6K => {
            let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
            let mut out = vec![0.0; 256];
            for n in [0, 1] {
                for l in 0..32 {
                    let (a, b, h) = (low[64 * n + l], low[64 * n + 32 + l], high[32 * n + l]);
                    let q = [a & 15, b & 15, a >> 4, b >> 4];
                    for (quarter, q) in q.into_iter().enumerate() {
                        let q = f64::from(q | (h >> (2 * quarter) & 3) << 4) - 32.0;
                        let scale = scales[8 * n + 2 * quarter + l / 16] as i8;
                        out[128 * n + 32 * quarter + l] = half(208) * f64::from(scale) * q;
                    }
                }
            }
            out
        }
    }
}

/// Each number with its fifth bit, which are the bits of a little-endian word.
fn fifths(low: Vec<u8>, high: &[u8]) -> impl Iterator<Item = u8> {
    let word = u32::from_le_bytes(high.try_into().expect("4 bytes"));
    low.into_iter().enumerate().map(move |(i, q)| q | ((word >> i & 1) as u8) << 4)
}

/// Scale and least of one of the eight parts of a block of 256, 6 bits each in 12 bytes.
fn six_bits(packed: &[u8], part: usize) -> (f64, f64) {
    let (scale, least) = match part {
        0..4 => (packed[part] & 63, packed[part + 4] & 63),
        _ => (
            packed[part + 4] & 15 | packed[part - 4] >> 6 << 4,
            packed[part + 4] >> 4 | packed[part] >> 6 << 4,
        ),
    };
    (f64::from(scale), f64::from(least))
}

fn binary16(bits: u16) -> f64 {
    number(bits, 10, 15)
}

fn bfloat16(bits: u16) -> f64 {
    number(bits, 7, 127)
}

/// (−1)^sign · 1.fraction · 2^(exponent − bias), or 0.fraction · 2^(1 − bias) below the normal range.
fn number(bits: u16, fraction_bits: u32, bias: i32) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let fraction = f64::from(bits & ((1 << fraction_bits) - 1)) / f64::from(1 << fraction_bits);
    match (bits & 0x7fff) >> fraction_bits {
        0 => sign * fraction * 2f64.powi(1 - bias),
        exponent => sign * (1.0 + fraction) * 2f64.powi(i32::from(exponent) - bias),
    }
}
