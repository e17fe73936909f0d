//! A GGUF file as the files of a folder beside its weights.

use super::container::Metadata;
use super::tensors::Model;
use super::tokenizer::Vocabulary;
use super::{config, special, tokenizer};
use crate::error::Result;
use crate::names::{GENERATION, TEMPLATE, TOKENIZER_CONFIG};
use serde_json::{Value, json};

/// The files of a Hugging Face folder that a model's metadata holds, as transformers names them.
#[derive(Debug)]
pub struct Files {
    /// `config.json`.
    pub config: Vec<u8>,
    /// `tokenizer.json`.
    pub tokenizer: Vec<u8>,
    /// Others by name: generation config, tokenizer config, chat template.
    pub beside: Vec<(String, Vec<u8>)>,
}

impl Files {
    /// Reads the metadata of a model.
    pub fn of(model: &Model) -> Result<Self> {
        let metadata = model.metadata();
        let vocabulary = Vocabulary::read(metadata)?;
        let (tokenizer_config, template) = tokenizer::beside(metadata, &vocabulary)?;
        let mut beside = vec![
            (GENERATION.into(), text(&generation(metadata)?)),
            (TOKENIZER_CONFIG.into(), text(&tokenizer_config)),
        ];
        let template = template.map(|text| (TEMPLATE.into(), text.into()));
        beside.extend(template);
        Ok(Self {
            config: text(&config::read(model)?.into()),
            tokenizer: serde_json::to_vec(&tokenizer::read(metadata, &vocabulary)?)
                .expect("a JSON value"),
            beside,
        })
    }
}

fn generation(metadata: &Metadata) -> Result<Value> {
    let ids = special::ids(metadata)?.into_iter().filter(|(name, _)| ["bos", "pad"].contains(name));
    let mut fields = json!({"eos_token_id": special::ends(metadata)?});
    ids.for_each(|(name, id)| fields[format!("{name}_token_id")] = id.into());
    Ok(fields)
}

fn text(value: &Value) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("a JSON value");
    text.push(b'\n');
    text
}
