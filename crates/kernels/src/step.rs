//! The kernels of a decoding step on a native GPU: products that stay in parts until the next kernel sums them, and
//! what comes between products in one kernel each. A layer is eight dispatches where burn's operations are
//! a hundred.
//!
//! Matrices that multiply the same rows are one product: q, k and v, or gate and up. Their adapters' A are more of its
//! columns, and the kernel that sums the parts adds B's share, so an adapted layer has no dispatch more, and frozen
//! weights stay as they are stored. A row's bits depend on no other row.
//!
//! On the CPU and in a page a step is composed of the other operations; they are the oracle here.

mod gpu;
pub mod reference;

use burn::backend::wgpu::CubeTensor;
use burn::tensor::{Int, Tensor};
use srft_formats::model::Activation;

use crate::cube::{self, Shader};
use crate::layout::Layout;
use crate::matmul::few_gpu;
use crate::stored::BlockType;
use crate::weight::Weight;
use std::borrow::Cow;

/// A matrix of the model with what it adds to its product.
#[derive(Debug, Clone)]
pub struct Term {
    /// W, [N, K].
    pub weight: Weight,
    /// b, [1, N].
    pub bias: Option<Tensor<2>>,
    /// A [r, K], B [N, r] and the scale s of an adapter, which adds s·x·Aᵀ·Bᵀ.
    pub adapter: Option<(Tensor<2>, Tensor<2>, f64)>,
}

impl From<Weight> for Term {
    fn from(weight: Weight) -> Self {
        Self { weight, bias: None, adapter: None }
    }
}

/// Matrices that multiply the same rows, as one product.
#[derive(Debug)]
pub struct Joined {
    matrices: Vec<(CubeTensor, Layout)>,
    low: Option<CubeTensor>, // A of each, [n·r, K]
    added: Added,
}

/// What is added to a product, and how its columns lie.
#[derive(Debug)]
pub struct Added {
    words: Option<CubeTensor>, // the biases [N], then s·Bᵀ [r, N]
    biased: bool,
    rank: usize,
    matrices: usize, // n
    columns: usize,  // N
}

impl Added {
    /// Nothing, to a product of `columns`.
    pub fn nothing(columns: usize) -> Self {
        Self { words: None, biased: false, rank: 0, matrices: 1, columns }
    }
}

impl Joined {
    /// None if the rows are not whole vectors of four numbers, which the kernels read.
    ///
    /// # Panics
    /// If the matrices differ in K, or adapters in rank.
    pub fn new(terms: &[Term]) -> Option<Self> {
        let depth = terms[0].weight.dims()[1];
        assert!(terms.iter().all(|term| term.weight.dims()[1] == depth), "rows of {depth}");
        if !depth.is_multiple_of(4) {
            return None;
        }
        let matrices: Vec<_> = terms.iter().map(|term| as_stored(&term.weight)).collect();
        let rows = |term: &Term| term.weight.dims()[0];
        let rank = |term: &Term| term.adapter.as_ref().map(|(a, ..)| a.dims()[0]);
        let rank = terms.iter().find_map(rank).unwrap_or(0);
        let biased = terms.iter().any(|term| term.bias.is_some());
        let (mut low, mut words) = (None, None);
        if biased || rank > 0 {
            let device = terms.iter().find_map(|term| {
                let adapter = term.adapter.as_ref().map(|(a, ..)| a);
                term.bias.as_ref().or(adapter).map(Tensor::device)
            });
            let device = device.expect("one of them").without_autodiff();
            let zeros = |shape: [usize; 2]| Tensor::<2>::zeros(shape, &device);
            let mut pieces = Vec::new();
            if biased {
                let of = |term: &Term| term.bias.clone().unwrap_or_else(|| zeros([1, rows(term)]));
                pieces.push(Tensor::cat(terms.iter().map(of).collect(), 1));
            }
            if rank > 0 {
                let up = |term: &Term| match &term.adapter {
                    Some((_, up, scale)) => up.clone().transpose() * *scale,
                    None => zeros([rank, rows(term)]),
                };
                pieces.push(Tensor::cat(terms.iter().map(up).collect(), 1));
                let down = |term: &Term| match &term.adapter {
                    Some((down, ..)) => down.clone(),
                    None => zeros([rank, depth]),
                };
                low = Some(on_gpu(Tensor::cat(terms.iter().map(down).collect(), 0)));
            }
            words = Some(on_gpu(Tensor::cat(pieces, 0))); // [0 or 1 + r, N]
        }
        let columns = terms.iter().map(rows).sum();
        let added = Added { words, biased, rank, matrices: terms.len(), columns };
        Some(Self { matrices, low, added })
    }

    /// x [M, K] → x·Wᵀ, to be summed.
    pub fn product(&self, x: Tensor<2>) -> Parts<'_> {
        let parts = few_gpu::products(on_gpu(x), &self.matrices, self.low.as_ref());
        Parts { parts, added: &self.added }
    }

    /// Words that a kernel keeps of the adapters.
    pub fn low_words(&self) -> usize {
        self.added.low_words()
    }
}

