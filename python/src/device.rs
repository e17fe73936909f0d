//! Adapters, opened and tested once each.

use crate::convert::to_python;
use crate::drive::require_own_process;
use crate::error::OrRaise;
use pollster::block_on;
use pyo3::prelude::*;
use srft::config::Precision;
use srft::device::{Selected, adapters, choose, select_in};
use srft::error::{Error, Result};
use srft::selftest;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Devices by the name and the precision they were asked for: all models and trainers share them.
static OPENED: Mutex<BTreeMap<(String, &str), Selected>> = Mutex::new(BTreeMap::new());

/// Opens a device, and refuses one whose kernels fail their self-test.
pub fn open(wanted: &str, precision: Precision) -> Result<Selected> {
    require_own_process()?;
    let mut opened = OPENED.lock().map_err(|_| Error::machine("opening a device failed before"))?;
    let key = (wanted.to_string(), precision.name());
    if let Some(selected) = opened.get(&key) {
        return Ok(selected.clone());
    }
    let selected = block_on(select_in(wanted, precision))?;
    block_on(selftest::require(&selected))?;
    opened.insert(key, selected.clone());
    Ok(selected)
}

/// Every adapter of this machine, the CPU first: a list of dicts.
///
/// `index`, `name`, `backend` (flex, vulkan, metal, dx12, gl), `driver`, `kind` (discrete GPU,
/// integrated GPU, virtual GPU, software, CPU), its limits as `srft devices --json` has them,
/// `memory_bytes` where the system tells it, and `auto`: whether `device="auto"` takes it. An index,
/// a backend or a part of the name is what `device=` understands.
#[pyfunction]
pub fn devices(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    require_own_process().or_raise()?;
    let list = py.detach(|| block_on(adapters()));
    let auto = choose("auto", &list).or_raise()?.0.index;
    let rows: Vec<_> = list
        .iter()
        .map(|a| {
            let mut row = serde_json::to_value(a).expect("a plain record");
            row["auto"] = (a.index == auto).into();
            row
        })
        .collect();
    to_python(py, &rows)
}
