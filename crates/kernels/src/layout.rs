//! How a matrix that stays as its file stores it lies in 32-bit words.

use std::ops::Range;

use srft_formats::model::gguf::BlockType;

/// How a matrix lies in its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The type of its blocks; a number in half precision is a block of one.
    pub kind: BlockType,
    /// Its first row among those in the words.
    pub first: usize,
    /// Out.
    pub rows: usize,
    /// In.
    pub columns: usize,
}

impl Layout {
    /// Some of its rows.
    pub(crate) fn part(self, rows: Range<usize>) -> Self {
        assert!(rows.end <= self.rows, "rows {rows:?} of {}", self.rows);
        Self { first: self.first + rows.start, rows: rows.len(), ..self }
    }

    pub(crate) fn row_bytes(self) -> usize {
        self.columns / self.kind.elements() * self.kind.bytes()
    }

    /// The bytes of its rows.
    pub(crate) fn bytes_in(self, words: &[i32]) -> &[u8] {
        let width = self.row_bytes();
        &bytemuck::cast_slice(words)[self.first * width..][..self.rows * width]
    }
}
