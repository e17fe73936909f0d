//! The self-test before training: each kernel on the chosen device against its f64 reference, and cached
//! against uncached decoding, so that a miscompiled shader is found before it trains anything.

mod attention;
mod loss;
mod norms;
mod products;

use crate::device::{Listener, Selected};
use crate::error::{Error, Result};
use crate::ops::adapter::{units_of, use_subgroups, uses_subgroups};
use crate::ops::cube;
use crate::ops::readback::floats as read;
use crate::random::{Stream, purpose};
use burn::tensor::{Device, Int, Tensor, TensorData};
use std::fmt;

/// Largest error of a forward pass, relative to max(1, |expected|).
const FORWARD: f64 = 6e-5;
/// Largest error of a gradient or of a model's whole forward pass, relative to max(1, |expected|).
const BACKWARD: f64 = 1e-4;

/// The check of what `run.precision` switches on.
const MATRIX_UNITS: &str = "matrix units";

/// What the self-test found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Checks that passed.
    pub passed: Vec<&'static str>,
    /// The worst mismatch of each check that failed.
    pub failures: Vec<String>,
    /// What is not used on this device, and why.
    pub note: Option<String>,
}

impl Report {
    /// An error that names every mismatch, if there is one.
    pub fn require_passed(&self, adapter: &str) -> Result<()> {
        if self.failures.is_empty() {
            return Ok(());
        }
        let only_units = self.failures.iter().all(|failure| failure.starts_with(MATRIX_UNITS));
        Err(Error::numbers(self.failures.join("; ")).at(format!("self-test on {adapter}")).next(
            match only_units {
                true => "training with them would be wrong: leave run.precision at f32",
                false => "training on it would be wrong: update the driver, or use --device cpu",
            },
        ))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.failures.as_slice() {
            [] => write!(f, "{} passed", self.passed.len()),
            failures => write!(f, "FAILED: {}", failures.join("; ")),
        }?;
        self.note.iter().try_for_each(|note| write!(f, "; {note}"))
    }
}

/// Runs every check on an opened device, and refuses the device if one fails. Program, page and wheel call
/// this or [`require_whole`] before anything else.
pub async fn require(selected: &Selected) -> Result<Report> {
    let driver = selected.listener();
    let report = run(&selected.device).await?;
    passed(report, selected, &driver)
}

fn passed(report: Report, selected: &Selected, driver: &Listener) -> Result<Report> {
    // A driver skips a shader that it refuses: the numbers are wrong, and the driver's complaint says why.
    report.require_passed(&selected.name).map_err(|e| match driver.require_silence() {
        Ok(()) => e,
        Err(driver) => Error { what: format!("{}; {}", e.what, driver.what), ..e },
    })?;
    Ok(report)
}

/// Runs every check on a device.
pub async fn run(device: &Device) -> Result<Report> {
    run_tampered(device, |_, _| {}).await
}

/// Like [`run`], but `tamper` may spoil a check's results: so a test proves that the checks can fail.
pub async fn run_tampered(
    device: &Device,
    mut tamper: impl FnMut(&str, &mut Vec<f32>),
) -> Result<Report> {
    or_without_subgroups(device, async || all(device, &mut tamper).await).await
}

/// Does the checks; where one fails and sums go by subgroups, once more with sums that don't.
async fn or_without_subgroups(
    device: &Device,
    mut checks: impl AsyncFnMut() -> Result<Report>,
) -> Result<Report> {
    let report = checks().await?;
    if report.failures.is_empty() || !uses_subgroups(device) {
        return Ok(report);
    }
    use_subgroups(device, false);
    let failed = report.failures.join("; ");
    let note = format!("sums don't go by its subgroups, with which this failed: {failed}");
    Ok(Report { note: Some(note), ..checks().await? })
}

async fn all(device: &Device, tamper: impl FnMut(&str, &mut Vec<f32>)) -> Result<Report> {
    let mut checks = kernels(device, tamper).await?;
    checks.many_rows().await?;
    checks.attention().await?;
    checks.stored_weights().await?;
    if cube::runs_on(&checks.device) {
        checks.few_rows().await?;
        checks.few_stored_rows().await?;
    }
    if let Some(units) = units_of(&checks.device) {
        checks.matrix_units(units).await?;
    }
    Ok(checks.report)
}

