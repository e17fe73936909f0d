//! The CPU twin of all shaders for products: burn's own product.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;

use super::{MatmulNt, Way, transposed};

impl MatmulNt for Flex {
    fn matmul_nt(a: FlexTensor, b: FlexTensor, _: Way) -> FlexTensor {
        Self::float_matmul(a, transposed::<Self>(b))
    }
}
