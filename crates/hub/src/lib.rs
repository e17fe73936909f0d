//! Models and data sets from the Hugging Face hub: asks which files a repository has, downloads those that are
//! wanted into the cache that Python's `huggingface_hub` uses, and pins each name to its commit, so that a run's
//! config finds the very same files again. Names, and where they lie on disk, are in `srft_formats::hub`.

mod client;
mod data;
mod download;
mod listing;
mod model;

pub use client::Hub;

use srft_formats::config::Config;
use srft_formats::error::Result;
use srft_formats::hub::{Kind, Name, located};
use srft_formats::model::Lora;
use srft_formats::names::{ADAPTER_CONFIG, WEIGHTS};
use srft_formats::platform::{exists, read};

/// Told how far a download has got, and what its user should know.
pub trait Watch: Send + Sync {
    /// `done` bytes of a file's `of` bytes are there.
    fn downloading(&self, file: &str, done: u64, of: u64);

    /// Something happened that the user should know.
    fn note(&self, text: &str);
}

/// Nobody watches.
#[derive(Debug)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn downloading(&self, _: &str, _: u64, _: u64) {}

    fn note(&self, _: &str) {}
}

/// The config with the model and the data that it names on the hub in the cache, and their names pinned. What
/// is on disk under the name that is given stays as it is.
pub fn fetched(config: &Config, hub: &Hub) -> Result<Config> {
    let (mut model, mut data) = (config.model.clone(), config.data.clone());
    model.path = fetched_model(&model.path, hub)?;
    match model.base.is_empty() {
        false => model.base = fetched_model(&model.base, hub)?,
        true => model.base = fetched_base(&model.path, hub)?.unwrap_or_default(),
    }
    data.train = fetched_data(&data.train, &["train"], hub)?;
    data.eval = fetched_data(&data.eval, &["test", "validation"], hub)?;
    if (&model, &data) == (&config.model, &config.data) {
        return Ok(config.clone());
    }
    config.with(|settings| (settings.model, settings.data) = (model, data))
}

/// A model's path, or the pinned name of one on the hub, which is then in the cache.
pub fn fetched_model(path: &str, hub: &Hub) -> Result<String> {
    match Name::of(path) {
        Some(name) => hub.model(&name).map(|name| name.to_string()),
        None => Ok(path.into()),
    }
}

/// The pinned name of the base that an adapter in a folder names, if that is on the hub.
pub fn fetched_base(adapter: &str, hub: &Hub) -> Result<Option<String>> {
    let folder = located(adapter, Kind::Model);
    let path = folder.join(ADAPTER_CONFIG);
    if !exists(&path) || exists(&folder.join(WEIGHTS)) {
        return Ok(None);
    }
    let named = Lora::base_in(&read(&path)?, &path.display().to_string())?;
    let is_on_disk = |base: &String| exists(&folder.join(base));
    let name = named.filter(|base| !is_on_disk(base)).and_then(|base| Name::of(&base));
    let pinned = |name| hub.model(&name).map(|pinned| pinned.to_string());
    name.map(pinned).transpose().map_err(|e| e.at(path.display()))
}

fn fetched_data(paths: &[String], splits: &[&str], hub: &Hub) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for path in paths {
        match Name::of(path) {
            Some(name) => all.extend(hub.data(&name, splits)?.iter().map(Name::to_string)),
            None => all.push(path.clone()),
        }
    }
    Ok(all)
}
