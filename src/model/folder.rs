//! A model folder in Hugging Face's layout, as bytes: from disk, from the program, from a page.

use super::{Llama, ModelConfig, weights};
use crate::error::Result;
use crate::platform::{read, tiny_weights};
use crate::text::Tokenizer;
use burn::tensor::Device;
use std::path::Path;

/// The files of a model folder.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    /// Where it came from, for messages.
    pub place: String,
    /// `config.json`.
    pub config: Vec<u8>,
    /// `model.safetensors`.
    pub weights: Vec<u8>,
    /// `tokenizer.json`.
    pub tokenizer: Vec<u8>,
}

/// The file names, in the order they are written.
pub const FILES: [&str; 3] = ["config.json", "model.safetensors", "tokenizer.json"];

impl ModelFolder {
    /// The tiny base that ships with the program, made by `srft pretrain`.
    pub fn tiny() -> Self {
        Self {
            place: "built-in tiny model".into(),
            config: include_bytes!("../../assets/tiny/config.json").to_vec(),
            weights: tiny_weights(),
            tokenizer: include_bytes!("../../assets/tiny/tokenizer.json").to_vec(),
        }
    }

    /// Reads a folder.
    pub fn read(path: &Path) -> Result<Self> {
        let file = |name: &str| {
            read(&path.join(name)).map_err(|e| {
                e.next("a model folder holds config.json, model.safetensors and tokenizer.json")
            })
        };
        Ok(Self {
            place: path.display().to_string(),
            config: file(FILES[0])?,
            weights: file(FILES[1])?,
            tokenizer: file(FILES[2])?,
        })
    }

    /// Builds the model on a device and the tokenizer, checking that they belong together.
    pub fn load(&self, device: &Device) -> Result<(Llama, Tokenizer)> {
        let at = |name: &str| format!("{}/{name}", self.place);
        let config = ModelConfig::from_json(&self.config, &at(FILES[0]))?;
        let tokenizer = Tokenizer::from_bytes(&self.tokenizer, &at(FILES[2]))?;
        if tokenizer.vocab_size() > config.vocab_size {
            return Err(crate::error::Error::input(format!(
                "the tokenizer has {} tokens and the model a vocabulary of {}",
                tokenizer.vocab_size(),
                config.vocab_size
            ))
            .at(&self.place)
            .next("use the tokenizer.json that belongs to this model"));
        }
        let model = weights::read(&self.weights, config, device).map_err(|e| e.at(at(FILES[1])))?;
        Ok((model, tokenizer))
    }

    /// The folder's files with the model's present weights.
    pub async fn with_weights(&self, model: &Llama) -> Result<Vec<(&'static str, Vec<u8>)>> {
        Ok(vec![
            (FILES[0], self.config.clone()),
            (FILES[1], weights::write(model).await?),
            (FILES[2], self.tokenizer.clone()),
        ])
    }
}
