//! The CPU twin of `shaders/matmul_nt.wgsl` and `shaders/matmul_few.wgsl`: burn's own product.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;

use super::{FewRows, MatmulNt, transposed};

impl MatmulNt for Flex {
    fn matmul_nt(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        Self::float_matmul(a, transposed::<Self>(b))
    }
}

impl FewRows for Flex {
    fn few_nt(x: FlexTensor, weight: FlexTensor) -> FlexTensor {
        Self::matmul_nt(x, weight)
    }
}
