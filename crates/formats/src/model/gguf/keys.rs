//! The metadata under the architecture's own name.

use super::container::{Metadata, Value as Stored};
use super::names::GEMMA;
use crate::error::{Error, Result};
use std::fmt::Display;

/// Architectures by llama.cpp's name, transformers' `model_type`, and transformers' class.
const ARCHITECTURES: [(&str, &str, &str); 4] = [
    ("llama", "llama", "LlamaForCausalLM"), // Mistral, too
    ("qwen2", "qwen2", "Qwen2ForCausalLM"),
    ("qwen3", "qwen3", "Qwen3ForCausalLM"),
    (GEMMA, "gemma3_text", "Gemma3ForCausalLM"),
];

/// The error for a value that is not implemented.
pub fn unsupported(key: impl Display, value: impl Display, known: impl Display) -> Error {
    Error::input(format!("{key} = {value} is not supported")).next(format!("supported: {known}"))
}

/// The error for a key that must be there.
pub fn missing(key: impl Display) -> Error {
    Error::input(format!("{key} is missing")).next("take a file that llama.cpp reads")
}

/// The metadata under the architecture's name.
pub struct Keys<'m, 'a> {
    /// All of the metadata.
    pub metadata: &'m Metadata<'a>,
    /// llama.cpp's name of it.
    pub architecture: &'a str,
    /// transformers' `model_type`.
    pub model_type: &'static str,
    /// transformers' class.
    pub class: &'static str,
}

impl<'m, 'a> Keys<'m, 'a> {
    /// The keys of the file's architecture.
    pub fn of(metadata: &'m Metadata<'a>) -> Result<Self> {
        let key = "general.architecture";
        let architecture = metadata.text(key)?.ok_or_else(|| missing(key))?;
        let row = ARCHITECTURES.iter().find(|row| row.0 == architecture);
        let known = || ARCHITECTURES.map(|row| row.0).join(", ") + " (Mistral is llama)";
        let (_, model_type, class) = row.ok_or_else(|| unsupported(key, architecture, known()))?;
        Ok(Self { metadata, architecture, model_type, class })
    }

    /// A key's whole name.
    pub fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    /// A number, if it is there.
    pub fn number(&self, key: &str) -> Result<Option<f64>> {
        self.metadata.number(&self.name(key))
    }

    /// A size. It may be a list with one for each layer, all the same.
    pub fn may(&self, key: &str) -> Result<Option<u64>> {
        let name = self.name(key);
        let Ok(Some(list)) = self.metadata.list(&name) else { return self.metadata.whole(&name) };
        let mut sizes = list.values();
        let first = sizes.next();
        match first {
            Some(Stored::Whole(size)) if sizes.all(|other| other == Stored::Whole(size)) => {
                Ok(u64::try_from(size).ok())
            }
            _ => Err(unsupported(name, "a list of different sizes", "one size for all layers")),
        }
    }

    /// A size that must be there.
    pub fn must(&self, key: &str) -> Result<u64> {
        self.may(key)?.ok_or_else(|| missing(self.name(key)))
    }

    /// Width of a head.
    pub fn head_width(&self) -> Result<u64> {
        let width = match self.may("attention.key_length")? {
            Some(width) => width,
            None => {
                let (all, heads) =
                    (self.must("embedding_length")?, self.must("attention.head_count")?);
                all.checked_div(heads).unwrap_or(0)
            }
        };
        match width > 0 && width.is_multiple_of(2) && width <= 1 << 20 {
            true => Ok(width),
            false => Err(unsupported("the width of a head", width, "even widths")),
        }
    }
}

/// The architecture, and the width of a head.
pub fn heads<'a>(metadata: &Metadata<'a>) -> Result<(&'a str, usize)> {
    let keys = Keys::of(metadata)?;
    Ok((keys.architecture, keys.head_width()? as usize))
}
