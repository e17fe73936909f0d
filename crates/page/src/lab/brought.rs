//! What a visitor brought: a published model as a GGUF file or a folder, data, an adapter. Files lie in the tab's
//! memory under their names, which are paths, as they would be for the program in the folder that has them.

use super::preset::Preset;
use super::protocol::{Facts, Look};
use super::shelf::{Exported, Shelf};
use super::{facts, preset, sums};
use crate::config::{self, Comparison, Config, RewardBy};
use crate::data::gym::{Problems, Tasks, task_of};
use crate::device::Kind;
use crate::error::{Error, Result};
use crate::model::{Llama, ModelFolder};
use crate::plan::Circumstances;
use crate::platform::{FolderWriter, exists, put, remove_file};
use crate::reward::{Grader, Part, Weighted};
use crate::run::{Examples, For, Given, Program, Reads, Run, data_template};
use crate::text::Tokenizer;
use burn::tensor::Device;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The folder of a run's adapter for other programs, and the file for llama.cpp.
const PEFT: &str = "peft";
const LORA: &str = "adapter.gguf";
/// Most bytes of a data file that is saved with the runs.
const LARGEST_SAVED: u64 = 16 << 20;

/// The shelf of a page for models.
pub struct Brought {
    files: &'static Files,
    given: Given,
}

/// Reads what was brought. The base is loaded once and kept; its own files are let go then.
#[derive(Debug, Default)]
struct Files {
    shelf: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    names: BTreeSet<PathBuf>,
    base: Option<(PathBuf, Device, ModelFolder)>,
}

/// A tab starts no programs.
#[derive(Debug)]
struct NoTasks;

static PROGRAM: Program = Program { tasks: &NoTasks };

impl Brought {
    /// An empty shelf. A tab has one for its life, and so it is never freed.
    pub fn new() -> Self {
        let files: &'static Files = Box::leak(Box::default());
        Self { files, given: Given::of(files) }
    }
}

impl Default for Brought {
    fn default() -> Self {
        Self::new()
    }
}

impl Shelf for Brought {
    fn given(&self) -> &Given {
        &self.given
    }

    fn preset(&self, kind: Kind, model: &str) -> Preset {
        match model {
            "tiny" => preset::of(kind),
            _ => preset::of_models(kind),
        }
    }

    fn bring(&self, name: &str, bytes: Option<Vec<u8>>) -> Result<()> {
        let path = PathBuf::from(name);
        let bytes = match bytes {
            Some(bytes) => bytes,
            None if path.ends_with(sums::NAME) => sums::jsonl(),
            None => {
                return Err(Error::input("a file without its bytes")
                    .at(name)
                    .next(format!("send them too; only {} is ours", sums::NAME)));
            }
        };
        put(&path, bytes)?;
        self.files.held(|held| {
            held.base.take_if(|(of, ..)| path.starts_with(of));
            held.names.insert(path);
        });
        Ok(())
    }

    fn look(&self, look: &Look) -> Result<Facts> {
        let path = Path::new(&look.model);
        // A file that is not a model only takes up the tab's memory.
        let folder = self.files.model(path, None).inspect_err(|_| self.files.discard(path))?;
        let kind = if look.device.starts_with("webgpu") { Kind::Discrete } else { Kind::Cpu };
        let model = format!("model.path={}", look.model);
        let settings = look.settings.iter().chain([&model]).map(|setting| Config::setting(setting));
        let config = preset::under(settings.collect::<Result<_>>()?, preset::of_models(kind))?;
        facts::of(&folder, &config, kind)
    }

    fn keep(&self, model: &config::Model, device: &Device) -> Result<()> {
        self.files.keep(model, device)
    }

    fn prompt(
        &self,
        folder: &ModelFolder,
        tokenizer: &Tokenizer,
        config: &Config,
        text: &str,
    ) -> Result<Vec<u32>> {
        let Some(template) = data_template(folder)? else { return tokenizer.encode(text) };
        let system = Some(&config.data.system).filter(|text| !text.is_empty());
        let mut messages = Vec::from_iter(system.map(|s| json!({"role": "system", "content": s})));
        messages.push(json!({"role": "user", "content": text}));
        let text = template.render(&messages, None, true, &Default::default())?;
        Ok(tokenizer.pieces(&text)?.ids)
    }

    fn export<'a>(&'a self, run: &'a Run) -> Exported<'a> {
        Box::pin(async move {
            let policy = &run.trainer().learner.policy;
            if policy.lora().is_none() {
                return Ok(());
            }
            let folder = run.path().join(PEFT);
            let mut writer = FolderWriter::begin(&folder)?;
            run.base().write(&mut writer, policy, run.config().checkpoint.dtype).await?;
            writer.finish()?;
            let adapted = self.files.model(&folder, Some(&run.config().model.path))?;
            let name = run.config().objective.method.name();
            let mut writer = FolderWriter::begin(&run.path().join("llama.cpp"))?;
            adapted.write_gguf_lora(writer.file(LORA)?, name).await?;
            writer.finish()
        })
    }

    fn data(&self, config: &Config) -> Result<Vec<(String, PathBuf)>> {
        let named = config.data.train.iter().chain(&config.data.eval);
        let small =
            |path: &Path| crate::platform::map(path).is_ok_and(|b| b.len() as u64 <= LARGEST_SAVED);
        let found = named.map(|name| (name.clone(), PathBuf::from(name)));
        // Of other folders than the tab's one.
        let near = |path: &Path| path.components().count() == 1;
        Ok(found.filter(|(_, path)| near(path) && small(path)).collect())
    }
}