/// Checks the kernels that every model needs.
async fn kernels<F: FnMut(&str, &mut Vec<f32>)>(device: &Device, tamper: F) -> Result<Checks<F>> {
    let device = device.clone().inner();
    let mut checks = Checks { device, tamper, report: Report::default() };
    checks.matrix_products().await?;
    checks.token_statistics().await?;
    checks.fused_head().await?;
    checks.objective().await?;
    checks.sampling().await?;
    if cube::runs_on(&checks.device) {
        checks.norms().await?;
        checks.attention_of_many().await?;
        checks.adamw().await?;
    }
    checks.decoding().await?;
    Ok(checks)
}

/// Like [`require`], without the checks of weights that are not in f32: for a page, whose models are all in f32.
pub async fn require_whole(selected: &Selected) -> Result<Report> {
    let driver = selected.listener();
    let device = &selected.device;
    let checks = async || Ok(kernels(device, |_, _| {}).await?.report);
    let report = or_without_subgroups(device, checks).await?;
    passed(report, selected, &driver)
}

struct Checks<F> {
    device: Device,
    tamper: F,
    report: Report,
}

/// Numbers mostly small, now and then ±10, since a flat distribution would hide errors.
fn peaky(count: usize, index: u32) -> Vec<f32> {
    let mut stream = Stream::new(0, purpose::SELF_TEST, index);
    (0..count).map(|_| stream.normal() * if stream.chance(0.1) { 10.0 } else { 1.0 }).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

impl<F: FnMut(&str, &mut Vec<f32>)> Checks<F> {
    fn floats<const D: usize>(&self, values: &[f32], shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &self.device)
    }

    fn ints(&self, values: &[i32]) -> Tensor<1, Int> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &self.device)
    }

    /// Leaves NaN in the memory that the next outputs are likely to get, so that a kernel that wrote nothing
    /// can be told from one that wrote 0.
    async fn poison(&self, elements: &[usize]) -> Result<()> {
        for &count in elements {
            let poisoned = Tensor::<1>::full([count], f32::NAN, &self.device);
            read(poisoned).await?;
        }
        Ok(())
    }

    fn compare(&mut self, kernel: &'static str, mut got: Vec<f32>, expected: &[f64], bound: f64) {
        (self.tamper)(kernel, &mut got);
        if got.len() != expected.len() {
            let (got, expected) = (got.len(), expected.len());
            self.report.failures.push(format!("{kernel}: {got} values, expected {expected}"));
            return;
        }
        // A NaN compares false with everything, so it is made the worst error.
        let error = |(g, e): (&f32, &f64)| {
            let error = (f64::from(*g) - e).abs() / e.abs().max(1.0);
            if error.is_nan() { f64::INFINITY } else { error }
        };
        let errors = got.iter().zip(expected).map(error).enumerate();
        match errors.max_by(|a, b| a.1.total_cmp(&b.1)) {
            Some((index, error)) if error > bound => self.report.failures.push(format!(
                "{kernel}: worst at index {index}: expected {}, got {} (allowed: {bound:e} relative)",
                expected[index], got[index]
            )),
            _ => self.report.passed.push(kernel),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_on_the_cpu_and_catches_one_wrong_value_in_every_check() {
        let device = Device::flex();
        let clean = pollster::block_on(run(&device)).unwrap();
        assert!(clean.failures.is_empty(), "{:?}", clean.failures);
        for kernel in &clean.passed {
            let spoil = |name: &str, values: &mut Vec<f32>| {
                if name == *kernel {
                    let last = values.len() - 1;
                    values[last] += 0.01 + values[last].abs() * 0.01;
                }
            };
            let report = pollster::block_on(run_tampered(&device, spoil)).unwrap();
            let error = report.require_passed("CPU").unwrap_err().to_string();
            assert!(error.contains(kernel) && error.contains("worst at index"), "{error}");
            let poison = |name: &str, values: &mut Vec<f32>| {
                if name == *kernel {
                    values[0] = f32::NAN;
                }
            };
            let report = pollster::block_on(run_tampered(&device, poison)).unwrap();
            assert_eq!(report.failures.len(), 1, "{kernel}: a NaN must not pass");
        }
    }
}
