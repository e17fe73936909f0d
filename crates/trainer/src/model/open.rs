//! Reading a folder from disk: a model's, whole or in shards, or an adapter's with its base.

use super::folder::{ModelFolder, read_beside};
use super::published::Published;
use super::tensors::Shard;
use super::{AdapterFiles, Lora, gguf, missing, weights};
use crate::error::{Error, Result};
use crate::hub::{Kind, located, name_of};
use crate::names::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, CONFIG, INDEX, TOKENIZER, WEIGHTS};
use crate::platform::{exists, map, read};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl ModelFolder {
    /// Reads a folder: a model's, or an adapter's with the base that it names.
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_over(path, None)
    }

    /// Like [`Self::read`]; `base` is the folder of an adapter's base, if that isn't where the adapter says.
    pub fn read_over(path: &Path, base: Option<&str>) -> Result<Self> {
        match Self::is_adapter_in(path) {
            true => Self::read_adapter(path, |named| open_base(path, named, base)),
            false => read_whole(path),
        }
    }

    /// Whether a folder is an adapter's. Some trainers put the base's `config.json` beside an adapter. In a
    /// folder with a whole model's weights and no adapter's, the adapter's settings are a leftover.
    pub fn is_adapter_in(path: &Path) -> bool {
        let has = |name: &str| exists(&path.join(name));
        has(ADAPTER_CONFIG) && (has(ADAPTER_WEIGHTS) || !has(WEIGHTS) && !has(INDEX))
    }

    /// The base that an adapter's folder names.
    pub fn base_of_adapter(path: &Path) -> Result<Option<String>> {
        let config = read(&path.join(ADAPTER_CONFIG))?;
        Lora::base_in(&config, &format!("{}/{ADAPTER_CONFIG}", path.display()))
    }

    /// Reads an adapter's folder over the base that `open` gives for the name that the adapter has for it.
    pub fn read_adapter(
        path: &Path,
        open: impl FnOnce(Option<&str>) -> Result<Self>,
    ) -> Result<Self> {
        let place = path.display().to_string();
        let config = read(&path.join(ADAPTER_CONFIG))?;
        let named = Lora::base_in(&config, &format!("{place}/{ADAPTER_CONFIG}"))?;
        let bytes = map(&path.join(ADAPTER_WEIGHTS))
            .map_err(|e| missing::explain(path, ADAPTER_WEIGHTS, e))?;
        let weights = Shard { name: ADAPTER_WEIGHTS.into(), bytes };
        let mut folder = open(named.as_deref())?;
        // A tokenizer saved with the adapter is the one it was trained with.
        if exists(&path.join(TOKENIZER)) {
            folder.tokenizer = read(&path.join(TOKENIZER))?;
            folder.beside = read_beside(path)?;
        }
        folder.adapter = Some(AdapterFiles { place, config, weights });
        Ok(folder)
    }
}

/// Reads a whole model: a folder, or a GGUF file.
fn read_whole(path: &Path) -> Result<ModelFolder> {
    if gguf::read::is_file(path) {
        return gguf::read::read_file(path);
    }
    let lacks = |name: &'static str| move |e: Error| missing::explain(path, name, e);
    let config = read(&path.join(CONFIG)).map_err(lacks(CONFIG))?;
    let index = read_index(path)?;
    // The shard of a tied head may be missing although the index lists it.
    let wanted = |(tensor, file): &(&String, &String)| {
        !weights::is_spare(tensor, true) || exists(&path.join(file.as_str()))
    };
    let mut names: BTreeSet<&str> =
        index.iter().filter(wanted).map(|(_, file)| file.as_str()).collect();
    if names.is_empty() {
        names.insert(WEIGHTS);
    }
    let shard = |name: &str| -> Result<Shard> {
        let bytes = map(&path.join(name)).map_err(lacks(WEIGHTS))?;
        Ok(Shard { name: name.into(), bytes })
    };
    let whole = || std::path::absolute(path).unwrap_or_else(|_| path.into()).display().to_string();
    Ok(ModelFolder {
        place: path.display().to_string(),
        name: name_of(path).map_or_else(whole, |name| name.to_string()),
        config,
        shards: names.into_iter().map(shard).collect::<Result<_>>()?,
        tokenizer: read(&path.join(TOKENIZER)).map_err(lacks(TOKENIZER))?,
        beside: read_beside(path)?,
        index,
        adapter: None,
        origin: Arc::new(Published),
    })
}

/// The index of a folder whose weights are in shards; empty for any other.
fn read_index(folder: &Path) -> Result<BTreeMap<String, String>> {
    let path = folder.join(INDEX);
    if !exists(&path) || exists(&folder.join(WEIGHTS)) {
        return Ok(BTreeMap::new());
    }
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let again = "use the file that was published with the weights";
    let bytes = read(&path)?;
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

/// An adapter's base: the one in `moved`, else the one that the adapter names.
fn open_base(path: &Path, named: Option<&str>, moved: Option<&str>) -> Result<ModelFolder> {
    match (moved, named) {
        (Some("tiny"), _) | (None, Some("tiny")) => {
            Ok(ModelFolder { origin: Arc::new(Published), ..ModelFolder::tiny() })
        }
        (Some(base), _) => read_whole(&located(base, Kind::Model)),
        (None, named) => read_whole(&find_base(path, named)?),
    }
}

/// The base's folder or GGUF file: relative to the adapter, or to the current folder, or an absolute path.
fn find_base(adapter: &Path, named: Option<&str>) -> Result<PathBuf> {
    let near =
        named.map_or(Vec::new(), |base| vec![adapter.join(base), located(base, Kind::Model)]);
    let is_model = |path: &PathBuf| exists(&path.join(CONFIG)) || gguf::read::is_file(path);
    near.into_iter().find(is_model).ok_or_else(|| {
        Error::input(match named {
            Some(base) => format!("the base model `{base}` is not here"),
            None => "no base model is named".into(),
        })
        .at(format!("{}/{ADAPTER_CONFIG}: base_model_name_or_path", adapter.display()))
        .next("give the base's folder, or its name on the hub, with --base DIR")
    })
}
