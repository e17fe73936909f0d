//! A model folder in Hugging Face's layout, in memory: loaded onto a device, and written. An adapter's
//! folder in PEFT's layout is one too, with the base that it names.

use super::tensors::{Shard, Tensors};
use super::{AdapterFiles, Llama, ModelConfig, weights};
use crate::config::{Frozen, Storage};
use crate::error::Result;
use crate::names::{ADAPTER_CONFIG, BESIDE, CONFIG, INDEX, TOKENIZER, WEIGHTS};
use crate::platform::{FolderWriter, exists, read, tiny_weights};
use crate::text::Tokenizer;
use burn::tensor::Device;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

/// What an error calls a model that cannot be saved.
pub const EXPORT: &str = "model";
/// The name of the model that the program has built in.
const BUILT_IN: &str = "tiny";
/// The config's field that says whether the head is the embedding.
const TIED: &str = "tie_word_embeddings";
pub(super) const QUANTISED: &str = "quantization_config";

/// The files of a model folder.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    /// Where it came from, for messages.
    pub place: String,
    /// The base that an adapter trained on it will name: its absolute path, or `tiny`. It is found on
    /// reading, since the folder may be gone when the adapter is written.
    pub name: String,
    /// `config.json`.
    pub config: Vec<u8>,
    /// `model.safetensors`, or its shards.
    pub shards: Vec<Shard>,
    /// The shard of each tensor, by the index; empty without an index.
    pub index: BTreeMap<String, String>,
    /// `tokenizer.json`.
    pub tokenizer: Vec<u8>,
    /// Others by name: generation config, chat template, ...
    pub beside: Vec<(String, Vec<u8>)>,
    /// Adapters over these weights.
    pub adapter: Option<AdapterFiles>,
    /// Who wrote it, which decides how it is read.
    pub(super) origin: Arc<dyn Origin>,
}

/// A file's length and CRC-32.
pub type Print = (u64, u32);

/// Bytes of a number of frozen weights as they are stored, on average: a GGUF's matrices may be of several types.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StoredBytes {
    /// Of the layers' matrices.
    pub matrices: f64,
    /// Of embedding and head.
    pub tables: f64,
}

/// The tensors of a model's files that are stored alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredType {
    /// As GGUF or safetensors calls it, for example `Q4_1` or `BF16`.
    pub name: String,
    /// How many tensors.
    pub tensors: usize,
    /// Bytes of them all.
    pub bytes: u64,
}

/// Who wrote a folder, which decides what may be in it. A page reads only folders that srft wrote, so its
/// download needs no template engine, adapters or half precision.
pub(super) trait Origin: Debug + Send + Sync {
    /// The tokenizer and the model's shape, checked to fit each other; weights are not read.
    fn texts(&self, folder: &ModelFolder) -> Result<(Tokenizer, ModelConfig)>;

    /// The model of that shape on a device; frozen weights are held as `frozen` says.
    fn load(
        &self,
        folder: &ModelFolder,
        config: ModelConfig,
        frozen: Frozen,
        device: &Device,
    ) -> Result<Llama>;

    /// Refuses weights that cannot train as they are stored.
    fn require_trainable(&self, _: &ModelFolder) -> Result<()> {
        Ok(())
    }

    /// See [`ModelFolder::frozen_bytes`].
    fn frozen_bytes(&self, _: &ModelFolder) -> Option<StoredBytes> {
        None
    }

    /// See [`ModelFolder::types`].
    fn types(&self, _: &ModelFolder) -> Result<Vec<StoredType>> {
        Ok(Vec::new())
    }

    /// See [`ModelFolder::prints`].
    fn prints(&self, folder: &ModelFolder) -> Vec<(String, Print)> {
        let weights = folder.shards.iter().map(|shard| (shard.name.as_str(), &*shard.bytes));
        let print = |bytes: &[u8]| (bytes.len() as u64, crc32fast::hash(bytes));
        let files = weights.chain([(CONFIG, folder.config.as_slice())]);
        files.map(|(name, bytes)| (name.into(), print(bytes))).collect()
    }
}

/// srft wrote it: nothing beside the three files changes how it is read.
#[derive(Debug)]
struct Own;

impl Origin for Own {
    fn texts(&self, folder: &ModelFolder) -> Result<(Tokenizer, ModelConfig)> {
        let tokenizer = Tokenizer::from_bytes(&folder.tokenizer, &folder.at(TOKENIZER))?;
        ended(folder, tokenizer, ModelConfig::from_json(&folder.config, &folder.at(CONFIG))?)
    }

    fn load(
        &self,
        folder: &ModelFolder,
        config: ModelConfig,
        _: Frozen,
        device: &Device,
    ) -> Result<Llama> {
        let mut tensors = Tensors::open(&folder.place, &folder.shards)?;
        weights::read(&mut tensors, config, device, |_, _| Ok(()))
    }
}

