//! An adapter's folder in PEFT's layout, read with the base that it names.

use super::folder::{CONFIG, INDEX, ModelFolder, TOKENIZER, WEIGHTS, read_beside};
use super::lora::MERGE_IN_PEFT;
use super::missing;
use super::tensors::{Shard, Tensors};
use super::{Llama, Lora, weights};
use crate::error::{Error, Result};
use crate::platform::{exists, map, read as read_file};
use burn::tensor::Device;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// An adapter's settings, and the base's name.
pub const ADAPTER_CONFIG: &str = "adapter_config.json";
/// An adapter's weights.
pub const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

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

/// Whether a folder is an adapter's. Some trainers put the base's `config.json` beside it; where there
/// are a whole model's weights and no adapter's, the adapter's settings are left over.
pub fn is_here(path: &Path) -> bool {
    let has = |name: &str| exists(&path.join(name));
    has(ADAPTER_CONFIG) && (has(ADAPTER_WEIGHTS) || !has(WEIGHTS) && !has(INDEX))
}

/// Reads an adapter's folder over its base: the one in `moved`, else the one that it names.
pub fn read(path: &Path, moved: Option<&str>) -> Result<ModelFolder> {
    let place = path.display().to_string();
    let config = read_file(&path.join(ADAPTER_CONFIG))?;
    let named = Lora::base_in(&config, &format!("{place}/{ADAPTER_CONFIG}"))?;
    let bytes =
        map(&path.join(ADAPTER_WEIGHTS)).map_err(|e| missing::explain(path, ADAPTER_WEIGHTS, e))?;
    let weights = Shard { name: ADAPTER_WEIGHTS.into(), bytes };
    let mut folder = match (moved, named.as_deref()) {
        (Some("tiny"), _) | (None, Some("tiny")) => ModelFolder::tiny(),
        (Some(base), _) => ModelFolder::read_whole(Path::new(base))?,
        (None, named) => ModelFolder::read_whole(&find_base(path, named)?)?,
    };
    // What was saved with the adapter is what it was trained with.
    if exists(&path.join(TOKENIZER)) {
        folder.tokenizer = read_file(&path.join(TOKENIZER))?;
        folder.beside = read_beside(path)?;
    }
    folder.adapter = Some(AdapterFiles { place, config, weights });
    Ok(folder)
}

/// The base's folder: beside the adapter, or where this process stands, or anywhere.
fn find_base(adapter: &Path, named: Option<&str>) -> Result<PathBuf> {
    let near = named.map_or(Vec::new(), |base| vec![adapter.join(base), PathBuf::from(base)]);
    near.into_iter().find(|candidate| exists(&candidate.join(CONFIG))).ok_or_else(|| {
        Error::input(match named {
            Some(base) => format!("the base model `{base}` is not here"),
            None => "no base model is named".into(),
        })
        .at(format!("{}/{ADAPTER_CONFIG}: base_model_name_or_path", adapter.display()))
        .next("give the base's folder with --base DIR: nothing is downloaded")
    })
}

/// What stands in the place of a model's config and weights: the config's name and contents, which
/// name the base; and the weights' name.
pub fn files(lora: &Lora, base: &str) -> (&'static str, Vec<u8>, &'static str) {
    (ADAPTER_CONFIG, lora.to_json(base), ADAPTER_WEIGHTS)
}

impl AdapterFiles {
    /// Its settings, over a model of so many layers.
    pub fn lora(&self, layers: usize) -> Result<Lora> {
        Lora::from_json(&self.config, layers, &format!("{}/{ADAPTER_CONFIG}", self.place))
    }

    /// Adapts a model and fills the adapters.
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
