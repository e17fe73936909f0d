//! Which kind of folder it is, a model's or an adapter's with its base, and reading either.

use super::folder::ModelFolder;
use crate::error::Result;
use std::path::Path;
#[cfg(not(target_family = "wasm"))]
use {
    super::adapter::AdapterFiles,
    super::folder::read_beside,
    super::names::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, CONFIG, INDEX, TOKENIZER, WEIGHTS},
    super::tensors::Shard,
    super::{Lora, missing},
    crate::error::Error,
    crate::platform::{exists, map, read},
    std::path::PathBuf,
};

impl ModelFolder {
    /// Reads a folder: a model's, or an adapter's with the base that it names.
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_over(path, None)
    }

    /// The same; `base` is the folder of an adapter's base, where that is not where the adapter says.
    pub fn read_over(path: &Path, base: Option<&str>) -> Result<Self> {
        #[cfg(not(target_family = "wasm"))]
        if is_adapter(path) {
            return read_adapter(path, base);
        }
        let _ = base;
        Self::read_whole(path)
    }
}

#[cfg(not(target_family = "wasm"))]
/// Whether a folder is an adapter's. Some trainers put the base's `config.json` beside it; where there
/// are a whole model's weights and no adapter's, the adapter's settings are left over.
fn is_adapter(path: &Path) -> bool {
    let has = |name: &str| exists(&path.join(name));
    has(ADAPTER_CONFIG) && (has(ADAPTER_WEIGHTS) || !has(WEIGHTS) && !has(INDEX))
}

#[cfg(not(target_family = "wasm"))]
/// Reads an adapter's folder over its base: the one in `moved`, else the one that it names.
fn read_adapter(path: &Path, moved: Option<&str>) -> Result<ModelFolder> {
    let place = path.display().to_string();
    let config = read(&path.join(ADAPTER_CONFIG))?;
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
        folder.tokenizer = read(&path.join(TOKENIZER))?;
        folder.beside = read_beside(path)?;
    }
    folder.adapter = Some(AdapterFiles { place, config, weights });
    Ok(folder)
}

#[cfg(not(target_family = "wasm"))]
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
