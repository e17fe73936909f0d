//! A matrix with a row for each token: the embedding, or the head.

use super::ParameterMut;
use crate::ops::fused::runs_on;
use crate::ops::weight::Weight;
use burn::tensor::{Device, Int, Tensor};

/// Largest block in memory, bytes: by default WebGPU binds at most 128 MiB.
const BLOCK_BYTES: usize = 64 << 20;
/// Largest part in f32 that a product of the CPU backend takes: a frozen table is widened by parts.
const CPU_PART_BYTES: usize = 8 << 20;

/// Bytes of the largest part of a frozen table that is widened for a product.
pub fn part_bytes(on_cpu: bool) -> usize {
    if on_cpu { CPU_PART_BYTES } else { BLOCK_BYTES }
}

/// V rows of D numbers, in blocks of rows.
#[derive(Debug, Clone)]
pub struct Table {
    dims: [usize; 2],    // V, D
    blocks: Vec<Weight>, // to be filled: until then one has no memory
    block_rows: usize,   // of all but the last
    part_rows: usize,    // a block is whole parts, so the parts are the same however it is held
    block_bytes: usize,
}

impl Table {
    /// A table to be filled.
    pub fn empty(dims: [usize; 2], device: &Device) -> Self {
        Self::cut(dims, BLOCK_BYTES, part_bytes(runs_on(device)), device)
    }

    fn cut(dims: [usize; 2], block_bytes: usize, part_bytes: usize, device: &Device) -> Self {
        let row_bytes = size_of::<f32>() * dims[1];
        let part_rows = (part_bytes / row_bytes).max(1);
        let mut table = Self { dims, blocks: Vec::new(), block_rows: 0, part_rows, block_bytes };
        table.block_rows = table.rows_within(row_bytes);
        let blocks = 0..dims[0].div_ceil(table.block_rows);
        table.blocks = blocks.map(|_| Weight::Whole(Tensor::zeros([1, 1], device))).collect();
        table
    }

    /// V, D.
    pub fn dims(&self) -> [usize; 2] {
        self.dims
    }

    /// Rows of a block, for rows of so many bytes.
    pub fn rows_within(&self, row_bytes: usize) -> usize {
        (self.block_bytes / (self.part_rows * row_bytes)).max(1) * self.part_rows
    }

    /// Replaces the blocks by frozen ones of `block_rows` rows, the last of fewer.
    pub fn freeze(&mut self, blocks: Vec<Weight>, block_rows: usize) {
        (self.blocks, self.block_rows) = (blocks, block_rows);
    }

    /// Appends the blocks that are in f32.
    pub fn collect<'a>(&'a mut self, name: &str, list: &mut Vec<ParameterMut<'a>>) {
        let ([rows, columns], block_rows) = (self.dims, self.block_rows);
        for (index, block) in self.blocks.iter_mut().enumerate() {
            let first_row = index * block_rows;
            let Weight::Whole(tensor) = block else { continue };
            list.push(ParameterMut {
                name: name.into(),
                shape: vec![rows, columns],
                first_row,
                block_shape: [block_rows.min(rows - first_row), columns],
                tensor,
            });
        }
    }

    /// The rows of tokens `[N]`, [N, D].
    pub fn select(&self, tokens: Tensor<1, Int>) -> Tensor<2> {
        if let [whole] = self.blocks.as_slice() {
            return whole.select(tokens);
        }
        // Each block looks up the ids whose rows it has; rows of other ids are masked to 0.
        let mut first = 0;
        let mut sum: Option<Tensor<2>> = None;
        for block in &self.blocks {
            let rows = block.dims()[0];
            let local = tokens.clone().sub_scalar(first as i32);
            let inside =
                local.clone().greater_equal_elem(0).bool_and(local.clone().lower_elem(rows as i32));
            let found = block.select(local.clamp(0, rows as i32 - 1));
            let found = found * inside.float().unsqueeze_dim(1);
            sum = Some(match sum {
                Some(sum) => sum + found,
                None => found,
            });
            first += rows;
        }
        sum.expect("a vocabulary has at least one block")
    }

    /// The blocks, as they are held.
    pub fn blocks(&self) -> Vec<Weight> {
        self.blocks.clone()
    }

    /// Its rows in the parts that products take.
    pub fn parts(&self) -> Vec<Weight> {
        let of = |block: &Weight| {
            let (block, rows, most) = (block.clone(), block.dims()[0], self.part_rows);
            (0..rows).step_by(most).map(move |first| block.part(first..rows.min(first + most)))
        };
        self.blocks.iter().flat_map(of).collect()
    }

    /// Puts the table in f32.
    pub fn widen(&mut self, device: &Device) {
        let part_bytes = self.part_rows * size_of::<f32>() * self.dims[1];
        let mut whole = Self::cut(self.dims, self.block_bytes, part_bytes, device);
        for (first, block) in whole.blocks.iter_mut().enumerate() {
            let first = first * whole.block_rows;
            let rows = first..self.dims[0].min(first + whole.block_rows);
            let parts = self.parts().into_iter().skip(first / self.part_rows);
            let parts = parts.take(rows.len().div_ceil(self.part_rows));
            *block = Weight::Whole(Tensor::cat(parts.map(|part| part.widen()).collect(), 0));
        }
        *self = whole;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::stored::{BlockType, StoredMatrix};
    use std::sync::Arc;

    fn floats(tensor: Tensor<2>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    /// 11 rows of 64 numbers, 256 bytes in f32 and 68 as stored, in parts of two: f32 in blocks of four.
    #[test]
    fn a_frozen_table_has_the_parts_of_the_one_in_f32() {
        let device = Device::flex();
        let bytes: Vec<u8> = (0..22u8)
            .flat_map(|block| (0..34u8).map(move |i| if i == 1 { 0x1c } else { 7 * i + block }))
            .collect();
        for (block_bytes, stored_rows) in [(1100, 16), (300, 4), (100, 2)] {
            let mut table = Table::cut([11, 64], block_bytes, 600, &device);
            let rows = table.rows_within(68);
            assert_eq!(rows, stored_rows);
            let blocks = bytes.chunks(68 * rows).map(|bytes| {
                let matrix = StoredMatrix::new(bytes, BlockType::Q8_0, bytes.len() / 68, &device);
                Weight::Frozen(Arc::new(matrix.unwrap()))
            });
            table.freeze(blocks.collect(), rows);
            let mut list = Vec::new();
            table.collect("t", &mut list);
            assert!(list.is_empty());
            let mut whole = table.clone();
            whole.widen(&device);
            let mut list = Vec::new();
            whole.collect("t", &mut list);
            assert_eq!(list.iter().map(|p| p.block_shape[0]).sum::<usize>(), 11);
            assert_eq!(list.len(), if block_bytes > 1000 { 3 } else { 6 });
            let of = |table: &Table| -> Vec<Vec<f32>> {
                table.parts().into_iter().map(|part| floats(part.widen())).collect()
            };
            assert_eq!(of(&table), of(&whole));
            assert_eq!(of(&table).len(), 6);
            let all = of(&whole).concat();
            let ids = [10, 0, 3, 4, 7, 8, 10];
            let expected: Vec<f32> =
                ids.iter().flat_map(|&id| all[64 * id as usize..][..64].to_vec()).collect();
            for table in [&table, &whole] {
                assert_eq!(floats(table.select(Tensor::from_ints(ids, &device))), expected);
            }
        }
    }
}
