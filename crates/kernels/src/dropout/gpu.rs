//! The launcher of `shaders/dropout.wgsl`.

use super::Key;
use crate::cube::{self, Shader, WORKGROUP};
use crate::gradient::on_gpu;
use burn::backend::TensorMetadata;
use burn::backend::wgpu::CubeTensor;
use burn::tensor::{DType, Tensor};
use srft_formats::random::DropoutMask;

/// One mask: step and micro-batch on the device, and the words of `info` after the count.
#[derive(Debug, Clone)]
struct Mask {
    when: CubeTensor,
    words: [u32; 6],
}

pub(super) fn dropout(x: Tensor<2>, key: &Key, place: u32, mask: DropoutMask) -> Tensor<2> {
    let when = cube::buffer(key.on_device.clone());
    let (low, high) = (key.seed as u32, (key.seed >> 32) as u32);
    let DropoutMask { threshold, kept, .. } = mask;
    let words = [low, high, DropoutMask::PURPOSE, place, threshold, kept.to_bits()];
    let mask = Mask { when, words };
    let forward = |[x]: [CubeTensor; 1]| (launch(&x, &mask), mask);
    on_gpu([x], forward, |mask, dy, _| [Some(launch(&dy, &mask))])
}

fn launch(x: &CubeTensor, mask: &Mask) -> CubeTensor {
    let out = cube::empty(x, x.shape(), DType::F32);
    let count = x.shape().num_elements();
    let info = [&[count as u32], &mask.words[..]].concat();
    let shader = Shader::new("dropout", srft_shaders::DROPOUT);
    let groups = count.div_ceil(8 * WORKGROUP as usize);
    cube::launch(shader, groups, &[x, &mask.when, &out], &info);
    out
}
