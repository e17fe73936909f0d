//! An adapter's folder in PEFT's layout, read with the base that it names.

use super::folder::{CONFIG, ModelFolder, TOKENIZER, read_beside};
use super::tensors::{Shard, Tensors};
use super::{Llama, Lora, weights};
use crate::error::{Error, Result};
use crate::platform::{exists, map, read as read_file};
use burn::tensor::Device;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

const ADAPTER_CONFIG: &str = "adapter_config.json";
const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

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

/// Whether a folder is an adapter's.
pub fn is_here(path: &Path) -> bool {
    exists(&path.join(ADAPTER_CONFIG)) && !exists(&path.join(CONFIG))
}

/// Reads an adapter's folder over its base.
pub fn read(path: &Path) -> Result<ModelFolder> {
    let place = path.display().to_string();
    let config = read_file(&path.join(ADAPTER_CONFIG))?;
    let (_, base) = Lora::from_json(&config, &format!("{place}/{ADAPTER_CONFIG}"))?;
    let weights = Shard { name: ADAPTER_WEIGHTS.into(), bytes: map(&path.join(ADAPTER_WEIGHTS))? };
    let mut folder = match base.as_str() {
        "tiny" => ModelFolder::tiny(),
        base => {
            // Beside the adapter, or where this process stands, or anywhere.
            let near = [path.join(base), PathBuf::from(base)];
            let found = near.iter().find(|candidate| exists(&candidate.join(CONFIG)));
            let found = found.ok_or_else(|| {
                Error::input(format!("the base model `{base}` is not here"))
                    .at(format!("{place}/{ADAPTER_CONFIG}: base_model_name_or_path"))
                    .next("write the base's folder there: nothing is downloaded")
            })?;
            ModelFolder::read(found)?
        }
    };
    // What was saved with the adapter is what it was trained with.
    if exists(&path.join(TOKENIZER)) {
        folder.tokenizer = read_file(&path.join(TOKENIZER))?;
        folder.beside = read_beside(path)?;
    }
    folder.adapter = Some(AdapterFiles { place, config, weights });
    Ok(folder)
}

/// What stands in the place of a model's config and weights: the config's name and contents, which
/// name the base by its whole path, so that it is found from anywhere; and the weights' name.
pub fn files(lora: &Lora, base: &str) -> (&'static str, Vec<u8>, &'static str) {
    let base = match std::path::absolute(base) {
        Ok(path) if exists(&path.join(CONFIG)) => path.display().to_string(),
        _ => "tiny".into(),
    };
    (ADAPTER_CONFIG, lora.to_json(&base), ADAPTER_WEIGHTS)
}

impl AdapterFiles {
    /// Adapts a model and fills the adapters.
    pub fn lay_over(&self, mut model: Llama, device: &Device) -> Result<Llama> {
        let place = format!("{}/{ADAPTER_CONFIG}", self.place);
        model.adapt(Lora::from_json(&self.config, &place)?.0, 0);
        let tensors = Tensors::open(&self.place, std::slice::from_ref(&self.weights))?;
        weights::fill(&tensors, model.parameters_mut(), device)?;
        let names: HashSet<String> = model.parameters().into_iter().map(|p| p.name).collect();
        tensors.require_only(&names, |_| false)?;
        Ok(model)
    }
}
