//! The launcher of `shaders/matmul_many.wgsl`.

use burn::backend::TensorMetadata;
use burn::backend::wgpu::CubeTensor;
use burn::tensor::DType;

use super::few_gpu::add_parts;
use super::gpu::LONGEST;
use crate::adapter::{self, Kind};
use crate::cube::{self, Shader};

/// Fewest terms of a sum that are worth a workgroup of their own.
pub const SHORTEST: usize = 256;
/// A part is whole slabs: of 16 k with the large tile, of 32 with the small one.
const SLAB: usize = 32;

/// The sizes of a product, and how its matrices lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Product {
    /// M, the rows of a.
    pub rows: usize,
    /// N, the rows of b.
    pub columns: usize,
    /// K.
    pub depth: usize,
    /// Whether a lies as [K, M], for it is a view of that.
    pub a_by_k: bool,
    /// Whether b lies as [K, N].
    pub b_by_k: bool,
}

impl Product {
    /// Whether `shaders/matmul_many.wgsl` can read and write it four numbers at a time.
    pub fn in_fours(self) -> bool {
        let dense = |by_k, lines| if by_k { lines } else { self.depth };
        [dense(self.a_by_k, self.rows), dense(self.b_by_k, self.columns), self.columns]
            .iter()
            .all(|n: &usize| n.is_multiple_of(4))
    }
}

/// Rows and columns of what a workgroup computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tile {
    /// 128 × 128: fewest reads of memory.
    Large,
    /// 64 × 64: for small GPUs, and for products of which a large one would be mostly empty.
    Small,
}

impl Tile {
    /// Its rows.
    pub fn side(self) -> usize {
        match self {
            Self::Large => 128,
            Self::Small => 64,
        }
    }

    /// How many make up a product.
    pub fn count(self, product: Product) -> usize {
        product.rows.div_ceil(self.side()) * product.columns.div_ceil(self.side())
    }
}

/// A matrix [lines, k] whose elements are without gaps.
pub struct Matrix {
    /// [lines, k].
    pub tensor: CubeTensor,
    /// M of a, N of b.
    pub lines: usize,
    /// K.
    pub depth: usize,
    /// Whether it lies as [k, lines].
    pub by_k: bool,
}

impl Matrix {
    /// The tensor itself if it is dense either way round, else a dense copy.
    pub fn of(tensor: CubeTensor) -> Self {
        let (shape, strides) = (tensor.shape(), tensor.meta.strides());
        let (lines, depth) = (shape[0], shape[1]);
        let by_k = lines > 1 && strides[0] == 1 && (strides[1] == lines || depth == 1);
        let tensor = if by_k { tensor } else { cube::dense(tensor) };
        Self { tensor, lines, depth, by_k }
    }
}

/// a [M, K], b [N, K] → a·bᵀ [M, N].
pub fn product(a: Matrix, b: Matrix, product: Product, tile: Tile) -> CubeTensor {
    let Product { rows, columns, depth, a_by_k, b_by_k } = product;
    assert_eq!(depth, b.depth, "what a product sums over");
    assert!(product.in_fours(), "{product:?} isn't whole vectors");
    let tiles = tile.count(product);
    let [parts, part] = split(tiles, depth, LONGEST, adapter::kind(&a.tensor));

    let out = cube::empty(&a.tensor, [parts, rows, columns], DType::F32);
    let shader = Shader::new("matmul_many", srft_shaders::MATMUL_MANY)
        .with("a_by_k", a_by_k)
        .with("b_by_k", b_by_k)
        .with("tile", tile.side());
    let info = [rows, columns, depth, part, parts].map(|n| n as u32);
    cube::launch(shader, tiles * parts, &[&a.tensor, &b.tensor, &out], &info);
    add_parts(out)
}

/// How many parts a sum of `depth` terms has, and the terms of each, where so many workgroups make one part.
pub fn split(groups: usize, depth: usize, longest: usize, kind: Kind) -> [usize; 2] {
    let wanted = (kind.busy() / groups.max(1)).min(depth / SHORTEST);
    let wanted = wanted.max(depth.div_ceil(longest)).max(1);
    let part = depth.div_ceil(wanted).next_multiple_of(SLAB);
    [depth.div_ceil(part).max(1), part]
}