impl ModelFolder {
    /// The tiny base that ships with the program, made by `srft pretrain`.
    pub fn tiny() -> Self {
        let folder = Self::own(
            "built-in tiny model",
            srft_assets::TINY_CONFIG.into(),
            tiny_weights(),
            srft_assets::TINY_TOKENIZER.into(),
        );
        Self { name: BUILT_IN.into(), ..folder }
    }

    /// A folder of three files that srft wrote.
    pub(super) fn own(place: &str, config: Vec<u8>, weights: Vec<u8>, tokenizer: Vec<u8>) -> Self {
        let shards = vec![Shard { name: WEIGHTS.into(), bytes: weights.into() }];
        let (index, beside) = (BTreeMap::new(), Vec::new());
        Self {
            place: place.into(),
            name: place.into(),
            config,
            shards,
            index,
            tokenizer,
            beside,
            adapter: None,
            origin: Arc::new(Own),
        }
    }

    /// Reads a whole model's folder that srft wrote.
    pub fn read_own(path: &Path) -> Result<Self> {
        let file = |name: &str| read(&path.join(name));
        let place = path.display().to_string();
        let folder = Self::own(&place, file(CONFIG)?, file(WEIGHTS)?, file(TOKENIZER)?);
        Ok(Self { beside: read_beside(path)?, ..folder })
    }

    /// The files of the whole model by their names, without adapters: what [`ModelFolder::read`] reads.
    pub fn files(&self) -> Vec<(&str, Cow<'_, [u8]>)> {
        let shards = self.shards.iter().map(|s| (s.name.as_str(), Cow::Borrowed(&*s.bytes)));
        if self.is_gguf() {
            return shards.collect();
        }
        let texts = [(CONFIG, &self.config), (TOKENIZER, &self.tokenizer)];
        let beside = self.beside.iter().map(|(name, bytes)| (name.as_str(), bytes));
        let texts = texts.into_iter().chain(beside);
        let texts = texts.map(|(name, bytes)| (name, Cow::Borrowed(bytes.as_slice())));
        let index = (!self.index.is_empty()).then(|| {
            let text = serde_json::json!({"weight_map": &self.index}).to_string();
            (INDEX, Cow::Owned(text.into_bytes()))
        });
        shards.chain(texts).chain(index).collect()
    }

    /// The files of the adapters over the whole model, by their names; none where there are none.
    pub fn adapter_files(&self) -> Vec<(&str, Cow<'_, [u8]>)> {
        let Some(adapter) = &self.adapter else { return Vec::new() };
        vec![
            (ADAPTER_CONFIG, Cow::Borrowed(adapter.config.as_slice())),
            (adapter.weights.name.as_str(), Cow::Borrowed(&*adapter.weights.bytes)),
        ]
    }

    /// Whether the whole model, under adapters or not, is the built-in one.
    pub fn is_built_in(&self) -> bool {
        self.name == BUILT_IN
    }

    /// One of the other files, by name.
    pub fn beside(&self, name: &str) -> Option<&[u8]> {
        self.beside.iter().find(|(n, _)| n == name).map(|(_, bytes)| bytes.as_slice())
    }

    /// Whether it is an adapter's folder, with its base.
    pub fn is_adapted(&self) -> bool {
        self.adapter.is_some()
    }

    /// Builds the model on a device, all of it in f32, and the tokenizer, checking that they fit each other.
    pub fn load(&self, device: &Device) -> Result<(Llama, Tokenizer)> {
        self.load_frozen(Frozen::F32, device)
    }

    /// Like [`Self::load`], for a model whose weights don't train and are held as `frozen` says.
    pub fn load_frozen(&self, frozen: Frozen, device: &Device) -> Result<(Llama, Tokenizer)> {
        let (tokenizer, config) = self.text_and_shape()?;
        Ok((self.origin.load(self, config, frozen, device)?, tokenizer))
    }

    /// The tokenizer and the model's shape, checked to fit each other; weights are not read.
    pub fn text_and_shape(&self) -> Result<(Tokenizer, ModelConfig)> {
        self.origin.texts(self)
    }

    /// Refuses weights that cannot train as they are stored.
    pub fn require_trainable(&self) -> Result<()> {
        self.origin.require_trainable(self)
    }

    /// The files that hold weights and shape, by which the model is known again.
    pub fn prints(&self) -> Vec<(String, Print)> {
        self.origin.prints(self)
    }

    /// Closes the weights' memory maps, once the model is loaded: while one is open, Windows cannot rename
    /// the folder, and elsewhere a removed file still takes disk space. What saving needs stays.
    pub fn release_weights(&mut self) {
        self.shards.clear();
        if let Some(adapter) = &mut self.adapter {
            adapter.weights.bytes = Vec::new().into();
        }
    }

