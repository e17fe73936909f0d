//! What the benches share: their command line, the device that it names, medians.

use pollster::block_on;
use srft::device::{Selected, select};

/// What follows `--NAME` on the command line.
pub fn value(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)
}

/// The device that `--device` names as srft has it, or this one.
pub fn device(otherwise: &str) -> Selected {
    let wanted = value("--device").unwrap_or_else(|| otherwise.into());
    block_on(select(&wanted)).expect("a device")
}

/// The middle one of some times.
pub fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
