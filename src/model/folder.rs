//! A model folder in Hugging Face's layout: from disk, from the program, from a page. An adapter's
//! folder in PEFT's layout is one too, with the base that it names.

use super::tensors::{Shard, Tensors};
use super::weights;
use super::{Llama, Lora, ModelConfig};
use crate::config::Storage;
use crate::error::{Error, Result};
use crate::platform::{exists, map, read, tiny_weights};
use crate::text::Tokenizer;
#[cfg(not(target_family = "wasm"))]
use crate::text::chat::ChatTemplate;
use burn::tensor::Device;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

/// The model's shape.
pub const CONFIG: &str = "config.json";
/// The weights, where they are one file.
pub const WEIGHTS: &str = "model.safetensors";
/// The tokenizer.
pub const TOKENIZER: &str = "tokenizer.json";
/// Which shard holds which tensor.
const INDEX: &str = "model.safetensors.index.json";
const GENERATION: &str = "generation_config.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const ADAPTER_CONFIG: &str = "adapter_config.json";
const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

/// What other programs want beside the weights: carried along as it is.
const BESIDE: [&str; 8] = [
    GENERATION,
    TOKENIZER_CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
];

/// The files of a model folder.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    /// Where it came from, for messages.
    pub place: String,
    /// `config.json`.
    pub config: Vec<u8>,
    /// `model.safetensors`, or its shards.
    pub shards: Vec<Shard>,
    /// Tensors and the shards that the index puts them in; empty without an index.
    pub index: BTreeMap<String, String>,
    /// `tokenizer.json`.
    pub tokenizer: Vec<u8>,
    /// Others by name: generation config, chat template, ...
    pub beside: Vec<(String, Vec<u8>)>,
    /// Adapters over these weights.
    pub adapter: Option<AdapterFiles>,
}

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

/// A file by its name in a folder.
pub type NamedFile = (String, Vec<u8>);

impl ModelFolder {
    /// The tiny base that ships with the program, made by `srft pretrain`.
    pub fn tiny() -> Self {
        Self::of_parts(
            "built-in tiny model",
            include_bytes!("../../assets/tiny/config.json").to_vec(),
            tiny_weights(),
            include_bytes!("../../assets/tiny/tokenizer.json").to_vec(),
        )
    }

    /// A folder of three files in memory.
    pub fn of_parts(place: &str, config: Vec<u8>, weights: Vec<u8>, tokenizer: Vec<u8>) -> Self {
        let shards = vec![Shard { name: WEIGHTS.into(), bytes: weights.into() }];
        let (index, beside) = (BTreeMap::new(), Vec::new());
        Self { place: place.into(), config, shards, index, tokenizer, beside, adapter: None }
    }

    /// Reads a folder: a model's, or an adapter's with the base that it names.
    pub fn read(path: &Path) -> Result<Self> {
        if exists(&path.join(ADAPTER_CONFIG)) && !exists(&path.join(CONFIG)) {
            return Self::read_adapter(path);
        }
        let expected = |e: Error| {
            e.next(
                "a model folder holds config.json, model.safetensors (or its index and shards) \
                    and tokenizer.json",
            )
        };
        let config = read(&path.join(CONFIG)).map_err(expected)?;
        let is_sharded = exists(&path.join(INDEX)) && !exists(&path.join(WEIGHTS));
        let index = if is_sharded { read_index(&path.join(INDEX))? } else { BTreeMap::new() };
        let names: BTreeSet<&str> = match is_sharded {
            true => index.values().map(String::as_str).collect(),
            false => [WEIGHTS].into(),
        };
        let shard = |name: &str| -> Result<Shard> {
            let bytes = map(&path.join(name)).map_err(expected)?;
            Ok(Shard { name: name.into(), bytes })
        };
        Ok(Self {
            place: path.display().to_string(),
            config,
            shards: names.into_iter().map(shard).collect::<Result<_>>()?,
            tokenizer: read(&path.join(TOKENIZER)).map_err(expected)?,
            beside: read_beside(path)?,
            index,
            adapter: None,
        })
    }

    fn read_adapter(path: &Path) -> Result<Self> {
        let place = path.display().to_string();
        let config = read(&path.join(ADAPTER_CONFIG))?;
        let (_, base) = Lora::from_json(&config, &format!("{place}/{ADAPTER_CONFIG}"))?;
        let weights =
            Shard { name: ADAPTER_WEIGHTS.into(), bytes: map(&path.join(ADAPTER_WEIGHTS))? };
        let mut folder = match base.as_str() {
            "tiny" => Self::tiny(),
            base => {
                // Beside the adapter, or where this process stands, or anywhere.
                let near = [path.join(base), PathBuf::from(base)];
                let found = near.iter().find(|candidate| exists(&candidate.join(CONFIG)));
                let found = found.ok_or_else(|| {
                    Error::input(format!("the base model `{base}` is not here"))
                        .at(format!("{place}/{ADAPTER_CONFIG}: base_model_name_or_path"))
                        .next("write the base's folder there: nothing is downloaded")
                })?;
                Self::read(found)?
            }
        };
        // What was saved with the adapter is what it was trained with.
        if exists(&path.join(TOKENIZER)) {
            folder.tokenizer = read(&path.join(TOKENIZER))?;
            folder.beside = read_beside(path)?;
        }
        folder.adapter = Some(AdapterFiles { place, config, weights });
        Ok(folder)
    }

    /// A file that is carried along.
    pub fn beside(&self, name: &str) -> Option<&[u8]> {
        self.beside.iter().find(|(n, _)| n == name).map(|(_, bytes)| bytes.as_slice())
    }