    /// Writes the folder `path`, whole or not at all: this folder's files with `model`'s weights, or with its
    /// adapters alone. Refused if `path` holds anything but a model saved this way.
    pub async fn save(&self, path: &Path, model: &Llama, storage: Storage) -> Result<()> {
        self.export(path, model, storage, false).await
    }

    /// Like [`Self::save`]; with `overwrite` also into a folder with other files, where files of the same
    /// names are replaced.
    pub async fn export(
        &self,
        path: &Path,
        model: &Llama,
        storage: Storage,
        overwrite: bool,
    ) -> Result<()> {
        let mut folder = FolderWriter::export(path, EXPORT, overwrite)?;
        self.write(&mut folder, model, storage).await?;
        folder.finish()
    }

    /// Writes the model's files into a folder that is being written, and may get other files too.
    pub async fn write(
        &self,
        folder: &mut FolderWriter,
        model: &Llama,
        storage: Storage,
    ) -> Result<()> {
        let files = (CONFIG, config_of(&self.config, model.config.tied, storage), WEIGHTS);
        let files = match model.lora() {
            Some(lora) => super::adapter::files(lora, &self.name),
            None => files,
        };
        let (config_name, config, weights_name) = files;
        folder.file(config_name)?.write(&config)?;
        weights::write(folder.file(weights_name)?, model.parameters(), storage).await?;
        folder.file(TOKENIZER)?.write(&self.tokenizer)?;
        self.beside.iter().try_for_each(|(name, bytes)| folder.file(name)?.write(bytes))
    }

    pub(super) fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.place)
    }
}

/// Returns both, or an error if no token ends a text.
pub(super) fn ended(
    folder: &ModelFolder,
    tokenizer: Tokenizer,
    mut config: ModelConfig,
) -> Result<(Tokenizer, ModelConfig)> {
    config.require_end().map_err(|e| e.at(folder.at(CONFIG)))?;
    let tokenizer = tokenizer.ended_by(&config.eos_tokens).for_vocabulary(config.vocab_size);
    Ok((tokenizer.map_err(|e| e.at(&folder.place))?, config))
}

/// The files of [`BESIDE`] that the folder has, by name.
pub(super) fn read_beside(path: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let there = BESIDE.iter().filter(|name| exists(&path.join(name)));
    there.map(|name| Ok((name.to_string(), read(&path.join(name))?))).collect()
}

/// The config, corrected for the weights that are written: their type, whether the head is tied, and no
/// quantisation.
fn config_of(config: &[u8], tied: bool, storage: Storage) -> Vec<u8> {
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(config) else {
        return config.to_vec();
    };
    let before = fields.clone();
    let key = if fields.contains_key("dtype") { "dtype" } else { "torch_dtype" };
    fields.insert(key.into(), weights::torch_name(storage).into());
    if !tied && says_tied(config) {
        fields.insert(TIED.into(), false.into());
    }
    fields.shift_remove(QUANTISED);
    if fields == before {
        return config.to_vec();
    }
    let mut text = serde_json::to_vec_pretty(&fields).expect("a JSON value");
    text.push(b'\n');
    text
}

/// Whether a model's config says that the head is the embedding, be it by its silence.
pub(super) fn says_tied(config: &[u8]) -> bool {
    ModelConfig::from_json(config, "").is_ok_and(|config| config.tied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::names_in;
    use pollster::block_on;

    /// Whether the bad weight is the first one written or comes after others.
    #[test]
    fn a_weight_that_cannot_be_stored_leaves_the_older_folder() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("best");
        let folder = ModelFolder::tiny();
        let (model, _) = folder.load(&Device::flex()).unwrap();
        block_on(folder.save(&path, &model, Storage::F32)).unwrap();
        let before = read(&path.join(WEIGHTS)).unwrap();
        assert!(before == *folder.shards[0].bytes, "as it was read");
        for (number, storage, what) in [
            (f32::NAN, Storage::F32, "is no longer finite"),
            (f32::NEG_INFINITY, Storage::Bf16, "is no longer finite"),
            (1e5, Storage::F16, "holds 100000, more than F16 can"),
        ] {
            for index in [0, model.parameters().len() - 1] {
                let mut broken = model.clone();
                let p = &mut broken.parameters_mut()[index];
                *p.tensor = p.tensor.clone() * 0.0 + number;
                let name = p.name.clone();
                let error = block_on(folder.save(&path, &broken, storage)).unwrap_err();
                assert_eq!(error.kind, crate::error::Kind::Numbers);
                assert_eq!(error.what, format!("`{name}` {what}"));
                assert!(read(&path.join(WEIGHTS)).unwrap() == before);
                assert_eq!(names_in(home.path()).unwrap(), ["best"], "no leftovers");
            }
        }
    }
}
