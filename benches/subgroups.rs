//! Sums over workgroups by subgroups against sums by halves in workgroup memory: `cargo bench --bench subgroups [-- --device
//! vulkan]`. Each line has the median of eleven measurements of each way, in turn, of so many launches, in milliseconds.

#![allow(clippy::print_stdout, reason = "a bench is a program of its own")]

#[allow(dead_code, reason = "each bench uses a part")]
mod common;

use burn::tensor::wgpu::wgpu::Features;
use burn::tensor::{Device, Tensor};
use common::{device, median};
use srft::ops::adamw::squared_norm;
use srft::ops::adapter::use_subgroups;
use srft::ops::rms_norm::rms_norm;
use srft::ops::step::Norms;
use std::time::Instant;

const LAUNCHES: usize = 20;

fn main() {
    let selected = device("vulkan");
    let features = selected.gpu.expect("a GPU's interface").features();
    assert!(features.contains(Features::SUBGROUP), "{} has no subgroups", selected.name);
    println!("{} ({}), {LAUNCHES} launches", selected.name, selected.driver);
    let device = &selected.device;
    for [rows, width] in [[512, 576], [2048, 896]] {
        let x = Tensor::<2>::ones([rows, width], device);
        let weight = Tensor::<1>::ones([width], device);
        compare(&format!("norm [{rows}, {width}]"), device, || {
            rms_norm(x.clone(), weight.clone(), 1e-5).slice([0..1, 0..1]).reshape([1])
        });
    }
    for [rows, width] in [[1, 576], [64, 576], [64, 896]] {
        let x = Tensor::<2>::ones([rows, width], device);
        let norms = Norms::new(None, Tensor::ones([1, width], device), 1e-5);
        compare(&format!("step_norm [{rows}, {width}]"), device, || {
            let [_, normed] = norms.of(x.clone());
            normed.slice([0..1, 0..1]).reshape([1])
        });
    }
    let gradient = Tensor::<2>::ones([1536, 576], device);
    compare("squares [1536, 576]", device, || squared_norm(std::slice::from_ref(&gradient)));
}

fn compare(what: &str, device: &Device, op: impl Fn() -> Tensor<1>) {
    let mut times = [Vec::new(), Vec::new()];
    for turn in 0..24 {
        use_subgroups(device, turn % 2 == 1);
        let clock = Instant::now();
        let last = (0..LAUNCHES).map(|_| op()).last().expect("launches");
        // Not before the numbers are looked at has the device computed them.
        last.into_data().try_to_vec::<f32>().expect("a number");
        if turn > 1 {
            times[turn % 2].push(1e3 * clock.elapsed().as_secs_f64());
        }
    }
    let [halves, subgroups] = times.map(median);
    let ratio = halves / subgroups;
    println!(
        "{what}: {halves:.2} by halves, {subgroups:.2} by subgroups: {ratio:.2} times as fast"
    );
}
