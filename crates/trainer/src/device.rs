//! Adapters: listing them, choosing one, falling back to the CPU.

mod choose;
mod driver;
mod found;
mod subgroups;
mod units;

pub use choose::choose;
use driver::Complaints;
pub use driver::{Listener, last_words};

use crate::config::Precision;
use crate::error::{Error, Result};
use crate::ops;
use burn::tensor::Device;
use burn::tensor::wgpu::{WgpuSetup, wgpu};
use ops::adapter::Units;
use serde::Serialize;
use std::sync::Arc;

/// What kind of machine an adapter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "&'static str")]
pub enum Kind {
    /// A GPU with its own memory.
    Discrete,
    /// A GPU that shares the host's memory.
    Integrated,
    /// A GPU behind a hypervisor.
    Virtual,
    /// A GPU interface computed by the CPU (lavapipe, llvmpipe, SwiftShader, WARP).
    Software,
    /// The CPU itself, through burn's flex backend.
    Cpu,
}

impl Kind {
    /// The name shown to users.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Discrete => "discrete GPU",
            Kind::Integrated => "integrated GPU",
            Kind::Virtual => "virtual GPU",
            Kind::Software => "software",
            Kind::Cpu => "CPU",
        }
    }

    /// Whether it is real GPU hardware, not computed by the CPU.
    pub fn is_gpu(self) -> bool {
        matches!(self, Kind::Discrete | Kind::Integrated | Kind::Virtual)
    }
}

impl From<Kind> for &'static str {
    fn from(kind: Kind) -> Self {
        kind.name()
    }
}

/// An adapter of this machine.
#[derive(Debug, Clone, Serialize)]
pub struct Adapter {
    /// Position in the list, for `--device`.
    pub index: usize,
    /// The vendor's name for it.
    pub name: String,
    /// flex, vulkan, metal, dx12, gl, webgpu.
    pub backend: String,
    /// Driver and its version.
    pub driver: String,
    /// What it is.
    pub kind: Kind,
    /// Largest buffer that a shader can bind, bytes.
    pub max_binding_bytes: u64,
    /// Largest buffer, bytes.
    pub max_buffer_bytes: u64,
    /// Storage buffers a shader can bind.
    pub max_storage_buffers: u32,
    /// Workgroup memory, bytes.
    pub workgroup_bytes: u32,
    /// Invocations in a workgroup.
    pub invocations: u32,
    /// Rows and columns of what its matrix units multiply, if `run.precision` can use them.
    pub matrix_units: Option<usize>,
    /// Whether sums over workgroups go by its subgroups.
    pub subgroups: bool,
    /// The host's memory, bytes, for the CPU and GPUs that share it, if the system tells it; wgpu does
    /// not tell a GPU's own.
    pub memory_bytes: Option<u64>,
    #[serde(skip)]
    handle: Option<(wgpu::Instance, wgpu::Adapter)>,
}

/// A device that is ready, and how it came to be chosen.
#[derive(Debug, Clone)]
pub struct Selected {
    /// The burn device, for tensors.
    pub device: Device,
    /// The adapter's name.
    pub name: String,
    /// flex, vulkan, metal, dx12, gl, webgpu.
    pub backend: String,
    /// Driver and its version.
    pub driver: String,
    /// What it is.
    pub kind: Kind,
    /// Why this adapter was chosen, in a sentence.
    pub reason: String,
    /// The wgpu device behind it, unless it is the CPU: to share, or (in a test) to destroy.
    pub gpu: Option<wgpu::Device>,
    complaints: Complaints,
}

impl Selected {
    /// A listener for the driver's complaints from now on.
    pub fn listener(&self) -> Listener {
        self.complaints.listener()
    }
}

/// Every adapter, the CPU backend first.
pub async fn adapters() -> Vec<Adapter> {
    let mut list = vec![cpu()];
    let (instance, handles) = found::found().await;
    for (handle, name) in handles {
        let (info, limits) = (handle.get_info(), handle.limits());
        list.push(Adapter {
            index: list.len(),
            name,
            backend: info.backend.to_str().to_string(),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
            kind: match info.device_type {
                wgpu::DeviceType::DiscreteGpu => Kind::Discrete,
                wgpu::DeviceType::IntegratedGpu => Kind::Integrated,
                wgpu::DeviceType::VirtualGpu => Kind::Virtual,
                wgpu::DeviceType::Cpu => Kind::Software,
                // Unknown; software drivers are recognised by their names below.
                wgpu::DeviceType::Other => Kind::Integrated,
            },
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            max_buffer_bytes: limits.max_buffer_size,
            max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
            workgroup_bytes: limits.max_compute_workgroup_storage_size,
            invocations: limits.max_compute_invocations_per_workgroup,
            matrix_units: None,
            subgroups: false,
            memory_bytes: None,
            handle: Some((instance.clone(), handle)),
        });
        let last = list.last_mut().expect("just pushed");
        // OpenGL drivers and browsers do not tell; the software ones say so in their names.
        let name = last.name.to_lowercase();
        if ["llvmpipe", "swiftshader"].iter().any(|n| name.contains(n)) {
            last.kind = Kind::Software;
        }
        if matches!(last.kind, Kind::Integrated | Kind::Software) {
            last.memory_bytes = crate::platform::memory_bytes();
        }
        last.matrix_units = units::size(last);
        last.subgroups = subgroups::used(last);
    }
    list
}