    /// Builds the model on a device and the tokenizer, checking that they belong together.
    pub fn load(&self, device: &Device) -> Result<(Llama, Tokenizer)> {
        let tokenizer = Tokenizer::from_bytes(&self.tokenizer, &self.at(TOKENIZER))?;
        let config = self.shape(&tokenizer)?;
        if tokenizer.vocab_size() > config.vocab_size {
            return Err(Error::input(format!(
                "the tokenizer has {} tokens and the model a vocabulary of {}",
                tokenizer.vocab_size(),
                config.vocab_size
            ))
            .at(&self.place)
            .next("use the tokenizer.json that belongs to this model"));
        }
        let tensors = Tensors::open(&self.place, &self.shards)?;
        tensors.require_index(&self.index).map_err(|e| e.at(self.at(INDEX)))?;
        let mut model = weights::read(&tensors, config, device)?;
        if let Some(adapter) = &self.adapter {
            adapter.lay_over(&mut model, device)?;
        }
        Ok((model, tokenizer))
    }

    /// The chat template, where the folder has one.
    #[cfg(not(target_family = "wasm"))]
    pub fn template(&self) -> Result<Option<ChatTemplate>> {
        let file = |name| self.beside(name);
        ChatTemplate::from_files(
            file("chat_template.jinja"),
            file(TOKENIZER_CONFIG),
            file("special_tokens_map.json"),
            &self.place,
        )
    }

    /// The model's shape, with all that ends a text.
    pub fn shape(&self, tokenizer: &Tokenizer) -> Result<ModelConfig> {
        let mut config = ModelConfig::from_json(&self.config, &self.at(CONFIG))?;
        if let Some(bytes) = self.beside(GENERATION) {
            config.add_generation_config(bytes, &self.at(GENERATION))?;
        }
        config.require_end().map_err(|e| e.at(self.at(CONFIG)))?;
        // Of several ends, the tokenizer's own closes a demonstration, as in TRL.
        if let Some(bytes) = self.beside(TOKENIZER_CONFIG) {
            let settings: Value = serde_json::from_slice(bytes).map_err(|e| {
                Error::input(e.to_string())
                    .at(self.at(TOKENIZER_CONFIG))
                    .next("take the file that was published with the model, or remove it")
            })?;
            let end = &settings["eos_token"];
            let end = end.as_str().or_else(|| end["content"].as_str());
            let end = end.and_then(|token| tokenizer.id(token));
            config.eos_tokens.sort_by_key(|&id| Some(id) != end);
        }
        Ok(config)
    }

    /// The folder's files with the model's present weights, or with its adapters alone.
    pub async fn with_weights(&self, model: &Llama, storage: Storage) -> Result<Vec<NamedFile>> {
        let weights = weights::write(model.parameters(), storage).await?;
        let mut files = match model.lora() {
            Some(lora) => vec![
                (ADAPTER_CONFIG.to_string(), lora.to_json(&self.base_name())),
                (ADAPTER_WEIGHTS.to_string(), weights),
            ],
            None => vec![
                (CONFIG.to_string(), with_dtype(&self.config, storage)),
                (WEIGHTS.to_string(), weights),
            ],
        };
        files.push((TOKENIZER.to_string(), self.tokenizer.clone()));
        files.extend(self.beside.iter().cloned());
        Ok(files)
    }

    /// What an adapter's config calls the base: its whole path, so that it is found from anywhere.
    fn base_name(&self) -> String {
        match std::path::absolute(&self.place) {
            Ok(path) if exists(&path.join(CONFIG)) => path.display().to_string(),
            _ => "tiny".into(),
        }
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.place)
    }
}

impl AdapterFiles {
    /// Adapts the model and fills the adapters.
    pub fn lay_over(&self, model: &mut Llama, device: &Device) -> Result<()> {
        let (lora, _) = Lora::from_json(&self.config, &format!("{}/{ADAPTER_CONFIG}", self.place))?;
        model.adapt(lora, 0);
        let tensors = Tensors::open(&self.place, std::slice::from_ref(&self.weights))?;
        weights::fill(&tensors, model.parameters_mut(), device)?;
        let names: HashSet<String> = model.parameters().into_iter().map(|p| p.name).collect();
        tensors.require_only(&names, |_| false)
    }
}

fn read_beside(path: &Path) -> Result<Vec<NamedFile>> {
    let there = BESIDE.iter().filter(|name| exists(&path.join(name)));
    there.map(|name| Ok((name.to_string(), read(&path.join(name))?))).collect()
}

fn read_index(path: &Path) -> Result<BTreeMap<String, String>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let again = "take the file that was published with the weights";
    let bytes = read(path)?;
    let index: Index = serde_json::from_slice(&bytes)
        .map_err(|e| Error::input(e.to_string()).at(path.display()).next(again))?;
    let leaves = |name: &String| Path::new(name).components().count() != 1 || name.contains('\\');
    if let Some(name) = index.weight_map.values().find(|name| leaves(name)) {
        return Err(Error::input(format!("the shard `{name}` is not a file of this folder"))
            .at(path.display())
            .next(again));
    }
    match index.weight_map.is_empty() {
        false => Ok(index.weight_map),
        true => Err(Error::input("weight_map is empty").at(path.display()).next(again)),
    }
}

/// The config with the name of the weights' type, where it says another.
fn with_dtype(config: &[u8], storage: Storage) -> Vec<u8> {
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(config) else {
        return config.to_vec();
    };
    let key = if fields.contains_key("dtype") { "dtype" } else { "torch_dtype" };
    let name = Value::from(weights::torch_name(storage));
    if fields.insert(key.into(), name.clone()) == Some(name) {
        return config.to_vec();
    }
    let mut text = serde_json::to_vec_pretty(&fields).expect("a JSON value");
    text.push(b'\n');
    text
}
