//! A model folder in Hugging Face's layout: from disk, from the program, from a page. An adapter's
//! folder in PEFT's layout is one too, with the base that it names.

#[cfg(not(target_family = "wasm"))]
use super::missing;
use super::names::{CONFIG, INDEX, TOKENIZER, WEIGHTS};
use super::tensors::{Shard, Tensors};
use super::weights;
use super::{Llama, ModelConfig};
use crate::config::{Frozen, Storage};
use crate::error::{Error, Result};
use crate::platform::{FolderWriter, exists, map, read, tiny_weights};
use crate::text::Tokenizer;
#[cfg(not(target_family = "wasm"))]
use crate::text::chat::ChatTemplate;
use burn::tensor::Device;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What a saved model is called where it cannot be.
pub const EXPORT: &str = "model";
/// Fields of the config.
const TIED: &str = "tie_word_embeddings";
const QUANTISED: &str = "quantization_config";
const GENERATION: &str = "generation_config.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
#[cfg(not(target_family = "wasm"))]
const SPECIAL_TOKENS_MAP: &str = "special_tokens_map.json";

/// What other programs want beside the weights: carried along as it is.
const BESIDE: [&str; 8] = [
    GENERATION,
    TOKENIZER_CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
];

/// The files of a model folder.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    /// Where it came from, for messages.
    pub place: String,
    /// What an adapter over it names as its base: its whole path, or `tiny`. It is settled on reading,
    /// since the folder may be gone when the adapter is written.
    pub name: String,
    /// `config.json`.
    pub config: Vec<u8>,
    /// `model.safetensors`, or its shards.
    pub shards: Vec<Shard>,
    /// Tensors and the shards that the index puts them in; empty without an index.
    pub index: BTreeMap<String, String>,
    /// `tokenizer.json`.
    pub tokenizer: Vec<u8>,
    /// Others by name: generation config, chat template, ...
    pub beside: Vec<(String, Vec<u8>)>,
    /// Adapters over these weights; a page has none.
    #[cfg(not(target_family = "wasm"))]
    pub adapter: Option<super::AdapterFiles>,
}

impl ModelFolder {
    /// The tiny base that ships with the program, made by `srft pretrain`.
    pub fn tiny() -> Self {
        let folder = Self::of_parts(
            "built-in tiny model",
            include_bytes!("../../../../assets/tiny/config.json").to_vec(),
            tiny_weights(),
            include_bytes!("../../../../assets/tiny/tokenizer.json").to_vec(),
        );
        Self { name: "tiny".into(), ..folder }
    }