fn cpu() -> Adapter {
    Adapter {
        index: 0,
        name: "CPU".into(),
        backend: "flex".into(),
        driver: format!("burn flex, {} threads", rayon::current_num_threads()),
        kind: Kind::Cpu,
        max_binding_bytes: u64::MAX,
        max_buffer_bytes: u64::MAX,
        max_storage_buffers: u32::MAX,
        workgroup_bytes: 0,
        invocations: 0,
        matrix_units: None,
        subgroups: false,
        memory_bytes: crate::platform::memory_bytes(),
        handle: None,
    }
}

/// Opens an adapter as a burn device.
pub async fn open(adapter: &Adapter, reason: String) -> Result<Selected> {
    open_in(adapter, reason, Precision::F32).await
}

/// Opens an adapter as a burn device whose large products are computed in this precision.
pub async fn open_in(adapter: &Adapter, reason: String, precision: Precision) -> Result<Selected> {
    let complaints = Complaints::default();
    let units = units::of(adapter, precision)?;
    let (device, gpu) = match &adapter.handle {
        None => (Device::flex(), None),
        Some((instance, handle)) => {
            let (device, gpu) = open_wgpu(adapter, instance, handle, units, &complaints).await?;
            (device, Some(gpu))
        }
    };
    Ok(Selected {
        device,
        name: adapter.name.clone(),
        backend: adapter.backend.clone(),
        driver: adapter.driver.clone(),
        kind: adapter.kind,
        reason,
        gpu,
        complaints,
    })
}

/// WebGPU's default limits, which the shaders are written for: the least that an adapter must have.
const LEAST_BINDINGS: u32 = 8;
const LEAST_INVOCATIONS: u32 = 256;
const LEAST_WORKGROUP_BYTES: u32 = 16 << 10;

/// Most dispatches of a submission: a decoding step has about 200. Natively, large products end one before
/// that (`ops::adapter`).
pub const DISPATCHES: usize = if cfg!(target_family = "wasm") { 32 } else { 128 };

async fn open_wgpu(
    adapter: &Adapter,
    instance: &wgpu::Instance,
    handle: &wgpu::Adapter,
    units: Option<Units>,
    complaints: &Complaints,
) -> Result<(Device, wgpu::Device)> {
    for (what, has, needs) in [
        ("storage buffers per shader", adapter.max_storage_buffers, LEAST_BINDINGS),
        ("invocations per workgroup", adapter.invocations, LEAST_INVOCATIONS),
        ("bytes of workgroup memory", adapter.workgroup_bytes, LEAST_WORKGROUP_BYTES),
    ] {
        if has < needs {
            return Err(Error::machine(format!(
                "{} allows {has} {what}, {needs} are needed",
                adapter.name
            ))
            .next("use another adapter from `srft devices`, or --device cpu"));
        }
    }
    let failed = |e: &dyn std::fmt::Display| {
        Error::machine(format!("{} cannot be opened: {e}", adapter.name))
            .next("update its driver, use another adapter from `srft devices`, or --device cpu")
    };
    let (experimental, experimental_features) = units::experimental(units);
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("srft"),
        required_features: handle
            .features()
            .difference(wgpu::Features::MAPPABLE_PRIMARY_BUFFERS)
            .difference(wgpu::Features::all_experimental_mask())
            .union(experimental),
        experimental_features,
        required_limits: handle.limits(),
        memory_hints: wgpu::MemoryHints::MemoryUsage,
        ..Default::default()
    };
    let (device, queue) = handle.request_device(&descriptor).await.map_err(|e| failed(&e))?;
    let of_loss = complaints.clone();
    device.set_device_lost_callback(move |reason, message| {
        if reason != wgpu::DeviceLostReason::Destroyed {
            of_loss.add(format!("device lost ({reason:?}): {message}"));
        }
    });
    let of_error = complaints.clone();
    device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| of_error.add(e.to_string())));
    let gpu = device.clone();
    let setup = WgpuSetup {
        instance: instance.clone(),
        adapter: handle.clone(),
        device,
        queue,
        backend: handle.get_info().backend,
    };
    let options = Device::wgpu_options().setup(setup).tasks_max(DISPATCHES);
    let device = options.init().map_err(|e| failed(&e))?;
    if cfg!(not(target_family = "wasm")) && adapter.kind == Kind::Integrated {
        ops::adapter::is_integrated(&device);
    }
    units.into_iter().for_each(|units| ops::adapter::use_units(&device, units));
    ops::adapter::use_subgroups(&device, subgroups::used(adapter));
    Ok((device, gpu))
}

/// The adapter that `--device` names, and why.
pub async fn find(wanted: &str) -> Result<(Adapter, String)> {
    // Listing adapters asks drivers, which can be slow or broken; the CPU needs none.
    if wanted == "cpu" {
        return Ok((cpu(), "as asked".into()));
    }
    let list = adapters().await;
    let (adapter, reason) = choose(wanted, &list)?;
    Ok((adapter.clone(), reason))
}

/// Chooses a device and opens it.
pub async fn select(wanted: &str) -> Result<Selected> {
    select_in(wanted, Precision::F32).await
}

/// Chooses a device and opens it, for large products in this precision.
pub async fn select_in(wanted: &str, precision: Precision) -> Result<Selected> {
    let (adapter, reason) = find(wanted).await?;
    open_in(&adapter, reason, precision).await
}
