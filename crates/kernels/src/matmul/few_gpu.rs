//! The launchers of `shaders/matmul_few.wgsl` and `shaders/add_parts.wgsl`.

use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::backend::wgpu::{CubeBackend, CubeTensor};
use burn::tensor::{DType, Shape};

use super::gpu::LONGEST;
use crate::cube::{self, Shader, WORKGROUP};
use crate::layout::Layout;
use std::borrow::Cow;

/// Workgroups that keep a GPU busy: with fewer, sums are split.
const BUSY: usize = 256;
/// Columns that a workgroup makes of many rows.
const COLUMNS: usize = 32;
/// Fewest terms of a sum that are worth a workgroup of their own.
const SHORTEST: usize = 128;
/// A part is whole slabs of 32 terms.
const SLAB: usize = 32;

/// Matrices that a dispatch binds.
const MATRICES: usize = 3;

/// x [M, K] → the parts of its product with matrices, one above the other, and `low` [R, K] below them, [P, M, N + R].
/// K is a multiple of 4.
pub fn products(
    x: CubeTensor,
    matrices: &[(CubeTensor, Layout)],
    low: Option<&CubeTensor>,
) -> CubeTensor {
    let x = cube::dense(x);
    let [rows, depth] = [x.shape()[0], x.shape()[1]];
    assert!(depth.is_multiple_of(4), "a row of {depth} is not whole vectors");
    assert!(matrices.iter().all(|(_, w)| w.columns == depth), "what a product sums over");
    let of_low = low.map_or(0, |low| low.shape()[0]);
    let width = matrices.iter().map(|(_, w)| w.rows).sum::<usize>() + of_low;
    let [parts, part] = split(width, depth);
    // Rows and columns of a workgroup, in fours.
    let [down, across] = match rows {
        0..=4 => [1, 32],
        5..=16 => [4, 16],
        _ => [16, 8],
    };
    let out = cube::empty(&x, [parts, rows, width], DType::F32);
    let alike = matrices.chunk_by(|(_, a), (_, b)| a.kind == b.kind);
    let together: Vec<_> = alike.flat_map(|alike| alike.chunks(MATRICES)).collect();
    let mut begin = 0;
    for (index, some) in together.iter().enumerate() {
        let kind = some[0].1.kind;
        let shader = Shader::new("matmul_few", srft_shaders::MATMUL_FEW)
            .with("kind", kind.number())
            .with("bytes", kind.bytes())
            .with("matrices", some.len())
            .with("rows", down);
        let shader = Shader { workgroup: (down * across) as u32, ..shader };
        let (mut columns, mut first) = ([0; MATRICES + 1], [0; MATRICES + 1]);
        for (i, (_, layout)) in some.iter().enumerate() {
            (columns[i], first[i]) = (layout.rows, layout.first);
        }
        let made: usize = columns.iter().sum();
        // The last dispatch makes the columns of `low`, too.
        let low = low.filter(|_| index + 1 == together.len());
        columns[MATRICES] = low.map_or(0, |_| of_low);
        let tiles: usize = columns.iter().map(|columns| columns.div_ceil(4 * across)).sum();
        let sizes = [rows, depth / 4, part / 4, parts, width, begin];
        let info: Vec<u32> =
            columns.into_iter().chain(first).chain(sizes).map(|n| n as u32).collect();
        let words = |i: usize| match some.get(i) {
            Some((words, _)) => Cow::Borrowed(words),
            None => cube::unread(&some[0].0),
        };
        let (second, third) = (words(1), words(2));
        let low = low.map_or_else(|| cube::unread(&x), Cow::Borrowed);
        let buffers = [&x, &some[0].0, &*second, &*third, &*low, &out];
        cube::launch(shader, rows.div_ceil(4 * down) * tiles * parts, &buffers, &info);
        begin += made;
    }
    out
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
pub fn add_parts(parts: CubeTensor) -> CubeTensor {
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
