//! The launcher of `shaders/matmul_nt.wgsl`.

use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::backend::wgpu::{CubeBackend, CubeTensor};
use burn::tensor::DType;

use crate::cube::{self, Shader};

/// Workgroups that keep a GPU busy: with fewer, tiles are made smaller and sums are split.
const BUSY: usize = 128;
/// Fewest terms that are worth a workgroup of their own when a sum is split.
const PART: usize = 256;
/// Most terms in a part: lavapipe silently ends an invocation's loops after 65,535 iterations.
pub(super) const LONGEST: usize = 16_384;

/// a [.., M, K], b [.., N, K] → a·bᵀ [.., M, N].
pub(super) fn product(a: CubeTensor, b: CubeTensor) -> CubeTensor {
    let (a, b) = (Matrices::of(a), Matrices::of(b));
    let [batch, rows, depth] = a.sizes;
    let [_, columns, b_depth] = b.sizes;
    let mut shape = a.tensor.shape();
    let last = shape.len() - 1;
    assert_eq!(shape[..last - 1], b.tensor.shape()[..last - 1], "batches of a product");
    assert_eq!(depth, b_depth, "what a product sums over");
    shape[last] = columns;

    let tiles = |side: usize| batch * rows.div_ceil(4 * side) * columns.div_ceil(4 * side);
    let side = if tiles(16) >= BUSY { 16 } else { 8 };
    let wanted = (BUSY / tiles(side).max(1)).min(depth / PART).max(depth.div_ceil(LONGEST));
    let part = depth.div_ceil(wanted.max(1)).max(1);
    let parts = depth.div_ceil(part).max(1);

    let out = cube::empty(&a.tensor, [parts, shape.num_elements()], DType::F32);
    let mut info = [batch, rows, columns, depth, parts, part].to_vec();
    info.extend(a.strides.iter().chain(&b.strides));
    let info: Vec<u32> = info.into_iter().map(|n| n as u32).collect();
    let source = srft_shaders::MATMUL_NT;
    let shader = Shader::new("matmul_nt", source).with("side", side);
    let shader = Shader { workgroup: (side * side) as u32, ..shader };
    cube::launch(shader, tiles(side) * parts, &[&a.tensor, &b.tensor, &out], &info);
    let out = if parts == 1 { out } else { CubeBackend::float_sum_dim(out, 0) };
    CubeBackend::float_reshape(out, shape)
}

/// A tensor [.., lines, k] as one batch of matrices.
struct Matrices {
    tensor: CubeTensor,
    /// Matrices, lines of each, k.
    sizes: [usize; 3],
    /// Elements from one to the next: of matrices, of lines, of k.
    strides: [usize; 3],
}

impl Matrices {
    /// The tensor itself if one stride leads from each matrix to the next, else a dense copy.
    fn of(tensor: CubeTensor) -> Self {
        let stride = batch_stride(&tensor);
        let tensor = if stride.is_some() { tensor } else { cube::dense(tensor) };
        let (shape, strides) = (tensor.shape(), tensor.meta.strides().to_vec());
        let last = shape.len() - 1;
        let (lines, depth) = (shape[last - 1], shape[last]);
        Self {
            sizes: [shape[..last - 1].iter().product(), lines, depth],
            strides: [stride.unwrap_or(lines * depth), strides[last - 1], strides[last]],
            tensor,
        }
    }
}

/// The stride from each matrix to the next, if there is one.
fn batch_stride(tensor: &CubeTensor) -> Option<usize> {
    let (shape, strides) = (tensor.shape(), tensor.meta.strides());
    let mut dims = (0..shape.len() - 2).rev().filter(|&i| shape[i] > 1);
    let Some(last) = dims.next() else { return Some(0) }; // a single matrix
    let mut expected = strides[last] * shape[last];
    for i in dims {
        if strides[i] != expected {
            return None;
        }
        expected *= shape[i];
    }
    Some(strides[last])
}