impl Added {
    fn low_words(&self) -> usize {
        (self.matrices * self.rank).max(1)
    }
}

/// A product in parts.
#[derive(Debug)]
pub struct Parts<'a> {
    parts: CubeTensor, // [P, M, N + n·r]
    added: &'a Added,
}

impl<'a> Parts<'a> {
    /// A product [M, N] in one part.
    pub fn whole(product: Tensor<2>, added: &'a Added) -> Self {
        let [rows, columns] = product.dims();
        let parts = product.without_autodiff().reshape([1, rows, columns]);
        Self { parts: cube::buffer(parts), added }
    }

    /// M.
    pub fn rows(&self) -> usize {
        self.parts.meta.shape()[1]
    }

    /// N.
    pub fn columns(&self) -> usize {
        self.added.columns
    }

    /// The product itself, [M, N]; there is nothing to be added to it.
    pub fn sum(self) -> Tensor<2> {
        assert!(self.added.words.is_none(), "a head has neither bias nor adapter");
        cube::tensor(few_gpu::add_parts(self.parts))
    }

    /// act(gate)·up [M, F] of gate and up.
    pub fn gated(self, activation: Activation) -> Tensor<2> {
        cube::tensor(gpu::glu(&self, activation))
    }

    /// Adds the product to the residual stream x [M, D]; gives it and its norm.
    pub fn into_stream(self, x: Tensor<2>, norms: &Norms) -> [Tensor<2>; 2] {
        gpu::norm(Some(&self), on_gpu(x), norms).map(cube::tensor)
    }

    /// A shader that takes the product: with its template's parameters for `settled.wgsl`.
    pub(crate) fn taken_by(&self, shader: Shader) -> Shader {
        let Added { biased, rank, matrices, .. } = *self.added;
        shader.with("biased", biased).with("rank", rank).with("matrices", matrices)
    }

    /// The first words of such a shader's `info`.
    pub(crate) fn info(&self) -> [u32; 4] {
        let shape = self.parts.meta.shape();
        [shape[1], shape[2], shape[0], self.added.columns].map(|n| n as u32)
    }

    /// Its first two buffers. What is bound where nothing is added is not read.
    pub(crate) fn buffers(&self) -> [Cow<'_, CubeTensor>; 2] {
        let added = self.added.words.as_ref().map(Cow::Borrowed);
        [Cow::Borrowed(&self.parts), added.unwrap_or_else(|| cube::unread(&self.parts))]
    }

    pub(crate) fn low_words(&self) -> usize {
        self.added.low_words()
    }
}

/// The norms at the end of a block of a layer.
#[derive(Debug)]
pub struct Norms {
    weights: CubeTensor, // [1 or 2, D]
    after: bool,
    epsilon: f32,
}

impl Norms {
    /// `after` is of what is added to the stream, if that goes through a norm; `next` is of the stream. [1, D] each, as
    /// they multiply.
    pub fn new(after: Option<Tensor<2>>, next: Tensor<2>, epsilon: f32) -> Self {
        let weights = after.clone().into_iter().chain([next]).collect();
        Self { weights: on_gpu(Tensor::cat(weights, 0)), after: after.is_some(), epsilon }
    }

    /// The norm of the stream x [M, D], to which nothing is added.
    pub fn of(&self, x: Tensor<2>) -> [Tensor<2>; 2] {
        gpu::norm(None, on_gpu(x), self).map(cube::tensor)
    }
}

/// A table of tokens' rows, in blocks.
#[derive(Debug)]
pub struct Embedding {
    blocks: Vec<(CubeTensor, Layout)>, // [V, D] in all
    factor: f32,
}

impl Embedding {
    /// D is a multiple of 4; rows are multiplied by `factor`.
    pub fn new(blocks: &[Weight], factor: f32) -> Self {
        Self { blocks: blocks.iter().map(as_stored).collect(), factor }
    }

    /// The rows of tokens `[M]`, [M, D].
    pub fn rows(&self, tokens: Tensor<1, Int>) -> Tensor<2> {
        let tokens = cube::buffer(tokens);
        cube::tensor(gpu::embed(&self.blocks, &tokens, self.factor))
    }
}

/// A matrix's bytes, and how they lie.
fn as_stored(weight: &Weight) -> (CubeTensor, Layout) {
    match weight {
        Weight::Whole(weight) => {
            let [rows, columns] = weight.dims();
            let layout = Layout { kind: BlockType::F32, first: 0, rows, columns };
            (on_gpu(weight.clone()), layout)
        }
        Weight::Frozen(weight) => {
            let (words, layout) = weight.stored();
            (cube::buffer(words), layout)
        }
    }
}

fn on_gpu(x: Tensor<2>) -> CubeTensor {
    cube::buffer(x.without_autodiff())
}
