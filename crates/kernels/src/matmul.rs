//! Products of matrices by their rows, a·bᵀ: what linear layers and attention scores are made of.
//!
//! Natively burn's own product does it, which chooses among many kernels for many vendors. Those
//! are a fifth of the browser's download, so there `shaders/matmul_nt.wgsl` does it: one kernel for
//! every shape. [`mod@reference`] is the oracle of both.

pub mod reference;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor};
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{DType, Tensor};

use super::cube::{self, Shader};

/// Whether [`kernel`] makes all products, where burn's would be too much to download.
const ONE_KERNEL: bool = cfg!(target_family = "wasm");

/// a [.., M, K], b [.., N, K] → a·bᵀ [.., M, N], differentiable in both; the leading dimensions are
/// the same. Views are as welcome as dense tensors.
pub fn matmul_nt<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    if ONE_KERNEL { kernel(a, b) } else { a.matmul(b.swap_dims(D - 2, D - 1)) }
}

/// The same of a backend's own tensors, without a graph.
pub(super) fn product<B: MatmulNt>(a: FloatTensor<B>, b: FloatTensor<B>) -> FloatTensor<B> {
    if ONE_KERNEL { B::matmul_nt(a, b) } else { B::float_matmul(a, transposed::<B>(b)) }
}

/// [`matmul_nt`] by `shaders/matmul_nt.wgsl` wherever it runs; on the CPU backend burn's product.
pub fn kernel<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::matmul_nt(a.into_dispatch(), b.into_dispatch()))
}

/// The operation behind [`kernel`].
#[backend_extension(Cube, Flex, Autodiff)]
pub trait MatmulNt: Backend {
    /// See [`kernel`].
    fn matmul_nt(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl MatmulNt for Flex {
    fn matmul_nt(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        Self::float_matmul(a, transposed::<Self>(b))
    }
}

impl<B: MatmulNt, C: CheckpointStrategy> MatmulNt for Autodiff<B, C> {
    fn matmul_nt(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct MatmulNtBackward;

        impl<B: MatmulNt> Backward<B, 2> for MatmulNtBackward {
            type State = [FloatTensor<B>; 2];

            /// ∂L/∂a = g·b and ∂L/∂b = gᵀ·a, for the upstream gradient g [.., M, N].
            fn backward(
                self,
                ops: Ops<Self::State, 2>,
                grads: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let g = grads.consume::<B>(&ops.node);
                let [a, b] = ops.state;
                let [for_a, for_b] = ops.parents;
                if let Some(parent) = for_a {
                    let b = transposed::<B>(b);
                    grads.register::<B>(parent.id, B::matmul_nt(g.clone(), b));
                }
                if let Some(parent) = for_b {
                    let (g, a) = (transposed::<B>(g), transposed::<B>(a));
                    grads.register::<B>(parent.id, B::matmul_nt(g, a));
                }
            }
        }

        let ((a, a_node), (b, b_node)) = (a.into_parts(), b.into_parts());
        let output = B::matmul_nt(a.clone(), b.clone());
        let node = MatmulNtBackward.prepare::<C>([a_node, b_node]).compute_bound();
        match node.stateful() {
            OpsKind::Tracked(prep) => prep.finish([a, b], output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

fn transposed<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let rank = x.rank();
    B::float_swap_dims(x, rank - 2, rank - 1)
}

/// Workgroups that keep a GPU busy: as long as there are fewer, tiles are small and sums are split.
const BUSY: usize = 128;
/// A part of a sum is worth a workgroup of its own from this many terms on.
const PART: usize = 256;
/// Most terms of a part: lavapipe ends an invocation's loops after 65,535 turns, silently.
const LONGEST: usize = 16_384;

impl MatmulNt for CubeBackend {
    fn matmul_nt(a: CubeTensor, b: CubeTensor) -> CubeTensor {
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
        let out = if parts == 1 { out } else { Self::float_sum_dim(out, 0) };
        Self::float_reshape(out, shape)
    }
}

/// A tensor [.., lines, k] as one batch of matrices.
struct Matrices {
    tensor: CubeTensor,
    /// Of the batch, a line, k.
    sizes: [usize; 3],
    /// In elements.
    strides: [usize; 3],
}

impl Matrices {
    /// The tensor as it lies, if one stride leads from each matrix to the next; else a copy.
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
