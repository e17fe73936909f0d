//! y = x·Wᵀ with W in Hugging Face's layout [Out, In].
//!
//! For the forward pass burn's own product would do. The fused form gives ∂L/∂W dense and in W's
//! layout (dyᵀ·x), where burn's would be a transposed view that every later operation copies.

use super::cpu::{dense, f32s, tensor};
use super::fused::{self, FusedOp};
use super::matmul::{few, matmul_nt};
use super::stored::cpu::product_few;
use super::weight::Weight;
use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::Tensor;

/// x [N, In], weight [Out, In] → x·weightᵀ [N, Out].
pub fn linear(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    if !fused::runs_on(&x.device()) {
        return matmul_nt(x, weight);
    }
    if x.is_autodiff() && !weight.is_autodiff() {
        let weight = weight.try_into_primitive::<Flex>().expect("a tensor of the CPU backend");
        return fused::run(FrozenLinear { weight: dense(weight) }, [x]);
    }
    fused::run(Linear, [x, weight])
}

/// [`linear`] with a weight held in any form.
pub fn linear_by(x: Tensor<2>, weight: &Weight) -> Tensor<2> {
    match weight {
        Weight::Whole(weight) => linear(x, weight.clone()),
        Weight::Frozen(weight) => weight.linear(x),
    }
}

/// x·Wᵀ + scale·x·Aᵀ·Bᵀ without a gradient, on the CPU, where it is one product over In and r together; `None`
/// elsewhere, and for a small W. `down` is A [r, In], `up` B [Out, r].
pub fn adapted(
    x: &Tensor<2>,
    weight: &Weight,
    [down, up]: [&Tensor<2>; 2],
    scale: f64,
) -> Option<Tensor<2>> {
    const HERE: &str = "a tensor of the CPU backend";
    let dims = weight.dims();
    if x.is_autodiff() || !fused::runs_on(&x.device()) || !few::suits(dims) {
        return None;
    }
    let host = |x: &Tensor<2>| dense(x.clone().try_into_primitive::<Flex>().expect(HERE));
    let (values, down_values, up_values) = (host(x), host(down), host(up));
    let x_values = f32s(&values);
    let down_rows = few::InF32 { values: f32s(&down_values), dims: down.dims() };
    let mut low = few::product(x_values, &down_rows);
    low.iter_mut().for_each(|u| *u *= scale as f32);
    let low = few::LowRank { x: &low, weight: f32s(&up_values), columns: down.dims()[0] };
    let out = match weight {
        Weight::Whole(weight) => {
            let values = host(weight);
            few::product_with(x_values, &few::InF32 { values: f32s(&values), dims }, low)
        }
        Weight::Frozen(weight) => {
            let (words, layout) = weight.stored();
            let words = words.try_into_primitive::<Flex>().expect(HERE);
            product_few(x_values, &words, layout, low)
        }
    };
    Some(Tensor::from_primitive::<Flex>(tensor(out, [x.dims()[0], dims[0]])))
}

#[derive(Debug, Clone)]
struct Linear;

impl FusedOp<2> for Linear {
    fn forward(&self, [x, weight]: &[FlexTensor; 2]) -> FlexTensor {
        product(x, weight)
    }

    fn backward(&self, [x, weight]: [FlexTensor; 2], dy: FlexTensor) -> [FlexTensor; 2] {
        let dweight = Flex::float_matmul(Flex::float_transpose(dy.clone()), x);
        [Flex::float_matmul(dy, weight), dweight]
    }
}

/// The product with a frozen weight: ∂L/∂W, a third of the work, is left out.
#[derive(Debug, Clone)]
struct FrozenLinear {
    weight: FlexTensor,
}

impl FusedOp<1> for FrozenLinear {
    fn forward(&self, [x]: &[FlexTensor; 1]) -> FlexTensor {
        product(x, &self.weight)
    }

    fn backward(&self, _: [FlexTensor; 1], dy: FlexTensor) -> [FlexTensor; 1] {
        [Flex::float_matmul(dy, self.weight.clone())]
    }
}

/// x·Wᵀ of dense tensors, by the same sums whether a gradient is wanted or not.
fn product(x: &FlexTensor, weight: &FlexTensor) -> FlexTensor {
    let dims = [weight.layout().shape()[0], weight.layout().shape()[1]];
    if !few::suits(dims) {
        return Flex::float_matmul(x.clone(), Flex::float_transpose(weight.clone()));
    }
    let out = few::product(f32s(x), &few::InF32 { values: f32s(weight), dims });
    tensor(out, [x.layout().shape()[0], dims[0]])
}