impl Files {
    fn held<T>(&self, action: impl FnOnce(&mut Held) -> T) -> T {
        action(&mut self.shelf.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The base in memory, if `path` means it: a run that began elsewhere knows it by another folder.
    fn kept(&self, path: &Path) -> Option<ModelFolder> {
        self.held(|held| {
            let (of, _, folder) = held.base.as_ref()?;
            (of == path || of.file_name() == path.file_name()).then(|| folder.clone())
        })
    }

    /// What was brought under that path, or else under its name alone.
    fn located(&self, path: &Path) -> PathBuf {
        if exists(path) {
            return path.into();
        }
        let name = path.file_name();
        let found = self.held(|held| {
            let all = held.names.iter().flat_map(|file| file.ancestors());
            all.into_iter()
                .find(|file| file.file_name() == name && name.is_some())
                .map(PathBuf::from)
        });
        found.unwrap_or_else(|| path.into())
    }

    /// Lets go what was brought under a path.
    fn discard(&self, path: &Path) {
        self.held(|held| {
            held.names.retain(|file| {
                let is_of = file.starts_with(path);
                if is_of {
                    let _ = remove_file(file); // it may be gone
                }
                !is_of
            });
        });
    }

    fn whole(&self, path: &Path) -> Result<ModelFolder> {
        if path == Path::new("tiny") {
            return Ok(ModelFolder::tiny());
        }
        self.kept(path).map_or_else(|| ModelFolder::read(&self.located(path)), Ok)
    }

    fn keep(&self, model: &config::Model, device: &Device) -> Result<()> {
        let path = Path::new(&model.path);
        let adapter = self.located(path);
        if ModelFolder::is_adapter_in(&adapter) {
            let named = ModelFolder::base_of_adapter(&adapter)?;
            let base = Some(model.base.clone()).filter(|base| !base.is_empty()).or(named);
            return base.map_or(Ok(()), |base| self.keep_whole(Path::new(&base), device));
        }
        self.keep_whole(path, device)
    }

    fn keep_whole(&self, path: &Path, device: &Device) -> Result<()> {
        let is_kept = |held: &mut Held| {
            held.base.take_if(|(of, on, _)| of.file_name() != path.file_name() || on != device);
            held.base.is_some()
        };
        if path == Path::new("tiny") || self.held(is_kept) {
            return Ok(());
        }
        let place = self.located(path);
        let mut folder = ModelFolder::read(&place).map_err(|e| match exists(&place) {
            true => e,
            false => Error::input("the base of these runs is not here")
                .at(path.display())
                .next("drop that file or folder on the page first; it is let go once it is loaded"),
        })?;
        let beside =
            if folder.is_gguf() { place.parent().unwrap_or(Path::new("")) } else { &place };
        let files: Vec<PathBuf> =
            folder.shards.iter().map(|shard| beside.join(&shard.name)).collect();
        folder.keep(device)?;
        self.held(|held| {
            held.base = Some((place, device.clone(), folder));
            files
                .iter()
                .filter(|file| held.names.remove(*file))
                .try_for_each(|file| remove_file(file))
        })
    }
}

fn no_program(place: &str) -> Error {
    Error::input("a page starts no programs").at(place).next("use srft train for that")
}

impl Reads for Files {
    fn model(&self, path: &Path, base: Option<&str>) -> Result<ModelFolder> {
        let place = self.located(path);
        if !ModelFolder::is_adapter_in(&place) {
            return self.whole(path);
        }
        ModelFolder::read_adapter(&place, |named| {
            let named = base.or(named).ok_or_else(|| {
                Error::input("the adapter names no base").at(place.display()).next("set model.base")
            })?;
            self.whole(Path::new(named))
        })
    }

    fn grader(&self, config: &Config) -> Result<Grader> {
        match config.data.verifier {
            Comparison::Command | Comparison::Task => Err(no_program("data.verifier")),
            _ => PROGRAM.grader(config),
        }
    }

    fn rewards(&self, config: &Config) -> Result<Vec<Weighted>> {
        let named = config.reward.named.iter();
        let mut by_command = named.filter(|reward| matches!(reward.by, RewardBy::Command(..)));
        match (config.reward.command.is_empty(), by_command.next()) {
            (true, None) => PROGRAM.rewards(config),
            (_, Some(reward)) => Err(no_program(&format!("the reward `{}`", reward.name))),
            (false, None) => Err(no_program("reward.command")),
        }
    }

    fn adapt(&self, model: &mut Llama, config: &Config) -> Result<()> {
        PROGRAM.adapt(model, config)
    }

    fn recomputed(
        &self,
        config: &Config,
        model: &Llama,
        here: Circumstances,
        budget: Option<usize>,
    ) -> usize {
        PROGRAM.recomputed(config, model, here, budget)
    }

    fn contents(&self, name: &str, config: &Config) -> Result<Vec<u8>> {
        match task_of(name) {
            Some(_) => Err(no_program(name)),
            None => PROGRAM.contents(name, config),
        }
    }

    fn examples<'a>(&self, reader: For<'a>) -> Result<Box<dyn Examples + 'a>> {
        PROGRAM.examples(reader)
    }
}

impl Tasks for NoTasks {
    fn problems(&self, task: &str, _: Duration) -> Result<Arc<Problems>> {
        Err(no_program(task))
    }

    fn judge(&self, _: &str, _: Duration) -> Arc<dyn Part> {
        unreachable!("such a verifier is refused before")
    }
}
