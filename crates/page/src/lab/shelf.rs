//! What a lab's runs can read besides their own checkpoints: nothing, in the page of the built-in model; or what the
//! visitor brought. A lab is given one, so that the first page's download has nothing of the second's.

use super::preset::{self, Preset};
use super::protocol::{Facts, Look};
use crate::config::{self, Config};
use crate::device::Kind;
use crate::error::{Error, Result};
use crate::model::ModelFolder;
use crate::run::{Given, Run};
use crate::text::Tokenizer;
use burn::tensor::Device;
use std::path::{Path, PathBuf};

/// Reads what runs need.
pub trait Shelf {
    /// What a run is given.
    fn given(&self) -> &Given;

    /// The preset for a device; `model` is the path of the runs' model.
    fn preset(&self, kind: Kind, _model: &str) -> Preset {
        preset::of(kind)
    }

    /// Takes a file that the visitor brought, or one of ours that has this name.
    fn bring(&self, name: &str, _bytes: Option<Vec<u8>>) -> Result<()> {
        Err(no_files(name))
    }

    /// What there is to say of a model before anything runs.
    fn look(&self, look: &Look) -> Result<Facts> {
        Err(no_files(&look.model))
    }

    /// Loads the base of the runs to come, which they share.
    fn keep(&self, _model: &config::Model, _device: &Device) -> Result<()> {
        Ok(())
    }

    /// What a model reads when it is asked something.
    fn prompt(
        &self,
        _: &ModelFolder,
        tokenizer: &Tokenizer,
        _: &Config,
        text: &str,
    ) -> Result<Vec<u32>> {
        tokenizer.encode(text)
    }

    /// Writes a run's adapter for other programs into its folder.
    fn export<'a>(&'a self, _run: &'a Run) -> Exported<'a> {
        Box::pin(async { Ok(()) })
    }

    /// The brought files that a run reads besides the model, by the name that its settings have for them.
    fn data(&self, _: &Config) -> Result<Vec<(String, PathBuf)>> {
        Ok(Vec::new())
    }
}

/// What comes of an export.
pub type Exported<'a> = std::pin::Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

pub(super) fn no_files(place: &str) -> Error {
    Error::input("this page has the built-in model and task alone")
        .at(Path::new(place).display())
        .next("open the page for models, or use the program")
}
