//! A model that is loaded once for several runs: they share its frozen weights, and nobody needs its files any more.

use super::folder::{ModelFolder, Origin, Print, StoredBytes, StoredType, ended};
use super::published::laid_over;
use super::{Llama, ModelConfig};
use crate::config::Frozen;
use crate::error::{Error, Result};
use crate::text::Tokenizer;
use burn::tensor::Device;
use std::sync::Arc;

/// The origin of a model that is loaded, and what was found out from its files.
struct Kept {
    model: Llama,
    tokenizer: Tokenizer,
    texts: u32, // of the files that the tokenizer was read from
    device: Device,
    prints: Vec<(String, Print)>,
    frozen_bytes: Option<StoredBytes>,
    untrainable: Option<Error>,
    types: Vec<StoredType>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a model in memory on {:?}", self.device)
    }
}

impl Origin for Kept {
    fn texts(&self, folder: &ModelFolder) -> Result<(Tokenizer, ModelConfig)> {
        let config = self.model.config.clone();
        if texts_of(folder) == self.texts {
            return Ok((self.tokenizer.clone(), config));
        }
        ended(folder, folder.tokenizer()?, config) // an adapter's own
    }

    fn load(
        &self,
        folder: &ModelFolder,
        config: ModelConfig,
        frozen: Frozen,
        device: &Device,
    ) -> Result<Llama> {
        if *device != self.device {
            return Err(Error::input(
                "the model was loaded onto another device, and its files are gone",
            )
            .at(&folder.place)
            .next("give the files again"));
        }
        laid_over(folder, config, device, |config| {
            let mut model = self.model.clone();
            model.config = config;
            if frozen == Frozen::F32 {
                model.merge(); // widens what is held otherwise
            }
            Ok(model)
        })
    }

    fn require_trainable(&self, _: &ModelFolder) -> Result<()> {
        self.untrainable.clone().map_or(Ok(()), Err)
    }

    fn frozen_bytes(&self, _: &ModelFolder) -> Option<StoredBytes> {
        self.frozen_bytes
    }

    fn prints(&self, _: &ModelFolder) -> Vec<(String, Print)> {
        self.prints.clone()
    }

    fn types(&self, _: &ModelFolder) -> Result<Vec<StoredType>> {
        Ok(self.types.clone())
    }
}

/// The CRC-32 of all that decides how texts are read.
fn texts_of(folder: &ModelFolder) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(&folder.tokenizer);
    for (name, bytes) in &folder.beside {
        hash.update(name.as_bytes());
        hash.update(bytes);
    }
    hash.finalize()
}

impl ModelFolder {
    /// Loads the model onto a device, its frozen weights as they are stored, lets its files go, and gives that model to
    /// whoever loads this folder, a clone of it, or an adapter over it.
    pub fn keep(&mut self, device: &Device) -> Result<()> {
        let (model, tokenizer) = self.load_frozen(Frozen::Stored, device)?;
        let kept = Kept {
            model,
            tokenizer,
            texts: texts_of(self),
            device: device.clone(),
            prints: self.prints(),
            frozen_bytes: self.frozen_bytes(),
            untrainable: self.require_trainable().err(),
            types: self.types()?,
        };
        self.release_weights();
        self.origin = Arc::new(kept);
        Ok(())
    }
}
