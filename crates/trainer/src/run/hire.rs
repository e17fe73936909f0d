//! A run's models, on its own device and on those that share its work.

use super::adapters::held;
use super::reads::Reads;
use crate::config::{Config, Objective, Precision};
use crate::error::{Error, Result};
use crate::learner::{Learner, Team};
use crate::model::{Llama, ModelFolder};
use crate::ops::adapter;
use crate::text::Tokenizer;
use burn::tensor::Device;
use std::fmt::Debug;
use std::sync::Arc;

/// A run whose work others are to share.
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    /// Everything that decides it.
    pub config: &'a Config,
    /// The model that it goes on from.
    pub folder: &'a ModelFolder,
    /// Of a resumed run with a KL penalty, the model that it began with.
    pub began: Option<&'a ModelFolder>,
    /// Reads what the config names.
    pub reads: &'static dyn Reads,
    /// How many layers the backward pass computes again.
    pub recomputed: usize,
    /// The run's own device.
    pub device: &'a Device,
}

impl Shared<'_> {
    /// The run's learner once more, on another device.
    pub fn learner(&self, device: &Device) -> Result<Learner> {
        let Self { config, folder, began, reads, recomputed, .. } = *self;
        let (policy, base, tokenizer) = models(config, folder, began, reads, device)?;
        Ok(Learner::new(config.clone(), policy, base, tokenizer, recomputed))
    }
}

/// Finds those who share a run's work.
pub trait Hire: Debug + Send + Sync {
    /// A team for a run that is ready to begin.
    fn team(&self, run: &Shared<'_>) -> Result<Arc<dyn Team>>;
}

/// A run's policy with its adapters, its base where a KL penalty needs one, and its tokenizer.
pub(super) fn models(
    config: &Config,
    folder: &ModelFolder,
    began: Option<&ModelFolder>,
    reads: &dyn Reads,
    device: &Device,
) -> Result<(Llama, Option<Llama>, Tokenizer)> {
    require_precision(config.run.precision, device)?;
    let (mut model, tokenizer) = folder.load_frozen(held(config, folder)?, device)?;
    let base = match began {
        _ if !config.stages().iter().any(Objective::uses_base) => None,
        None => Some(model.clone()), // weights that do not train stay shared
        // The frozen weights are its own.
        Some(began) if model.lora().is_some() && !began.is_adapted() => {
            Some(model.without_adapters())
        }
        Some(began) => Some(began.load(device)?.0),
    };
    reads.adapt(&mut model, config)?;
    Ok((model, base, tokenizer))
}

/// Refuses a device that computes in another precision than the config's.
fn require_precision(asked: Precision, device: &Device) -> Result<()> {
    let has = match adapter::units_of(device) {
        None => Precision::F32,
        Some(units) if units.split => Precision::F16x3,
        Some(_) => Precision::F16,
    };
    if has == asked {
        return Ok(());
    }
    Err(Error::input(format!("the device was opened for {}", has.name()))
        .at(format!("run.precision = {}", asked.name()))
        .next("a worker is started with --precision, a program opens it by `select_in`; in a browser, and on the CPU, there is only f32"))
}
