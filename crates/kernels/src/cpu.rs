//! Reading and writing the CPU backend's tensors as slices.

use burn::backend::flex::FlexTensor;
use burn::tensor::{Shape, TensorData};

/// A dense f32 view of a tensor; copies only when it is strided.
pub fn dense(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() && tensor.layout().start_offset() == 0 {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

/// The elements of a dense f32 tensor.
pub fn f32s(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice::<f32>().expect("a dense f32 tensor")
}

/// The elements of a dense f32 tensor, for writing; copied first if its buffer is shared.
pub fn f32s_mut(tensor: &mut FlexTensor) -> &mut [f32] {
    let elements = tensor.layout().num_elements();
    &mut tensor.storage_mut::<f32>()[..elements]
}

/// The elements of a dense i32 tensor.
pub fn i32s(tensor: &FlexTensor) -> &[i32] {
    tensor.as_slice::<i32>().expect("a dense i32 tensor")
}

/// A new f32 tensor from its elements.
pub fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.into()))
}
