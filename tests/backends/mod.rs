//! The two backends that every kernel test runs on, and the comparison with the reference.

use std::sync::OnceLock;

use burn::tensor::wgpu::WgpuBackend;
use burn::tensor::{Device, DeviceKind, Tensor};
use srft::ops::adapter::uses_subgroups;

/// The CPU backend and Vulkan: software, or with `SRFT_TEST_GPU=1` the machine's own GPU. A missing
/// adapter is a failure, not a skip. `SRFT_TEST_CPU=1` leaves Vulkan out (`./check.sh quick`).
pub fn devices() -> Vec<(&'static str, Device)> {
    if std::env::var_os("SRFT_TEST_CPU").is_some() {
        return vec![("flex", Device::flex())];
    }
    static VULKAN: OnceLock<Device> = OnceLock::new();
    let vulkan = VULKAN.get_or_init(|| {
        let (kind, what) = match std::env::var_os("SRFT_TEST_GPU") {
            Some(_) => (DeviceKind::DiscreteGpu(0), "the first discrete GPU"),
            None => (DeviceKind::Cpu, "lavapipe (Debian: libvulkan1 and mesa-vulkan-drivers)"),
        };
        Device::wgpu_options()
            .graphics_api(WgpuBackend::Vulkan)
            .device_kind(kind)
            .tasks_max(srft::device::DISPATCHES)
            .init()
            .unwrap_or_else(|e| panic!("no Vulkan adapter: {e}\n  these tests need {what}"))
    });
    vec![("flex", Device::flex()), ("vulkan", vulkan.clone())]
}

/// [`devices`], and Vulkan once more as the program opens it: with its sums by subgroups.
pub fn devices_and_subgroups() -> Vec<(&'static str, Device)> {
    let mut all = devices();
    if all.len() > 1 {
        let opened = pollster::block_on(srft::device::select("vulkan")).expect("as before");
        assert!(uses_subgroups(&opened.device));
        all.push(("vulkan by subgroups", opened.device));
    }
    all
}

/// Whether it is the software adapter, which takes a second for a step of training. Where a test has many
/// cases it gets fewer, one of each kind; a GPU and the CPU backend get them all.
pub fn is_slow(backend: &str) -> bool {
    backend.ends_with("vulkan") && std::env::var_os("SRFT_TEST_GPU").is_none()
}

/// Every value within `tolerance` · max(1, |want|), or where it is worst.
pub fn compare(what: &str, got: &[f32], want: &[f64], tolerance: f64) -> Result<(), String> {
    if got.len() != want.len() {
        return Err(format!("{what}: {} values, expected {}", got.len(), want.len()));
    }
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(got) - want).abs() / want.abs().max(1.0);
        // NaN is no error below the tolerance.
        if error.is_nan() || error > tolerance {
            return Err(format!("{what}[{i}]: got {got}, expected {want}, error {error:e}"));
        }
    }
    Ok(())
}

/// A tensor's elements.
pub fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("an f32 tensor")
}
