//! The launchers of `shaders/units_pack.wgsl` and `shaders/matmul_units.wgsl`.

use burn::backend::wgpu::CubeTensor;
use burn::tensor::DType;

use super::few_gpu::add_parts;
use super::many_gpu::{Matrix, Product, split};
use crate::adapter::{self, Units};
use crate::cube::{self, Shader};

/// Lines that a workgroup packs.
const LINES: usize = 16;
/// Fewest rows, columns and terms of a sum that pay for packing.
const LEAST: usize = 128;
/// Most bytes of a packed matrix: what every adapter binds.
const BOUND: usize = 128 << 20;
/// Most terms in a part: lavapipe silently ends an invocation's loops after 65,535 turns, of which the twin has 97 for
/// 16 terms.
const LONGEST: usize = 8192;

impl Product {
    /// Whether it is large enough for matrix units, and its matrices fit into a buffer.
    pub fn suits(self, units: Units) -> bool {
        let largest = self.rows.max(self.columns).next_multiple_of(2 * units.size);
        let bytes = largest * self.depth.next_multiple_of(units.size) * bytes(units);
        self.rows.min(self.columns).min(self.depth) >= LEAST && bytes <= BOUND
    }
}

/// Bytes of a number.
fn bytes(units: Units) -> usize {
    if units.split { 4 } else { 2 }
}

/// a [M, K], b [N, K] → a·bᵀ [M, N].
pub fn product(a: Matrix, b: Matrix, units: Units) -> CubeTensor {
    assert_eq!(a.depth, b.depth, "what a product sums over");
    let (rows, columns, side) = (a.lines, b.lines, 2 * units.size);
    let depth = a.depth.next_multiple_of(units.size);
    let [least, most] = units.subgroup;
    let tiles = rows.div_ceil(side) * columns.div_ceil(side);
    let groups = tiles.div_ceil(Units::WORKGROUP / most);
    let [parts, part] = split(groups, depth, LONGEST, adapter::kind(&a.tensor));

    let (name, source) = match units.twin {
        false => ("matmul_units", srft_shaders::MATMUL_UNITS),
        true => ("matmul_units_twin", srft_shaders::MATMUL_UNITS_TWIN),
    };
    let shader = Shader::new(name, source)
        .with("split", units.split)
        .with("size", units.size)
        .with("subgroups", Units::WORKGROUP / least);
    let shader = Shader { workgroup: Units::WORKGROUP as u32, ..shader };
    let out = cube::empty(&a.tensor, [parts, rows, columns], DType::F32);
    let ([a, a_scales], [b, b_scales]) = (packed(&a, units), packed(&b, units));
    let info = [rows, columns, depth, part, parts, groups].map(|n| n as u32);
    cube::launch(shader, groups * parts, &[&a, &b, &a_scales, &b_scales, &out], &info);
    add_parts(out)
}

/// A matrix in f16, and the lines' scales.
fn packed(matrix: &Matrix, units: Units) -> [CubeTensor; 2] {
    let lines = matrix.lines.next_multiple_of(2 * units.size);
    let depth = matrix.depth.next_multiple_of(units.size);
    let words = cube::empty(&matrix.tensor, [lines * depth * bytes(units) / 4], DType::U32);
    let scales = cube::empty(&matrix.tensor, [lines], DType::F32);
    let shader = Shader::new("units_pack", srft_shaders::UNITS_PACK)
        .with("by_k", matrix.by_k)
        .with("split", units.split);
    let info = [matrix.lines, matrix.depth, lines, depth].map(|n| n as u32);
    cube::launch(shader, lines / LINES, &[&matrix.tensor, &words, &scales], &info);
    [words, scales]
}
