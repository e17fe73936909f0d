//! GGUF, the file that llama.cpp and Ollama read: metadata by key, then tensors in blocks.
//! Source: ggml's `docs/gguf.md`; the blocks are those of `ggml-common.h`.

mod blocks;
mod config;
mod container;
mod files;
mod keys;
pub mod names;
pub mod pre;
pub mod quantise;
mod special;
mod tensors;
#[cfg(test)]
mod tests;
mod tokenizer;
pub mod write;

pub use blocks::widen;
pub use container::{Container, List, Metadata, Stored, Value, is_gguf};
pub use files::Files;
pub use tensors::Model;

/// How a tensor's elements are stored: blocks of so many elements in so many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are ggml's")]
pub enum BlockType {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
}

/// (type, ggml's number of it, its name, elements of a block, bytes of a block)
const TYPES: [(BlockType, u32, &str, usize, usize); 11] = [
    (BlockType::F32, 0, "F32", 1, 4),
    (BlockType::F16, 1, "F16", 1, 2),
    (BlockType::Q4_0, 2, "Q4_0", 32, 18),
    (BlockType::Q4_1, 3, "Q4_1", 32, 20),
    (BlockType::Q5_0, 6, "Q5_0", 32, 22),
    (BlockType::Q5_1, 7, "Q5_1", 32, 24),
    (BlockType::Q8_0, 8, "Q8_0", 32, 34),
    (BlockType::Q4K, 12, "Q4_K", 256, 144),
    (BlockType::Q5K, 13, "Q5_K", 256, 176),
    (BlockType::Q6K, 14, "Q6_K", 256, 210),
    (BlockType::Bf16, 30, "BF16", 1, 2),
];

impl BlockType {
    /// The type of that number, if it is one that srft reads.
    pub fn of_number(number: u32) -> Option<Self> {
        TYPES.iter().find(|row| row.1 == number).map(|row| row.0)
    }

    fn row(self) -> &'static (Self, u32, &'static str, usize, usize) {
        TYPES.iter().find(|row| row.0 == self).expect("every type has a row")
    }

    /// ggml's number of the type.
    pub fn number(self) -> u32 {
        self.row().1
    }

    /// As llama.cpp writes it.
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// Whether its elements share scales, so that one cannot change alone.
    pub fn is_quantised(self) -> bool {
        self.elements() > 1
    }

    /// The names of all types.
    pub fn names() -> String {
        TYPES.map(|row| row.2).join(", ")
    }

    /// Elements of a block, along a row.
    pub fn elements(self) -> usize {
        self.row().3
    }

    /// Bytes of a block.
    pub fn bytes(self) -> usize {
        self.row().4
    }

    /// Where the 16-bit scales of a block are, in bytes. While they are finite, all its numbers are.
    pub fn scales(self) -> &'static [usize] {
        match self {
            Self::F32 => &[],
            Self::F16 | Self::Bf16 | Self::Q4_0 | Self::Q5_0 | Self::Q8_0 => &[0],
            Self::Q4_1 | Self::Q5_1 | Self::Q4K | Self::Q5K => &[0, 2],
            Self::Q6K => &[208],
        }
    }

    /// The first element of the first block with a scale that is not finite; F32 has no scales.
    pub fn first_not_finite(self, blocks: &[u8]) -> Option<usize> {
        let exponent = if self == Self::Bf16 { 0x7f80 } else { 0x7c00 };
        let broken = |block: &[u8]| {
            let scale = |&at: &usize| u16::from_le_bytes([block[at], block[at + 1]]);
            self.scales().iter().map(scale).any(|bits| bits & exponent == exponent)
        };
        Some(blocks.chunks_exact(self.bytes()).position(broken)? * self.elements())
    }
}
