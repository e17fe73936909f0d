//! What a published folder says besides weights and shape: what ends a text, special tokens, the chat
//! template; and what in it is to be ignored.

use super::folder::{Origin, QUANTISED, StoredBytes, StoredType, ended, says_tied};
use super::tensors::Tensors;
use super::types::types_in_files;
use super::{Llama, ModelConfig, ModelFolder, weights};
use crate::config::{Frozen, Storage};
use crate::error::{Error, Result};
use crate::names::{
    CONFIG, GENERATION, INDEX, SPECIAL_TOKENS_MAP, TEMPLATE, TOKENIZER, TOKENIZER_CONFIG,
};
use crate::text::Tokenizer;
use crate::text::chat::ChatTemplate;
use burn::tensor::Device;
use serde_json::Value;
use std::sync::Arc;

/// The origin of a folder that anyone may have written.
#[derive(Debug)]
pub struct Published;

impl Origin for Published {
    fn texts(&self, folder: &ModelFolder) -> Result<(Tokenizer, ModelConfig)> {
        let tokenizer = folder.tokenizer()?;
        let mut config = ModelConfig::from_json(&folder.config, &folder.at(CONFIG))?;
        folder.require_unquantised()?;
        folder.add_ends(&mut config, &tokenizer)?;
        ended(folder, tokenizer, config)
    }

    fn load(
        &self,
        folder: &ModelFolder,
        config: ModelConfig,
        frozen: Frozen,
        device: &Device,
    ) -> Result<Llama> {
        laid_over(folder, config, device, |config| {
            let mut tensors = Tensors::open(&folder.place, &folder.shards)?;
            tensors
                .require_index(&folder.index, |name| weights::is_spare(name, config.tied))
                .map_err(|e| e.at(folder.at(INDEX)))?;
            weights::read(&mut tensors, config, device, weights::hold(frozen))
        })
    }

    fn types(&self, folder: &ModelFolder) -> Result<Vec<StoredType>> {
        types_in_files(folder)
    }

    /// By what the config says; the weights are not looked at.
    fn frozen_bytes(&self, folder: &ModelFolder) -> Option<StoredBytes> {
        let config: Value = serde_json::from_slice(&folder.config).unwrap_or_default();
        let name = [&config["dtype"], &config["torch_dtype"]].into_iter().find_map(Value::as_str);
        let halves = [Storage::F16, Storage::Bf16].map(weights::torch_name);
        let halves = name.is_some_and(|name| halves.contains(&name));
        halves.then_some(StoredBytes { matrices: 2.0, tables: 2.0 })
    }
}

/// The folder's adapter, if there is one, over the model that `read` makes.
pub(super) fn laid_over(
    folder: &ModelFolder,
    config: ModelConfig,
    device: &Device,
    read: impl FnOnce(ModelConfig) -> Result<Llama>,
) -> Result<Llama> {
    if let Some(adapter) = &folder.adapter {
        adapter.lora(config.layers)?; // before the base is read in vain
    }
    let model = read(config)?;
    match &folder.adapter {
        Some(adapter) => adapter.lay_over(model, device),
        None => Ok(model),
    }
}

impl ModelFolder {
    /// A folder of three files in memory, read as one that others published.
    pub fn of_parts(place: &str, config: Vec<u8>, weights: Vec<u8>, tokenizer: Vec<u8>) -> Self {
        Self { origin: Arc::new(Published), ..Self::own(place, config, weights, tokenizer) }
    }

    /// The tokenizer, with the special tokens that the files beside it name.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        let tokenizer = Tokenizer::from_bytes(&self.tokenizer, &self.at(TOKENIZER))?;
        let file = |name| self.beside(name);
        tokenizer.with_config(file(TOKENIZER_CONFIG), file(SPECIAL_TOKENS_MAP), &self.place)
    }

    /// The chat template, if the folder has one.
    pub fn template(&self) -> Result<Option<ChatTemplate>> {
        let file = |name| self.beside(name);
        ChatTemplate::from_files(
            file(TEMPLATE),
            file(TOKENIZER_CONFIG),
            file(SPECIAL_TOKENS_MAP),
            &self.place,
        )
    }

    /// Bytes of a number of frozen weights as they are stored; `None` if they are in f32.
    pub fn frozen_bytes(&self) -> Option<StoredBytes> {
        self.origin.frozen_bytes(self)
    }

    /// Where the weights contradict the config, as notes to the user; `model` is what was loaded.
    pub fn notes(&self, model: &ModelConfig) -> Vec<String> {
        let config: Value = serde_json::from_slice(&self.config).unwrap_or_default();
        let tied = says_tied(&self.config) && !model.tied;
        let head = "lm_head.weight is stored and differs from the embedding, so it is the head, as in \
             transformers 5, though tie_word_embeddings is true";
        let left = "quantization_config is left over from a quantised model and is ignored: the weights \
             here are not quantised";
        let notes = [(tied, head), (!config[QUANTISED].is_null(), left)];
        let place = self.at(CONFIG);
        notes.iter().filter(|(told, _)| *told).map(|(_, note)| format!("{place}: {note}")).collect()
    }

    /// Refuses quantised weights. The config alone does not decide: its field is often a leftover.
    fn require_unquantised(&self) -> Result<()> {
        let config: Value = serde_json::from_slice(&self.config).unwrap_or_default();
        let how = &config[QUANTISED];
        if how.is_null() {
            return Ok(());
        }
        // Files that cannot be read give an error when they are needed.
        let Ok(tensors) = Tensors::open(&self.place, &self.shards) else { return Ok(()) };
        match tensors
            .names()
            .find(|name| !weights::is_spare(name, false) && !tensors.is_float(name))
        {
            None => Ok(()),
            Some(name) => Err(Error::input(format!(
                "{QUANTISED} = {how} is not supported, and `{name}` is quantised"
            ))
            .at(self.at(CONFIG))
            .next("weights in F32, F16 or BF16 are supported: use the unquantised checkpoint")),
        }
    }

    /// Adds the other tokens that end a text: the generation config's, the tokenizer's, and the one that
    /// the chat template writes after an assistant's turn. The tokenizer's own comes first: it is what
    /// ends a demonstration, as in TRL.
    pub(super) fn add_ends(&self, config: &mut ModelConfig, tokenizer: &Tokenizer) -> Result<()> {
        if let Some(bytes) = self.beside(GENERATION) {
            config.add_generation_config(bytes, &self.at(GENERATION))?;
        }
        // A template that can't be read gives an error when it is used.
        let turn_end = self.template().ok().flatten().and_then(|template| template.turn_end());
        let turn_end = turn_end.and_then(|text| tokenizer.id(&text));
        let turn_end = turn_end.filter(|&id| tokenizer.is_special(id));
        let own = tokenizer.end();
        let ends = own.into_iter().chain(turn_end);
        config.eos_tokens.extend(ends.filter(|&id| (id as usize) < config.vocab_size));
        config.eos_tokens.sort_by_key(|&id| Some(id) != own);
        Ok(())
    }
}
