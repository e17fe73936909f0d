//! A matrix of the model as it is held: in f32, or frozen in another form.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Int, Tensor};

use super::layout::Layout;
use super::matmul::matmul_nt;

/// How a matrix [Out, In] is held.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a model has a few hundred, and most are whole")]
pub enum Weight {
    /// In f32, as every weight that trains.
    Whole(Tensor<2>),
    /// Frozen, in a form other than f32.
    Frozen(Arc<dyn FrozenMatrix>),
}

/// A matrix that does not train, held in a form other than f32. A trait, so that a page, which has none, is
/// built without them.
pub trait FrozenMatrix: Debug + Send + Sync {
    /// [Out, In].
    fn dims(&self) -> [usize; 2];

    /// x [N, In] → x·Wᵀ [N, Out], differentiable in x.
    fn linear(&self, x: Tensor<2>) -> Tensor<2>;

    /// Its bytes in words, and how they lie.
    fn stored(&self) -> (Tensor<1, Int>, Layout);

    /// The matrix in f32, [Out, In].
    fn widen(&self) -> Tensor<2>;

    /// Rows `rows` `[N]` in f32, [N, In].
    fn select(&self, rows: Tensor<1, Int>) -> Tensor<2>;

    /// Some of its rows; nothing is copied.
    fn part(&self, rows: Range<usize>) -> Arc<dyn FrozenMatrix>;
}

impl Weight {
    /// [Out, In].
    pub fn dims(&self) -> [usize; 2] {
        match self {
            Self::Whole(weight) => weight.dims(),
            Self::Frozen(weight) => weight.dims(),
        }
    }

    /// The matrix in f32, [Out, In]; it may be tracked by autodiff.
    pub fn widen(&self) -> Tensor<2> {
        match self {
            Self::Whole(weight) => weight.clone(),
            Self::Frozen(weight) => weight.widen(),
        }
    }

    /// Rows `rows` `[N]` in f32, [N, In].
    pub fn select(&self, rows: Tensor<1, Int>) -> Tensor<2> {
        match self {
            Self::Whole(weight) => weight.clone().select(0, rows),
            Self::Frozen(weight) => weight.select(rows),
        }
    }

    /// Some of its rows; nothing is copied.
    pub fn part(&self, rows: Range<usize>) -> Self {
        match self {
            _ if rows == (0..self.dims()[0]) => self.clone(),
            Self::Whole(weight) => Self::Whole(weight.clone().slice(rows)),
            Self::Frozen(weight) => Self::Frozen(weight.part(rows)),
        }
    }

    /// x [N, In] → x·Wᵀ [N, Out], for many rows of x, without a gradient of its own.
    pub fn product(&self, x: Tensor<2>) -> Tensor<2> {
        matmul_nt(x, self.widen())
    }

    /// The same without autodiff.
    pub fn inner(self) -> Self {
        match self {
            Self::Whole(weight) => Self::Whole(weight.inner()),
            frozen => frozen,
        }
    }
}

impl From<Tensor<2>> for Weight {
    fn from(weight: Tensor<2>) -> Self {
        Self::Whole(weight)
    }
}
