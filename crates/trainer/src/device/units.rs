//! Matrix units (wgpu's cooperative matrices), for `run.precision`: which adapters' are used, and which not.

use super::{Adapter, Kind};
use crate::config::Precision;
use crate::error::{Error, Result};
use crate::ops::adapter::Units;
use crate::platform::IS_PAGE;
use burn::tensor::wgpu::wgpu::{CooperativeScalarType, ExperimentalFeatures, Features};

/// Drivers whose units are not used: what their names contain, on which kind of adapter (else on every), and why.
const EXCLUDED: [(&str, Option<Kind>, &str); 3] = [
    (
        "intel open-source mesa driver",
        None,
        "it computes them without the hardware's units, or wrong (on Xe3)",
    ),
    ("honeykrisp", None, "it computes them without the hardware's units, slower than f32"),
    ("amd proprietary driver", Some(Kind::Integrated), "it crashes when asked about them"),
];

/// The features of wgpu that shaders for matrix units need.
const FEATURES: Features =
    Features::EXPERIMENTAL_COOPERATIVE_MATRIX.union(Features::SHADER_F16).union(Features::SUBGROUP);

/// The experimental features of a device whose units are used, and of any other: none.
#[expect(unsafe_code, reason = "so wgpu has it acknowledged that a feature is experimental")]
pub(super) fn experimental(units: Option<Units>) -> (Features, ExperimentalFeatures) {
    match units {
        None => (Features::empty(), ExperimentalFeatures::disabled()),
        // SAFETY: what may be undefined is a mistake in wgpu's translation of the one shader that uses it. Its matrices
        // lie within buffers (units.wgsl), off it is as long as no one asks, and the self-test compares it.
        Some(_) => {
            (Features::EXPERIMENTAL_COOPERATIVE_MATRIX, unsafe { ExperimentalFeatures::enabled() })
        }
    }
}

/// How the adapter's large products are computed in this precision; nothing special in f32.
pub(super) fn of(adapter: &Adapter, precision: Precision) -> Result<Option<Units>> {
    let split = match precision {
        Precision::F32 => return Ok(None),
        Precision::F16x3 => true,
        Precision::F16 => false,
    };
    let refused = |why: &str| {
        Error::machine(format!("{} {why}", adapter.name))
            .at(format!("run.precision = {}", precision.name()))
            .next(
                "leave it at f32, or take an adapter of which `srft devices` says that it has \
                 matrix units",
            )
    };
    match excluded(&adapter.driver, adapter.kind) {
        Some(why) => Err(refused(&format!("has a driver whose matrix units aren't used: {why}"))),
        None => match offered(adapter) {
            Some(units) => Ok(Some(Units { split, ..units })),
            None => Err(refused("has no matrix units that wgpu offers (f16 products, f32 sums)")),
        },
    }
}

/// Rows and columns of the matrices that the adapter's units multiply, if they are used when asked for.
pub(super) fn size(adapter: &Adapter) -> Option<usize> {
    if IS_PAGE {
        return None; // browsers have none
    }
    of(adapter, Precision::F16).ok().flatten().map(|units| units.size)
}

fn excluded(driver: &str, kind: Kind) -> Option<&'static str> {
    let driver = driver.to_lowercase();
    let found = EXCLUDED
        .iter()
        .find(|(name, on, _)| driver.contains(name) && on.is_none_or(|on| on == kind));
    found.map(|(.., why)| *why)
}

/// The largest square matrices of f16 with sums in f32.
fn offered(adapter: &Adapter) -> Option<Units> {
    let (_, handle) = adapter.handle.as_ref()?;
    if !handle.features().contains(FEATURES) {
        return None;
    }
    let info = handle.get_info();
    let subgroup = [info.subgroup_min_size, info.subgroup_max_size].map(|n| n as usize);
    let properties = handle.cooperative_matrix_properties().into_iter();
    let sizes = properties.filter(|p| {
        let square = p.m_size == p.n_size && p.n_size == p.k_size;
        let types = [p.ab_type, p.cr_type];
        square && types == [CooperativeScalarType::F16, CooperativeScalarType::F32]
    });
    let units = |size| Units { split: false, size, subgroup, twin: false };
    sizes
        .map(|p| units(p.m_size as usize))
        .filter(|u| u.fits(adapter.workgroup_bytes as usize))
        .max_by_key(|u| u.size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_drivers_are_excluded_by_name_and_kind() {
        use Kind::{Discrete, Integrated};
        for (driver, kind, is_excluded) in [
            ("Intel open-source Mesa driver Mesa 26.1.2", Integrated, true),
            ("Intel open-source Mesa driver Mesa 25.0.7", Discrete, true),
            ("Honeykrisp Mesa 26.1.2", Integrated, true),
            ("AMD proprietary driver 26.10.1 (AMD proprietary shader compiler)", Integrated, true),
            ("AMD proprietary driver 26.10.1 (AMD proprietary shader compiler)", Discrete, false),
            ("AMD open-source driver 2026.Q1", Integrated, false),
            ("radv Mesa 26.1.2", Discrete, false),
            ("NVIDIA 580.159.04", Discrete, false),
        ] {
            assert_eq!(excluded(driver, kind).is_some(), is_excluded, "{driver}, {kind:?}");
        }
    }

    #[test]
    fn the_cpu_has_none_and_says_what_to_do() {
        let cpu = super::super::cpu();
        assert_eq!(of(&cpu, Precision::F32).unwrap(), None);
        let error = of(&cpu, Precision::F16x3).unwrap_err().to_string();
        for words in ["CPU has no matrix units", "run.precision = f16x3", "leave it at f32"] {
            assert!(error.contains(words), "{error}");
        }
    }
}
