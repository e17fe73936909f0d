//! The launchers of `shaders/matmul_few.wgsl` and `shaders/add_parts.wgsl`.

use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::backend::wgpu::{CubeBackend, CubeTensor};
use burn::tensor::{DType, Shape};
use srft_formats::model::gguf::BlockType;

use super::FewRows;
use super::gpu::LONGEST;
use crate::cube::{self, Shader, WORKGROUP};

/// Workgroups that keep a GPU busy: with fewer, sums are split.
const BUSY: usize = 256;
/// Columns that a workgroup makes of many rows.
const COLUMNS: usize = 32;
/// Fewest terms of a sum that are worth a workgroup of their own.
const SHORTEST: usize = 128;
/// A part is whole slabs of 32 terms.
const SLAB: usize = 32;

/// A matrix [N, K] among rows as their file stores them; K is a multiple of 4.
pub struct Stored<'a> {
    /// The bytes of the rows.
    pub words: &'a CubeTensor,
    /// The type of their blocks.
    pub kind: BlockType,
    /// Its first row among them.
    pub first: usize,
    /// N, K.
    pub dims: [usize; 2],
}

impl FewRows for CubeBackend {
    fn few_nt(x: CubeTensor, weight: CubeTensor) -> CubeTensor {
        let weight = cube::dense(weight);
        let dims = [weight.shape()[0], weight.shape()[1]];
        product(x, &Stored { words: &weight, kind: BlockType::F32, first: 0, dims })
    }
}

/// x [M, K] → x·Wᵀ [M, N].
pub fn product(x: CubeTensor, weight: &Stored<'_>) -> CubeTensor {
    let x = cube::dense(x);
    let ([rows, depth], [columns, of_weight]) = ([x.shape()[0], x.shape()[1]], weight.dims);
    assert_eq!(depth, of_weight, "what a product sums over");
    assert!(depth.is_multiple_of(4), "a row of {depth} is not whole vectors");
    let [parts, part] = split(columns, depth);
    // Rows and columns of a workgroup, in fours.
    let [down, across] = match rows {
        0..=4 => [1, 32],
        5..=16 => [4, 16],
        _ => [16, 8],
    };
    let out = cube::empty(&x, [parts, rows, columns], DType::F32);
    let shader = Shader::new("matmul_few", srft_shaders::MATMUL_FEW)
        .with("kind", weight.kind.number())
        .with("bytes", weight.kind.bytes())
        .with("rows", down);
    let shader = Shader { workgroup: (down * across) as u32, ..shader };
    let groups = rows.div_ceil(4 * down) * columns.div_ceil(4 * across) * parts;
    let info = [rows, columns, depth / 4, part / 4, parts, weight.first].map(|n| n as u32);
    cube::launch(shader, groups, &[&x, weight.words, &out], &info);
    add_parts(out)
}

/// How many parts a sum of `depth` terms has, and the terms of each. That depends on the matrix alone, not on
/// the rows that it is multiplied with, so neither do a row's bits.
fn split(columns: usize, depth: usize) -> [usize; 2] {
    let wanted = BUSY.div_ceil(columns.div_ceil(COLUMNS).max(1));
    let parts = wanted.min(depth / SHORTEST).max(depth.div_ceil(LONGEST)).max(1);
    let part = depth.div_ceil(parts).next_multiple_of(SLAB);
    [depth.div_ceil(part), part]
}

/// parts [P, M, N] → their sum [M, N].
fn add_parts(parts: CubeTensor) -> CubeTensor {
    let shape = parts.shape();
    let (count, of_one) = (shape[0], Shape::new([shape[1], shape[2]]));
    if count == 1 {
        return CubeBackend::float_reshape(parts, of_one);
    }
    let out = cube::empty(&parts, of_one, DType::F32);
    let elements = shape[1] * shape[2];
    let shader = Shader::new("add_parts", srft_shaders::ADD_PARTS);
    let groups = elements.div_ceil(WORKGROUP as usize);
    cube::launch(shader, groups, &[&parts, &out], &[elements as u32, count as u32]);
    out
}
