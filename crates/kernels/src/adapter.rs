//! The adapters in use: how large they are, and how much work waits to be handed to them.

use burn::backend::wgpu::CubeTensor;
use burn::backend::{CubeDevice, DispatchDevice};
use burn::tensor::Device;
use srft_formats::platform::IS_PAGE;

use crate::cube::under_autodiff;
use std::sync::{Mutex, PoisonError};

/// What a product's tiles and its parts depend on; of shaders, not of drivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A GPU with its own memory, or one that nothing is known of.
    Discrete,
    /// A GPU that shares the host's memory: fewer and smaller processors.
    Integrated,
    /// A GPU's interface computed by the CPU.
    Software,
}

impl Kind {
    /// Workgroups that keep it busy.
    pub fn busy(self) -> usize {
        match self {
            Self::Discrete => 256,
            Self::Integrated | Self::Software => 64,
        }
    }

    /// Most multiplications and additions in a submission. A driver ends what takes long (Windows after two
    /// seconds), and a screen waits for it: at a fifth of 1 TFLOP/s, as small GPUs reach, this is a sixth of a second.
    pub fn most_flop(self) -> u64 {
        match self {
            Self::Discrete | Self::Integrated => 32_000_000_000,
            Self::Software => 250_000_000,
        }
    }
}

/// How a device's large products go by an adapter's matrix units (`shaders/matmul_units.wgsl`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Units {
    /// Whether a number is two f16, with 22 bits together, or one, with 11.
    pub split: bool,
    /// Rows and columns of what a unit multiplies: 16 or 8.
    pub size: usize,
    /// Fewest and most invocations of a subgroup.
    pub subgroup: [usize; 2],
    /// Whether loops stand in for the units: for tests, on an adapter without any.
    pub twin: bool,
}

impl Units {
    /// Invocations of a workgroup that multiplies.
    pub const WORKGROUP: usize = 128;

    /// Whether the workgroup has whole subgroups, and so many bytes of its memory the sums of all that it may have.
    pub fn fits(self, workgroup_bytes: usize) -> bool {
        let [least, most] = self.subgroup;
        let sums = Self::WORKGROUP / least.max(1) * self.size * self.size * 2;
        most <= Self::WORKGROUP && (sums + 1) * size_of::<f32>() <= workgroup_bytes
    }
}

/// The integrated ones among the open devices, and what is queued on each: a handful at most.
static OPEN: Mutex<Vec<Open>> = Mutex::new(Vec::new());

struct Open {
    device: CubeDevice,
    integrated: bool,
    units: Option<Units>,
    subgroups: bool,
    queued_flop: u64,
}

/// What `look` finds about the device.
fn of<T>(device: &CubeDevice, look: impl FnOnce(&mut Open) -> T) -> T {
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    let place = open.iter().position(|known| known.device == *device).unwrap_or_else(|| {
        open.push(Open {
            device: device.clone(),
            integrated: false,
            units: None,
            subgroups: false,
            queued_flop: 0,
        });
        open.len() - 1
    });
    look(&mut open[place])
}

/// Says that this device is an integrated GPU: nothing below tells that.
pub fn is_integrated(device: &Device) {
    if let DispatchDevice::Cube(device) = device.as_dispatch() {
        of(device, |open| open.integrated = true);
    }
}

/// Has this device's large products go by its matrix units from now on.
pub fn use_units(device: &Device, units: Units) {
    if let DispatchDevice::Cube(device) = under_autodiff(device) {
        of(device, |open| open.units = Some(units));
    }
}

/// The matrix units in use on this device, if any are.
pub fn units_of(device: &Device) -> Option<Units> {
    match under_autodiff(device) {
        DispatchDevice::Cube(device) if !IS_PAGE => of(device, |open| open.units),
        _ => None,
    }
}

/// The same of the device that has this tensor.
pub fn units(tensor: &CubeTensor) -> Option<Units> {
    of(&tensor.device, |open| open.units)
}

/// Has this device's sums over workgroups go by subgroups from now on, or no longer.
pub fn use_subgroups(device: &Device, are_used: bool) {
    if let DispatchDevice::Cube(device) = under_autodiff(device) {
        of(device, |open| open.subgroups = are_used);
    }
}

/// Whether sums over workgroups go by subgroups on this device.
pub fn uses_subgroups(device: &Device) -> bool {
    match under_autodiff(device) {
        DispatchDevice::Cube(device) => of(device, |open| open.subgroups),
        _ => false,
    }
}

/// The same of the device that has this tensor.
pub fn subgroups(tensor: &CubeTensor) -> bool {
    of(&tensor.device, |open| open.subgroups)
}

/// The kind of the adapter that has this tensor.
pub fn kind(tensor: &CubeTensor) -> Kind {
    if tensor.client.properties().identity.physical.is_none() {
        return Kind::Software;
    }
    match of(&tensor.device, |open| open.integrated) {
        true => Kind::Integrated,
        false => Kind::Discrete,
    }
}

/// To be called before `flop` multiplications and additions are queued where this tensor is: hands over what was
/// queued before if it would be too much together. cubecl counts launches only, and a large product among a
/// hundred of them takes as long as all the others.
pub fn make_room(tensor: &CubeTensor, kind: Kind, flop: u64) {
    let most = kind.most_flop();
    let full = of(&tensor.device, |open| {
        let full = open.queued_flop > 0 && open.queued_flop + flop > most;
        open.queued_flop = if full { flop } else { open.queued_flop + flop };
        full
    });
    if full {
        // If that fails, so does reading what was computed, which says why.
        tensor.client.flush().ok();
    }
}
