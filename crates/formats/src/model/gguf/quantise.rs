//! Numbers into blocks, bit for bit as ggml does it (`ggml_fp32_to_fp16`, `ggml_fp32_to_bf16`,
//! `quantize_row_q8_0_ref`); `tests/golden/gguf` has what its Python package makes of the same numbers.

use super::BlockType;
use crate::error::{Error, Result};
use half::{bf16, f16};

/// The types that can be written.
pub const WRITTEN: [BlockType; 4] =
    [BlockType::F32, BlockType::F16, BlockType::Bf16, BlockType::Q8_0];

/// Q8_0 stores a block's numbers as whole multiples of a scale, up to this one.
const MOST: f32 = 127.0;

/// Appends the blocks of whole rows, which must be finite. A number too large for the type is an error.
pub fn append(values: &[f32], kind: BlockType, bytes: &mut Vec<u8>) -> Result<()> {
    match kind {
        BlockType::F32 => bytes.extend(values.iter().flat_map(|v| v.to_le_bytes())),
        BlockType::Bf16 => {
            bytes.extend(values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()));
        }
        BlockType::F16 => {
            for &value in values {
                bytes.extend(in_f16(value, value)?);
            }
        }
        BlockType::Q8_0 => {
            for block in values.chunks_exact(kind.elements()) {
                append_q8_0(block, bytes)?;
            }
        }
        other => unreachable!("{} is only read", other.name()),
    }
    Ok(())
}

/// A scale, then a whole number from -127 to 127 for each number.
fn append_q8_0(block: &[f32], bytes: &mut Vec<u8>) -> Result<()> {
    let largest = block.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    let scale = largest / MOST;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    bytes.extend(in_f16(scale, largest)?);
    bytes.extend(block.iter().map(|x| (x * inverse).round() as i8 as u8));
    Ok(())
}

/// A number in half precision; `holds` is the one that the error names.
fn in_f16(value: f32, holds: f32) -> Result<[u8; 2]> {
    let half = f16::from_f32(value);
    match half.is_finite() {
        true => Ok(half.to_le_bytes()),
        false => Err(Error::numbers(format!("{holds} is more than F16 can hold"))
            .next("write it as bf16 or f32")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(values: &[f32], kind: BlockType) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        append(values, kind, &mut bytes).map(|()| bytes)
    }

    #[test]
    fn blocks_have_their_size_and_what_is_too_large_is_named() {
        for kind in WRITTEN {
            let bytes = written(&[0.5; 64], kind).unwrap();
            assert_eq!(bytes.len(), 64 / kind.elements() * kind.bytes(), "{}", kind.name());
        }
        for (value, kind, fits) in [
            (65_504.0, BlockType::F16, true),
            (70_000.0, BlockType::F16, false),
            (1e6, BlockType::Q8_0, true),
            (1e7, BlockType::Q8_0, false),
            (1e30, BlockType::Bf16, true),
        ] {
            let mut values = [0.0; 32];
            values[7] = -value;
            let result = written(&values, kind);
            assert_eq!(result.is_ok(), fits, "{value} {}", kind.name());
            if let Err(error) = result {
                assert!(error.what.contains(&format!("{value}")), "{error}");
            }
        }
    }

    /// Half way between two whole numbers, away from 0; a block of zeros has the scale 0.
    #[test]
    fn q8_0_rounds_as_c_does() {
        let mut block = [0.0; 32];
        (block[0], block[1], block[2], block[3]) = (127.0, 2.5, -2.5, 0.49);
        let bytes = written(&block, BlockType::Q8_0).unwrap();
        assert_eq!(bytes[..6], [0x00, 0x3c, 127, 3, 253, 0]);
        assert_eq!(written(&[0.0; 32], BlockType::Q8_0).unwrap(), [0; 34]);
    }
}
