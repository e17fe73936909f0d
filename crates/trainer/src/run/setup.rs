//! From a config to the parts of a run.

use super::given::{Given, NOTHING};
use super::reader::Reader;
use crate::config::{self, Config, Frozen, Objective};
use crate::data::builtin;
use crate::error::{Error, Result};
use crate::eval::Suite;
use crate::learner::Learner;
use crate::model::{Llama, ModelFolder};
use crate::objective::buffer::Buffer;
use crate::optim::AdamW;
use crate::reward::{Grader, Verifier};
use crate::text::Tokenizer;
use crate::trainer::Trainer;
use burn::tensor::Device;
use std::path::Path;
#[cfg(not(target_family = "wasm"))]
use {
    crate::config::{Comparison, unknown},
    crate::model::{Lora, lora::TARGETS},
    crate::reward::{Format, Part, command::Command},
    std::sync::Arc,
    std::time::Duration,
};

/// `tiny`, or a folder.
pub fn model_folder(path: &str) -> Result<ModelFolder> {
    match path {
        "tiny" => Ok(ModelFolder::tiny()),
        path => ModelFolder::read(Path::new(path)),
    }
}

/// The model that a config names; an adapter over the base that `model.base` names, if it does.
pub fn open_model(model: &config::Model) -> Result<ModelFolder> {
    match model.path.as_str() {
        "tiny" => over(ModelFolder::tiny(), &model.base),
        path => read_over(Path::new(path), &model.base),
    }
}

/// The folder in `path`; an adapter over `base`, unless that is empty.
pub(super) fn read_over(path: &Path, base: &str) -> Result<ModelFolder> {
    over(ModelFolder::read_over(path, (!base.is_empty()).then_some(base))?, base)
}

/// Refuses a base for what is whole.
fn over(folder: ModelFolder, base: &str) -> Result<ModelFolder> {
    #[cfg(not(target_family = "wasm"))]
    if !base.is_empty() && folder.adapter.is_none() {
        return Err(Error::input(format!(
            "`{base}` is given as an adapter's base, but the model is whole"
        ))
        .at(&folder.place)
        .next("leave out --base (model.base), or give the adapter's folder with --model"));
    }
    let _ = base;
    Ok(folder)
}

/// That model on a device, to sample from, and its tokenizer.
pub fn load_model(
    model: &config::Model,
    device: &Device,
) -> Result<(ModelFolder, Llama, Tokenizer)> {
    let folder = open_model(model)?;
    let (loaded, tokenizer) = folder.load_frozen(model.frozen, device)?;
    Ok((folder, loaded, tokenizer))
}

/// How responses are judged: the built-in task's way, or as configured for the user's files.
pub fn grader(config: &Config) -> Result<Grader> {
    grader_of(config, &NOTHING)
}

fn grader_of(config: &Config, given: &Given) -> Result<Grader> {
    let data = &config.data;
    if data.train.is_empty() && data.eval.is_empty() {
        return given.judge(Grader::of(builtin::verifier(), data.reward), config);
    }
    let marker = (!data.answer_after.is_empty()).then(|| data.answer_after.clone());
    let form = config.math.form;
    let verifier = Verifier { comparison: data.verifier, answer_after: marker, form };
    let grader = Grader::of(verifier, data.reward);
    #[cfg(not(target_family = "wasm"))]
    let grader = with_parts(grader, config)?;
    given.judge(grader, config)
}

/// The parts that only a program has.
#[cfg(not(target_family = "wasm"))]
fn with_parts(mut grader: Grader, config: &Config) -> Result<Grader> {
    let reward = &config.reward;
    if !reward.command.is_empty() {
        let limit = Duration::from_secs_f64(reward.command_secs);
        let command: Arc<dyn Part> = Arc::new(Command::new(&reward.command, limit)?);
        match config.data.verifier {
            Comparison::Command => grader.judge = Some(command),
            _ => grader.parts.push((reward.command_weight, command)),
        }
    }
    if !reward.format.is_empty() {
        grader.parts.push((reward.format_weight, Arc::new(Format::new(&reward.format)?)));
    }
    Ok(grader)
}

/// The adapters that the config asks for.
#[cfg(not(target_family = "wasm"))]
pub fn lora_settings(config: &Config) -> Result<Option<Lora>> {
    let settings = &config.lora;
    if let Some(target) = settings.targets.iter().find(|t| !TARGETS.contains(&t.as_str())) {
        return Err(unknown("matrix", target, TARGETS.into_iter()).at("lora.targets"));
    }
    Ok((settings.rank > 0).then_some(Lora {
        rank: settings.rank,
        alpha: settings.alpha,
        rslora: settings.rslora,
        dropout: settings.dropout,
        targets: settings.targets.clone(),
    }))
}

