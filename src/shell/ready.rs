//! The device that a command works on: opened, named and tested.

use super::note;
use srft::config::{Config, Precision};
use srft::device::{Selected, select_in};
use srft::error::Result;
use srft::selftest;

/// Opens the configured device, says which one and why, and runs its self-test.
pub async fn ready(config: &Config, json: bool) -> Result<Selected> {
    ready_on(&config.run.device, config, json).await
}

/// [`ready`], for the device of that name.
pub async fn ready_on(device: &str, config: &Config, json: bool) -> Result<Selected> {
    let selected = select_in(device, config.run.precision).await?;
    if !json {
        let Selected { name, backend, reason, .. } = &selected;
        note(format_args!("device: {name} ({backend}), {reason}"));
        if config.run.precision != Precision::F32 {
            let precision = config.run.precision.name();
            note(format_args!(
                "run.precision = {precision}: large products go by the GPU's matrix units, which is \
                 experimental and not measured on hardware (docs/gpu.md)"
            ));
        }
    }
    let report = selftest::require(&selected).await?;
    if let Some(what) = report.note.filter(|_| !json) {
        note(format_args!("{}: {what}", selected.name));
    }
    Ok(selected)
}
