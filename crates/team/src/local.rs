//! Members on the devices of this machine.

use crate::crew::Crew;
use crate::worker::{Again, Weights, Worker};
use burn::tensor::Device;
use pollster::block_on;
use srft_trainer::device::{Kind, Listener, Selected};
use srft_trainer::error::Result;
use srft_trainer::learner::{Learner, Team};
use srft_trainer::run::{Hire, Shared};
use srft_trainer::shards::{Job, Outcome, Part};
use std::sync::Arc;

/// Devices of this machine: the run's own, and others that share its work.
#[derive(Debug)]
pub struct Devices {
    /// The run's own.
    pub home: Selected,
    /// The others.
    pub others: Vec<Selected>,
}

impl Hire for Devices {
    fn team(&self, run: &Shared<'_>) -> Result<Arc<dyn Team>> {
        Ok(Arc::new(Crew::new(Some(&kind(&self.home)), self.workers(run)?)))
    }
}

impl Devices {
    /// The other devices, ready to work for a run.
    pub fn workers(&self, run: &Shared<'_>) -> Result<Vec<Box<dyn Worker>>> {
        let open = |(device, number): (&Selected, usize)| {
            let name = format!("device {number} ({})", device.name);
            Ok(Box::new(OnDevice::open(run, device, name)?) as Box<dyn Worker>)
        };
        self.others.iter().zip(2..).map(open).collect()
    }
}

/// What a device's bits depend on: also the system, whose mathematics the CPU uses, and the CPU's vectors.
pub fn kind(device: &Selected) -> String {
    let Selected { name, backend, driver, kind, .. } = device;
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    match kind {
        // Its driver is a number of threads, on which nothing depends.
        Kind::Cpu => format!("{name}, {backend}, {os}, {arch}{}", vectors()),
        _ => format!("{name}, {backend}, {driver}, {os}, {arch}"),
    }
}

#[cfg(target_arch = "x86_64")]
fn vectors() -> &'static str {
    match (is_x86_feature_detected!("avx512f"), is_x86_feature_detected!("fma")) {
        (true, _) => " with AVX-512",
        (_, true) => " with AVX2",
        _ => "",
    }
}

/// Others have one kind of vectors.
#[cfg(not(target_arch = "x86_64"))]
fn vectors() -> &'static str {
    ""
}

/// A device of this machine that works for a run on another.
pub struct OnDevice {
    name: String,
    kind: String,
    learner: Learner,
    /// Of which version its weights are, once they are the run's.
    version: Option<u64>,
    home: Device,
    driver: Listener,
}

impl OnDevice {
    /// The run's learner once more, on `device`.
    pub fn open(run: &Shared<'_>, device: &Selected, name: String) -> Result<Self> {
        Ok(Self {
            name,
            kind: kind(device),
            learner: run.learner(&device.device)?,
            version: None,
            home: run.device.clone(),
            driver: device.listener(),
        })
    }
}

impl Worker for OnDevice {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &str {
        &self.kind
    }

    fn perform(&mut self, weights: &Weights, job: &Job) -> Result<Outcome> {
        if self.version != Some(weights.version) {
            weights.put_into(&mut self.learner.policy);
            self.version = Some(weights.version);
        }
        let outcome = block_on(self.learner.perform(job))?;
        let outcome = match outcome {
            Outcome::Gradient(Part { tensors, sums }) => Outcome::Gradient(Part {
                tensors: tensors.into_iter().map(|t| t.to_device(&self.home)).collect(),
                sums: sums.into_iter().map(|t| t.to_device(&self.home)).collect(),
            }),
            other => other,
        };
        self.driver.require_silence()?;
        Ok(outcome)
    }

    /// A device that has failed is lost, until the run is resumed.
    fn recover(&mut self) -> Again {
        Again::Never("a device that failed is lost until the run is resumed".into())
    }
}
