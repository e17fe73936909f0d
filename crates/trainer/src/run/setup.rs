//! From a config to the parts of a run.

use super::adapters::held;
use super::given::{Given, NOTHING};
use super::hire::{Shared, models};
use super::reader::Reader;
use crate::config::{self, Checkpointing, Config, Frozen, Objective};
use crate::error::{Error, Result};
use crate::eval::Suite;
use crate::learner::Learner;
use crate::model::{Llama, ModelFolder};
use crate::objective::buffer::Buffer;
use crate::objective::turns::Turns;
use crate::ops::fused;
use crate::optim::AdamW;
use crate::plan::{Circumstances, budget};
use crate::reward::Grader;
use crate::text::Tokenizer;
use crate::trainer::Trainer;
use burn::tensor::Device;

/// The model that a config names; `model.base`, if set, is the base of an adapter.
pub fn open_model(model: &config::Model) -> Result<ModelFolder> {
    NOTHING.open(model)
}

/// The model that `path` names: `tiny`, or a folder.
pub fn model_folder(path: &str) -> Result<ModelFolder> {
    open_model(&config::Model { path: path.into(), ..config::Model::default() })
}

/// The model that a config names, on a device to sample from, and its tokenizer.
pub fn load_model(
    model: &config::Model,
    device: &Device,
) -> Result<(ModelFolder, Llama, Tokenizer)> {
    let folder = open_model(model)?;
    let (loaded, tokenizer) = folder.load_frozen(model.frozen, device)?;
    Ok((folder, loaded, tokenizer))
}

/// What judges responses: the built-in task's verifier, or for the user's files the configured one.
pub fn grader(config: &Config) -> Result<Grader> {
    NOTHING.grader(config)
}

/// The folder of the model that a resumed run began with.
fn folder_of_base(began: &config::Model, given: &Given) -> Result<ModelFolder> {
    given.open(began).map_err(|e| {
        let why = "the KL penalty needs the model that the run began with";
        Error { what: format!("{}; {why}", e.what), next: None, ..e }
            .next("put its folder back where it was, and resume")
    })
}

/// What a run is made of.
pub struct Parts {
    /// The policy, its optimiser, its data.
    pub trainer: Trainer,
    /// The suites it is evaluated on.
    pub suites: Vec<Suite>,
    /// Notes to the user about the data and the model.
    pub notes: Vec<String>,
}

/// Everything that a trainer needs, loaded and checked before the first step.
pub fn trainer(config: Config, device: &Device) -> Result<Parts> {
    let folder = open_model(&config.model)?;
    trainer_of(config, &folder, None, &NOTHING, device)
}

/// Like [`trainer`], for a model's folder that is already read; `began` names the base of a resumed run.
pub(super) fn trainer_of(
    config: Config,
    folder: &ModelFolder,
    began: Option<&config::Model>,
    given: &Given,
    device: &Device,
) -> Result<Parts> {
    let (on_cpu, held) = (fused::runs_on(device), held(&config, folder)?);
    let budget = budget(&config, on_cpu); // what is free before the model is loaded
    let held_to_base = config.stages().iter().any(Objective::uses_base);
    let began = began.filter(|_| held_to_base);
    let began = began.map(|model| folder_of_base(model, given)).transpose()?;
    let began = began.as_ref();
    let (model, base, tokenizer) = models(&config, folder, began, given.reads, device)?;
    let told = folder.notes(&model.config);
    let grader = given.grader(&config)?;
    let mut reader = Reader::of(&config, given, folder, &tokenizer, &model.config, &grader)?;
    let (source, suites) = reader.source_and_suites()?;
    let here = Circumstances {
        on_cpu,
        frozen: (held == Frozen::Stored).then(|| folder.frozen_bytes()).flatten(),
        longest: reader.longest(),
        evaluates: !suites.is_empty(),
    };
    let recomputed = given.reads.recomputed(&config, &model, here, budget);
    let mut notes = [told, std::mem::take(&mut reader.notes)].concat();
    if config.train.checkpointing == Checkpointing::Auto {
        notes.push(format!(
            "{recomputed} of {} layers are computed again in the backward pass (train.checkpointing)",
            model.config.layers
        ));
    }
    drop(reader);
    let optimizer = AdamW::new(config.optimizer.clone(), &model);
    let mut learner = Learner::new(config, model, base, tokenizer, recomputed);
    if let Some(hire) = &given.team {
        let config = &learner.config;
        let reads = given.reads;
        let run = Shared { config, folder, began, reads, recomputed, device };
        let team = hire.team(&run)?;
        notes.extend(team.news());
        learner.team = Some(team);
    }
    let trainer = Trainer {
        learner,
        optimizer,
        source,
        grader,
        step: 0,
        buffer: Buffer::default(),
        bonus: None,
        turns: Turns::default(),
    };
    Ok(Parts { trainer, suites, notes })
}
