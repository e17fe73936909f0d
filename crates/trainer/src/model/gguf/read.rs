//! A GGUF file, or the parts of a split one, as a model's folder: what its metadata says is put into the
//! files that a folder has, so all else reads one like the other.

use crate::config::Frozen;
use crate::error::{Error, Result};
use crate::model::folder::{ModelFolder, Origin, StoredBytes, StoredType, ended};
use crate::model::published::laid_over;
use crate::model::tensors::Shard;
use crate::model::types::types_in_files;
use crate::model::weights::{self, Source};
use crate::model::{Llama, ModelConfig};
use crate::platform::{is_folder, map};
use crate::text::Tokenizer;
use burn::tensor::Device;
use srft_formats::model::gguf::{BlockType, Files, Model, is_gguf};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How such a file's name ends.
const SUFFIX: &str = ".gguf";

/// The origin of a model in GGUF.
#[derive(Debug)]
struct Gguf;

impl Origin for Gguf {
    fn texts(&self, folder: &ModelFolder) -> Result<(Tokenizer, ModelConfig)> {
        let tokenizer = folder.tokenizer()?;
        let mut config = ModelConfig::from_json(&folder.config, &folder.place)?;
        folder.add_ends(&mut config, &tokenizer)?;
        ended(folder, tokenizer, config)
    }

    fn load(
        &self,
        folder: &ModelFolder,
        config: ModelConfig,
        frozen: Frozen,
        device: &Device,
    ) -> Result<Llama> {
        let model = Model::open(&folder.place, &folder.shards)?;
        laid_over(folder, config, device, |config| {
            weights::read_from(&model, config, device, weights::hold(frozen))
        })
    }

    fn frozen_bytes(&self, folder: &ModelFolder) -> Option<StoredBytes> {
        let model = Model::open(&folder.place, &folder.shards).ok()?;
        let of = |is_one: fn(&str) -> bool| {
            let tensors = model.tensors().filter(|t| is_one(t.name) && t.shape.len() == 2);
            let (bytes, numbers) = tensors.fold((0, 0), |(bytes, numbers), t| {
                (bytes + t.bytes.len(), numbers + t.shape.iter().product::<usize>())
            });
            bytes as f64 / numbers as f64
        };
        let (matrices, tables) =
            (of(|name| name.starts_with("blk.")), of(|name| !name.starts_with("blk.")));
        (matrices.min(tables) < 4.0).then_some(StoredBytes { matrices, tables })
    }

    fn types(&self, folder: &ModelFolder) -> Result<Vec<StoredType>> {
        types_in_files(folder)
    }

    fn require_trainable(&self, folder: &ModelFolder) -> Result<()> {
        let model = Model::open(&folder.place, &folder.shards)?;
        let quantised = model.tensors().find(|tensor| tensor.kind.is_quantised());
        quantised.map_or(Ok(()), |tensor| {
            Err(Error::input(format!(
                "`{}` is quantised ({}), and quantised weights do not train",
                tensor.name,
                tensor.kind.name()
            ))
            .at(&folder.place)
            .next(format!(
                "train adapters over them: --lora-rank 16; or widen them first: srft merge --model {} --out \
                 DIR, and train DIR",
                folder.place
            )))
        })
    }
}

impl Source for Model<'_> {
    fn count(&self) -> usize {
        self.count()
    }

    fn require(&self, name: &str, shape: &[usize]) -> Result<()> {
        self.get(name, shape).map(|_| ())
    }

    fn rows(&self, name: &str, shape: &[usize], rows: Range<usize>) -> Result<Vec<f32>> {
        self.get(name, shape)?;
        self.rows(name, rows)
    }

    fn stored(&self, name: &str, shape: &[usize]) -> Result<Option<(BlockType, Cow<'_, [u8]>)>> {
        match self.get(name, shape)?.kind {
            BlockType::F32 => Ok(None),
            kind => Ok(Some((kind, self.blocks(name)?))),
        }
    }

    fn require_only(&self, names: &HashSet<String>, _: bool) -> Result<()> {
        self.require_only(names)
    }
}

impl ModelFolder {
    /// Whether it is a GGUF file.
    pub fn is_gguf(&self) -> bool {
        self.shards.first().is_some_and(|shard| is_gguf(&shard.bytes))
    }
}

/// Whether a path is of a GGUF file. Ollama's have no such name, so the first letters count, too.
pub fn is_file(path: &Path) -> bool {
    let is_named = path.to_string_lossy().ends_with(SUFFIX);
    !is_folder(path) && map(path).is_ok_and(|bytes| is_named || is_gguf(&bytes))
}

/// Reads a GGUF file, with its other parts if it is one of a split model.
pub fn read_file(path: &Path) -> Result<ModelFolder> {
    let part = |path: PathBuf| -> Result<Shard> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = map(&path).map_err(|e| e.next("the model is in parts: copy them all here"))?;
        Ok(Shard { name, bytes })
    };
    let shards: Vec<Shard> = parts(path).into_iter().map(part).collect::<Result<_>>()?;
    let place = path.display().to_string();
    let Files { config, tokenizer, beside } = Model::open(&place, &shards)
        .and_then(|model| Files::of(&model).map_err(|e| e.at(&place)))?;
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.into());
    Ok(ModelFolder {
        name: whole.display().to_string(),
        place,
        config,
        shards,
        index: BTreeMap::new(),
        tokenizer,
        beside,
        adapter: None,
        origin: Arc::new(Gguf),
    })
}

/// The files of the model of which `path` is one: NAME-00001-of-00003.gguf and so on.
fn parts(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let split = || {
        let (rest, count) = name.strip_suffix(SUFFIX)?.rsplit_once("-of-")?;
        let (stem, number) = rest.rsplit_once('-')?;
        let is_number =
            |digits: &str| digits.len() == 5 && digits.parse::<u32>().is_ok_and(|n| n > 0);
        let count = Some(count).filter(|count| is_number(count) && is_number(number))?;
        let part = |n: u32| path.with_file_name(format!("{stem}-{n:05}-of-{count}{SUFFIX}"));
        Some((1..=count.parse().ok()?).map(part).collect())
    };
    split().unwrap_or_else(|| vec![path.into()])
}