    /// A folder of three files in memory.
    pub fn of_parts(place: &str, config: Vec<u8>, weights: Vec<u8>, tokenizer: Vec<u8>) -> Self {
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
            #[cfg(not(target_family = "wasm"))]
            adapter: None,
        }
    }

    /// Reads a whole model's folder.
    pub(super) fn read_whole(path: &Path) -> Result<Self> {
        let lacks = |name: &'static str| move |e: Error| missing::explain(path, name, e);
        let config = read(&path.join(CONFIG)).map_err(lacks(CONFIG))?;
        let index = read_index(path)?;
        // A tied head's own shard may be listed and not be there.
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
        let whole = std::path::absolute(path).unwrap_or_else(|_| path.into());
        Ok(Self {
            place: path.display().to_string(),
            name: whole.display().to_string(),
            config,
            shards: names.into_iter().map(shard).collect::<Result<_>>()?,
            tokenizer: read(&path.join(TOKENIZER)).map_err(lacks(TOKENIZER))?,
            beside: read_beside(path)?,
            index,
            #[cfg(not(target_family = "wasm"))]
            adapter: None,
        })
    }

    /// A file that is carried along.
    #[cfg(not(target_family = "wasm"))]
    pub fn beside(&self, name: &str) -> Option<&[u8]> {
        self.beside.iter().find(|(n, _)| n == name).map(|(_, bytes)| bytes.as_slice())
    }

    /// Whether it is an adapter's, which lies over a base of its own.
    #[cfg(not(target_family = "wasm"))]
    pub fn is_adapted(&self) -> bool {
        self.adapter.is_some()
    }

    /// A page has none.
    #[cfg(target_family = "wasm")]
    pub fn is_adapted(&self) -> bool {
        false
    }

    /// Builds the model on a device, all of it in f32, and the tokenizer, checking that they belong
    /// together.
    pub fn load(&self, device: &Device) -> Result<(Llama, Tokenizer)> {
        self.load_frozen(Frozen::F32, device)
    }

    /// The same of a model whose weights will not train, held as `frozen` says.
    pub fn load_frozen(&self, frozen: Frozen, device: &Device) -> Result<(Llama, Tokenizer)> {
        let (tokenizer, config) = self.text_and_shape()?;
        #[cfg(not(target_family = "wasm"))]
        if let Some(adapter) = &self.adapter {
            adapter.lora(config.layers)?; // before the base is read in vain
        }
        let mut tensors = Tensors::open(&self.place, &self.shards)?;
        tensors
            .require_index(&self.index, |name| weights::is_spare(name, config.tied))
            .map_err(|e| e.at(self.at(INDEX)))?;
        let model = weights::read(&mut tensors, config, frozen, device)?;
        #[cfg(not(target_family = "wasm"))]
        let model = match &self.adapter {
            Some(adapter) => adapter.lay_over(model, device)?,
            None => model,
        };
        Ok((model, tokenizer))
    }

    /// The tokenizer and the model's shape, which belong together; no weight is looked at.
    pub fn text_and_shape(&self) -> Result<(Tokenizer, ModelConfig)> {
        let tokenizer = self.tokenizer()?;
        let mut config = ModelConfig::from_json(&self.config, &self.at(CONFIG))?;
        #[cfg(not(target_family = "wasm"))]
        self.require_unquantised()?;
        #[cfg(not(target_family = "wasm"))]
        self.add_ends(&mut config, &tokenizer)?;
        config.require_end().map_err(|e| e.at(self.at(CONFIG)))?;
        let tokenizer = tokenizer.ended_by(&config.eos_tokens).for_vocabulary(config.vocab_size);
        Ok((tokenizer.map_err(|e| e.at(&self.place))?, config))
    }

    /// Lets go of the weights' files, once the model is loaded: under a map, Windows renames no folder,
    /// and elsewhere a removed one keeps its place on the disk. What is needed to write stays.
    pub fn release_weights(&mut self) {
        self.shards.clear();
        #[cfg(not(target_family = "wasm"))]
        if let Some(adapter) = &mut self.adapter {
            adapter.weights.bytes = Vec::new().into();
        }
    }

    /// Whether the config names half precision as the weights' type; the weights are not looked at.
    #[cfg(not(target_family = "wasm"))]
    pub fn names_halves(&self) -> bool {
        let config: Value = serde_json::from_slice(&self.config).unwrap_or_default();
        let name = [&config["dtype"], &config["torch_dtype"]].into_iter().find_map(Value::as_str);
        let halves = [Storage::F16, Storage::Bf16].map(weights::torch_name);
        name.is_some_and(|name| halves.contains(&name))
    }

    /// The tokenizer, with what stands of special tokens in the files beside it.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        let tokenizer = Tokenizer::from_bytes(&self.tokenizer, &self.at(TOKENIZER))?;
        #[cfg(not(target_family = "wasm"))]
        let tokenizer = {
            let file = |name| self.beside(name);
            tokenizer.with_config(file(TOKENIZER_CONFIG), file(SPECIAL_TOKENS_MAP), &self.place)?
        };
        Ok(tokenizer)
    }

    /// The chat template, where the folder has one.
    #[cfg(not(target_family = "wasm"))]
    pub fn template(&self) -> Result<Option<ChatTemplate>> {
        let file = |name| self.beside(name);
        ChatTemplate::from_files(
            file("chat_template.jinja"),
            file(TOKENIZER_CONFIG),
            file(SPECIAL_TOKENS_MAP),
            &self.place,
        )
    }

    /// What is otherwise than the config says, for the user to hear; `model` is what was loaded.
    #[cfg(not(target_family = "wasm"))]
    pub fn notes(&self, model: &ModelConfig) -> Vec<String> {
        let config: Value = serde_json::from_slice(&self.config).unwrap_or_default();
        let tied = config[TIED] == true && !model.tied;
        let head = "lm_head.weight is stored and differs from the embedding, so it is the head, as in \
             transformers 5, though tie_word_embeddings is true";
        let left = "quantization_config is left over from a quantised model and is ignored: the weights \
             here are not quantised";
        let notes = [(tied, head), (!config[QUANTISED].is_null(), left)];
        let place = self.at(CONFIG);
        notes.iter().filter(|(told, _)| *told).map(|(_, note)| format!("{place}: {note}")).collect()
    }

    /// Refuses quantised weights. The config alone does not tell: its field is often left over.
    #[cfg(not(target_family = "wasm"))]
    fn require_unquantised(&self) -> Result<()> {
        let config: Value = serde_json::from_slice(&self.config).unwrap_or_default();
        let how = &config[QUANTISED];
        if how.is_null() {
            return Ok(());
        }
        // Files that cannot be read are refused when they are needed.
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
            .next("supported: weights in F32, F16 or BF16: take the unquantised checkpoint")),
        }
    }

    /// What ends a text besides: for the generation config, for the tokenizer's files, and for the
    /// chat template, which writes it behind an assistant's turn. Of several ends, the tokenizer's
    /// own closes a demonstration, as in TRL.
    #[cfg(not(target_family = "wasm"))]
    fn add_ends(&self, config: &mut ModelConfig, tokenizer: &Tokenizer) -> Result<()> {
        if let Some(bytes) = self.beside(GENERATION) {
            config.add_generation_config(bytes, &self.at(GENERATION))?;
        }
        // A template that can't be read is an error where it is used.
        let turn_end = self.template().ok().flatten().and_then(|template| template.turn_end());
        let turn_end = turn_end.and_then(|text| tokenizer.id(&text));
        let turn_end = turn_end.filter(|&id| tokenizer.is_special(id));
        let own = tokenizer.end();
        let ends = own.into_iter().chain(turn_end);
        config.eos_tokens.extend(ends.filter(|&id| (id as usize) < config.vocab_size));
        config.eos_tokens.sort_by_key(|&id| Some(id) != own);
        Ok(())
    }

    /// Writes a folder that the user names, whole or not at all: this one's files with the model's
    /// present weights, or with its adapters alone. Refused where something else lies than a model
    /// that was saved so.
    pub async fn save(&self, path: &Path, model: &Llama, storage: Storage) -> Result<()> {
        self.export(path, model, storage, false).await
    }

    /// The same; with `overwrite` also into a folder with other files, of which those of the same names
    /// are replaced.
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

    /// Writes the same files into a folder that is begun already, and may get others too.
    pub async fn write(
        &self,
        folder: &mut FolderWriter,
        model: &Llama,
        storage: Storage,
    ) -> Result<()> {
        // A page stores what it trains.
        let storage = if cfg!(target_family = "wasm") { Storage::F32 } else { storage };
        let files = (CONFIG, config_of(&self.config, model.config.tied, storage), WEIGHTS);
        #[cfg(not(target_family = "wasm"))]
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

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.place)
    }
}