/// Lays those over the model; adapters that it came with go on as they are.
#[cfg(not(target_family = "wasm"))]
fn adapt(model: &mut Llama, config: &Config) -> Result<()> {
    match (lora_settings(config)?, model.lora()) {
        (None, _) => Ok(()),
        (Some(wanted), None) => {
            model.adapt(wanted, config.run.seed);
            Ok(())
        }
        (Some(wanted), Some(given)) if *given == wanted => Ok(()),
        (Some(_), Some(given)) => Err(Error::input(format!(
            "the model has adapters of rank {} already, with other settings",
            given.rank
        ))
        .at(&config.model.path)
        .next("leave out the lora settings to train those on, or `srft merge` them first")),
    }
}

/// How the weights under a run's training are held.
#[cfg(not(target_family = "wasm"))]
pub fn held(config: &Config, folder: &ModelFolder) -> Result<Frozen> {
    let adapted = lora_settings(config)?.is_some() || folder.adapter.is_some();
    Ok(if adapted { config.model.frozen } else { Frozen::F32 })
}

#[cfg(target_family = "wasm")]
fn held(_: &Config, _: &ModelFolder) -> Result<Frozen> {
    Ok(Frozen::F32)
}

/// A page's models are small enough to train whole.
#[cfg(target_family = "wasm")]
fn adapt(_: &mut Llama, config: &Config) -> Result<()> {
    match config.lora.rank {
        0 => Ok(()),
        _ => Err(Error::input("a page has no adapters").at("lora.rank").next("leave it at 0")),
    }
}

/// The model `began` that a resumed run, now at `model`, began with.
fn began_with(
    began: &config::Model,
    #[cfg_attr(target_family = "wasm", expect(unused, reason = "it has no adapters"))]
    model: &Llama,
    device: &Device,
) -> Result<Llama> {
    let folder = open_model(began).map_err(|e| {
        let why = "the KL penalty needs the model that the run began with";
        Error { what: format!("{}; {why}", e.what), next: None, ..e }
            .next("put its folder back where it was, and resume")
    })?;
    #[cfg(not(target_family = "wasm"))]
    if model.lora().is_some() && folder.adapter.is_none() {
        return Ok(model.without_adapters()); // the frozen weights are its own
    }
    Ok(folder.load(device)?.0)
}

/// A page does not write the buffer, so that its download is less; a run there could not be resumed.
#[cfg(target_family = "wasm")]
fn require_kept_buffer(config: &Config) -> Result<()> {
    match config.stages().iter().all(|objective| objective.buffer == 0) {
        true => Ok(()),
        false => Err(Error::input("a page holds no demonstrations back")
            .at("objective.buffer")
            .next("train with relift in the program")),
    }
}

/// What a run is made of.
pub struct Parts {
    /// The policy, its optimiser, its data.
    pub trainer: Trainer,
    /// What it is evaluated on.
    pub suites: Vec<Suite>,
    /// What the user should hear of the data.
    pub notes: Vec<String>,
}

/// Everything that a trainer needs, loaded and checked before the first step.
pub fn trainer(config: Config, device: &Device) -> Result<Parts> {
    let folder = open_model(&config.model)?;
    trainer_of(config, &folder, None, &NOTHING, device)
}

/// The same for a model that is already read; `began` names the one that the run began with, where
/// that is another.
pub(super) fn trainer_of(
    config: Config,
    folder: &ModelFolder,
    began: Option<&config::Model>,
    given: &Given,
    device: &Device,
) -> Result<Parts> {
    let (mut model, tokenizer) = folder.load_frozen(held(&config, folder)?, device)?;
    let base = match began {
        _ if !config.stages().iter().any(Objective::uses_base) => None,
        None => Some(model.clone()), // weights that do not train stay shared
        Some(began) => Some(began_with(began, &model, device)?),
    };
    #[cfg(not(target_family = "wasm"))]
    let told = folder.notes(&model.config);
    #[cfg(target_family = "wasm")]
    let told = Vec::new();
    adapt(&mut model, &config)?;
    #[cfg(target_family = "wasm")]
    require_kept_buffer(&config)?;
    let grader = grader_of(&config, given)?;
    let reader = Reader::new(&config, folder, &tokenizer, &model.config, &grader)?;
    let mut reader = reader.with(given);
    let (source, suites) = reader.source_and_suites()?;
    let notes = [told, reader.notes].concat();
    let optimizer = AdamW::new(config.optimizer.clone(), &model);
    let trainer = Trainer {
        learner: Learner { config, policy: model, base, tokenizer },
        optimizer,
        source,
        grader,
        step: 0,
        buffer: Buffer::default(),
    };
    Ok(Parts { trainer, suites, notes })
}
