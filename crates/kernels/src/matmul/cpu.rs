//! The CPU twin of `shaders/matmul_nt.wgsl`: burn's own product.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;

use super::{MatmulNt, transposed};

impl MatmulNt for Flex {
    fn matmul_nt(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        Self::float_matmul(a, transposed::<Self>(b))
    }
}
