//! An adapter's files in PEFT's layout.

use super::lora::MERGE_IN_PEFT;
use super::tensors::{Shard, Tensors};
use super::{Llama, Lora, weights};
use crate::error::{Error, Result};
use crate::names::{ADAPTER_CONFIG, ADAPTER_WEIGHTS};
use burn::tensor::Device;
use std::collections::HashSet;

/// The files that an adapter adds to its base.
#[derive(Debug, Clone)]
pub struct AdapterFiles {
    /// Where it came from, for messages.
    pub place: String,
    /// `adapter_config.json`.
    pub config: Vec<u8>,
    /// `adapter_model.safetensors`.
    pub weights: Shard,
}

/// The files of an adapter's folder: the settings file's name, its contents (which name the base), and the
/// weights file's name.
pub fn files(lora: &Lora, base: &str) -> (&'static str, Vec<u8>, &'static str) {
    (ADAPTER_CONFIG, lora.to_json(base), ADAPTER_WEIGHTS)
}

impl AdapterFiles {
    /// Its settings, for a model of so many layers.
    pub fn lora(&self, layers: usize) -> Result<Lora> {
        Lora::from_json(&self.config, layers, &format!("{}/{ADAPTER_CONFIG}", self.place))
    }

    /// Adds the adapters to a model and loads their weights.
    pub fn lay_over(&self, mut model: Llama, device: &Device) -> Result<Llama> {
        model.adapt(self.lora(model.config.layers)?, 0);
        let tensors = Tensors::open(&self.place, std::slice::from_ref(&self.weights))?;
        if let Some(name) = tensors
            .names()
            .find(|name| ["embed_tokens", "lm_head"].iter().any(|part| name.contains(part)))
        {
            return Err(Error::input(format!(
                "the adapter also holds `{name}`: an embedding or a head that is saved with an adapter is \
                 not supported"
            ))
            .at(tensors.place_of(name))
            .next(MERGE_IN_PEFT));
        }
        weights::fill(&tensors, model.parameters_mut(), device)?;
        let names: HashSet<String> = model.parameters().into_iter().map(|p| p.name).collect();
        tensors.require_only(&names, |_| false)?;
        Ok(model)
    }
}
