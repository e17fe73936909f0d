//! Sums by subgroups: what becomes of a device whose are wrong. That they are right is in `model.rs`, `step.rs` and `adamw.rs`.

use crate::backends::{devices_and_subgroups, floats};
use burn::tensor::{Distribution, Tensor};
use pollster::block_on;
use srft::ops::adapter::uses_subgroups;
use srft::ops::rms_norm::rms_norm;
use srft::selftest;

#[test]
fn a_device_whose_subgroups_add_wrongly_computes_without_them() {
    for (_, device) in devices_and_subgroups().into_iter().skip(2) {
        let spoil = |check: &str, values: &mut Vec<f32>| {
            if check == "norm" && uses_subgroups(&device) {
                values[7] += 1.0;
            }
        };
        let report = block_on(selftest::run_tampered(&device, spoil)).unwrap();
        report.require_passed("Vulkan").unwrap();
        assert!(!uses_subgroups(&device));
        let said = report.to_string();
        assert!(
            said.contains("passed; sums don't go by its subgroups") && said.contains("norm: worst"),
            "{said}"
        );
    }
}

#[test]
fn their_sums_have_the_same_bits_each_time() {
    for (_, device) in devices_and_subgroups().into_iter().skip(2) {
        let x = Tensor::<2>::random([9, 1031], Distribution::Normal(0.0, 1.0), &device);
        let norm = || floats(rms_norm(x.clone(), Tensor::ones([1031], &device), 1e-5));
        let first = norm();
        assert!((0..5).all(|_| norm() == first));
    }
}
