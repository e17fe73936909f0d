//! Dropout (Srivastava et al., 2014) by counted random numbers: a mask is computed where it is needed, in both
//! directions, and never kept.

mod gpu;
pub mod reference;

use super::cpu::{f32s, f32s_mut, tensor};
use super::cube;
use super::fused::{self, FusedOp};
use burn::backend::flex::FlexTensor;
use burn::tensor::{Device, Int, Tensor};
use rayon::prelude::*;
use srft_formats::random::DropoutMask;

/// Blocks of eight numbers that a task takes at a time.
const BLOCKS: usize = 1 << 11;

/// What all masks of a pass are keyed by.
#[derive(Debug, Clone)]
pub struct Key {
    seed: u64,
    step: u32,
    micro_batch: u32,
    /// Step and micro-batch on the device: what changes from launch to launch is not uploaded with each.
    on_device: Tensor<1, Int>,
}

impl Key {
    /// The key of a micro-batch's pass.
    pub fn new(seed: u64, step: u32, micro_batch: u32, device: &Device) -> Self {
        let device = device.clone().without_autodiff();
        let on_device = Tensor::from_ints([step as i32, micro_batch as i32], &device);
        Self { seed, step, micro_batch, on_device }
    }
}

/// x [N, D] without a `share` of its numbers, the others divided by 1 − share; `place` tells masks of one key apart.
pub fn dropout(x: Tensor<2>, key: &Key, place: u32, share: f64) -> Tensor<2> {
    let mask = DropoutMask::new(key.seed, key.step, [key.micro_batch, place], share);
    match x.device() {
        device if fused::runs_on(&device) => fused::run(Dropout(mask), [x]),
        device if cube::runs_on(&device) => gpu::dropout(x, key, place, mask),
        _ => {
            let dims = x.dims();
            let ones = vec![1.0; dims[0] * dims[1]];
            let mask = tensor(dropped(mask, &ones), dims);
            let mask = Tensor::<2>::from_primitive::<burn::backend::Flex>(mask);
            let device = x.device();
            x * mask.to_device(&device)
        }
    }
}

#[derive(Debug, Clone)]
struct Dropout(DropoutMask);

impl FusedOp<1> for Dropout {
    fn forward(&self, [x]: &[FlexTensor; 1]) -> FlexTensor {
        tensor(dropped(self.0, f32s(x)), x.layout().shape().clone())
    }

    fn backward(&self, _: [FlexTensor; 1], mut dy: FlexTensor) -> [FlexTensor; 1] {
        drop_some(self.0, f32s_mut(&mut dy));
        [dy]
    }
}

fn dropped(mask: DropoutMask, x: &[f32]) -> Vec<f32> {
    let mut out = x.to_vec();
    drop_some(mask, &mut out);
    out
}

fn drop_some(mask: DropoutMask, x: &mut [f32]) {
    x.par_chunks_mut(8 * BLOCKS).enumerate().for_each(|(task, x)| {
        for (block, x) in ((task * BLOCKS) as u64..).zip(x.chunks_mut(8)) {
            x.iter_mut().zip(mask.block(block)).for_each(|(x, factor)| *x *= factor);
        }
    });
}
