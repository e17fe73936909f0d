//! Which kernel computes a product on a GPU.

use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::backend::wgpu::{CubeBackend, CubeTensor};
use srft_formats::model::gguf::BlockType;

use super::many_gpu::{self, Matrix, Product, Tile};
use super::{MatmulNt, ONE_KERNEL, Way, few_gpu, gpu, transposed, units_gpu};
use crate::adapter::{self, Kind, Units};
use crate::cube;
use crate::layout::Layout;

/// So many rows or columns are few.
const FEW: usize = 64;

impl Product {
    /// The way of this product on an adapter, with its matrix units if they are in use. It depends on nothing else, not on what else is computed, so the bits are
    /// the same from run to run.
    pub fn way(self, kind: Kind, units: Option<Units>) -> Way {
        let by_lines = !self.a_by_k && !self.b_by_k && self.depth.is_multiple_of(4);
        if let Some(units) = units.filter(|units| self.suits(*units)) {
            Way::Units(units)
        } else if kind == Kind::Software {
            Way::Burn
        } else if by_lines && self.rows.min(self.columns) <= FEW {
            Way::Few
        } else if self.in_fours() {
            Way::Tiles(self.tile(kind))
        } else {
            Way::Burn
        }
    }

    /// The small tile where a large one would be mostly empty, or where large ones, with their sums split, would be
    /// too few.
    fn tile(self, kind: Kind) -> Tile {
        let narrow = self.rows.min(self.columns) <= Tile::Small.side();
        let most = Tile::Large.count(self) * (self.depth / many_gpu::SHORTEST).max(1);
        match kind == Kind::Discrete && !narrow && most >= kind.busy() {
            true => Tile::Large,
            false => Tile::Small,
        }
    }
}

impl MatmulNt for CubeBackend {
    fn matmul_nt(a: CubeTensor, b: CubeTensor, way: Way) -> CubeTensor {
        if ONE_KERNEL {
            return gpu::product(a, b);
        }
        let kind = adapter::kind(&a);
        let columns = b.shape()[b.rank() - 2];
        adapter::make_room(&a, kind, 2 * (a.shape().num_elements() * columns) as u64);
        let burns = |a, b| Self::float_matmul(a, transposed::<Self>(b));
        if way == Way::OneKernel {
            return gpu::product(a, b);
        }
        let units = adapter::units(&a);
        let is_burns = kind == Kind::Software && units.is_none() && way == Way::ByShape;
        if way == Way::Burn || is_burns || a.rank() != 2 {
            return burns(a, b);
        }
        let (a, b) = (Matrix::of(a), Matrix::of(b));
        let product = Product {
            rows: a.lines,
            columns: b.lines,
            depth: a.depth,
            a_by_k: a.by_k,
            b_by_k: b.by_k,
        };
        match if way == Way::ByShape { product.way(kind, units) } else { way } {
            Way::Few => few(a, b),
            Way::Tiles(tile) => many_gpu::product(a, b, product, tile),
            Way::Units(units) => units_gpu::product(a, b, units),
            _ => burns(a.tensor, b.tensor),
        }
    }
}

/// By the decoding step's kernel, which reads both along k.
fn few(a: Matrix, b: Matrix) -> CubeTensor {
    let layout = Layout { kind: BlockType::F32, first: 0, rows: b.lines, columns: b.depth };
    few_gpu::add_parts(few_gpu::products(a.tensor, &[(cube::dense(b.tensor), layout)], None))
}