/// The files of [`BESIDE`] that are there, by name.
pub(super) fn read_beside(path: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let there = BESIDE.iter().filter(|name| exists(&path.join(name)));
    there.map(|name| Ok((name.to_string(), read(&path.join(name))?))).collect()
}

/// The index of a folder whose weights are in shards; else none.
#[cfg(not(target_family = "wasm"))]
fn read_index(folder: &Path) -> Result<BTreeMap<String, String>> {
    let path = folder.join(INDEX);
    if !exists(&path) || exists(&folder.join(WEIGHTS)) {
        return Ok(BTreeMap::new());
    }
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let again = "take the file that was published with the weights";
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

/// A page reads what it wrote.
#[cfg(target_family = "wasm")]
mod missing {
    pub fn explain(_: &std::path::Path, _: &str, error: super::Error) -> super::Error {
        error
    }
}

/// A page reads what it wrote, which is one file.
#[cfg(target_family = "wasm")]
fn read_index(_: &Path) -> Result<BTreeMap<String, String>> {
    Ok(BTreeMap::new())
}

/// The config of the weights that are written, where it says otherwise: their type, whether the head is
/// tied, and no word of a quantisation.
fn config_of(config: &[u8], tied: bool, storage: Storage) -> Vec<u8> {
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(config) else {
        return config.to_vec();
    };
    let before = fields.clone();
    let key = if fields.contains_key("dtype") { "dtype" } else { "torch_dtype" };
    fields.insert(key.into(), weights::torch_name(storage).into());
    if fields.get(TIED) == Some(&Value::Bool(true)) && !tied {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::names_in;
    use pollster::block_on;

    /// Whether it comes first or after others that are written by then.
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
