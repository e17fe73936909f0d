//! From a config to the parts of a run.

use crate::config::{Config, Objective, unknown};
use crate::data::jsonl::Needs;
use crate::data::source::Source;
use crate::data::{builtin, jsonl};
use crate::error::{Error, Result};
use crate::eval::Suite;
use crate::model::lora::TARGETS;
use crate::model::{Llama, Lora, ModelConfig, ModelFolder};
use crate::optim::AdamW;
use crate::platform::read_text;
use crate::records::Example;
use crate::reward::Verifier;
use crate::text::Tokenizer;
use crate::trainer::Trainer;
use burn::tensor::Device;
use std::path::Path;

/// `tiny`, or a folder.
pub fn model_folder(path: &str) -> Result<ModelFolder> {
    match path {
        "tiny" => Ok(ModelFolder::tiny()),
        path => ModelFolder::read(Path::new(path)),
    }
}

/// The model of a folder on a device, and its tokenizer.
pub fn load_model(path: &str, device: &Device) -> Result<(ModelFolder, Llama, Tokenizer)> {
    let folder = model_folder(path)?;
    let (model, tokenizer) = folder.load(device)?;
    Ok((folder, model, tokenizer))
}

/// How answers are judged: the built-in task's way, or as configured for the user's files.
pub fn verifier(config: &Config) -> Verifier {
    let data = &config.data;
    if data.train.is_empty() && data.eval.is_empty() {
        return builtin::verifier();
    }
    let marker = (!data.answer_after.is_empty()).then(|| data.answer_after.clone());
    Verifier { comparison: data.verifier, answer_after: marker }
}

/// One in this many of a user's examples is kept for evaluation where no file for it is given.
const EVAL_ONE_IN: usize = 10;

/// Reads a config's examples for a model: a line that it could not be trained or judged on is an
/// error here, never a score.
pub struct Reader<'a> {
    /// Which files, and what the method needs of them.
    pub config: &'a Config,
    /// Spells prompts and responses.
    pub tokenizer: &'a Tokenizer,
    /// Says how long they may be.
    pub model: &'a ModelConfig,
}

impl Reader<'_> {
    /// The training source.
    pub fn source(&self) -> Result<Source> {
        let data = &self.config.data;
        if !data.train.is_empty() {
            let examples = self.training()?;
            return Ok(Source::Examples(match data.eval.is_empty() {
                true => split(examples).0,
                false => examples,
            }));
        }
        if !data.eval.is_empty() {
            return Err(Error::input("a file for evaluation, but none for training")
                .at("data.eval")
                .next("add --data F.jsonl; the built-in task is evaluated on its own suites"));
        }
        match data.task.as_str() {
            "arithmetic" => Ok(Source::Builtin(data.clone())),
            "pretraining" => Ok(Source::Pretraining),
            other => Err(Error::input(format!("data.task = `{other}` is not known"))
                .next("one of: arithmetic, pretraining; or give a file with --data")),
        }
    }

    /// The evaluation suites.
    pub fn suites(&self) -> Result<Vec<Suite>> {
        let data = &self.config.data;
        let n = self.config.eval.examples;
        let of_file = |path: &str, examples: Vec<Example>| Suite {
            name: Path::new(path).file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            out_of_distribution: false,
            examples: examples.into_iter().take(n).collect(),
        };
        match (data.train.as_str(), data.eval.as_str()) {
            ("", "") => Ok(builtin::suites()
                .iter()
                .map(|s| Suite {
                    name: s.name.into(),
                    out_of_distribution: s.out_of_distribution,
                    // The same problems for every seed of training, so that runs compare.
                    examples: builtin::held_out(s, n, 0),
                })
                .collect()),
            (train, "") => {
                let held = split(self.training()?).1;
                if held.is_empty() {
                    return Err(Error::input(format!(
                        "fewer than {EVAL_ONE_IN} examples leave none to evaluate on"
                    ))
                    .at(train)
                    .next("give an evaluation file with --eval-data"));
                }
                Ok(vec![of_file(train, held)])
            }
            (_, eval) => {
                let needs = Needs { response: false, answer: true };
                Ok(vec![of_file(eval, self.examples(eval, needs)?)])
            }
        }
    }

    fn training(&self) -> Result<Vec<Example>> {
        let stages = self.config.stages();
        let needs = Needs {
            response: stages.iter().any(Objective::uses_demonstrations),
            // Without a file for evaluation a tenth of this one is evaluated on.
            answer: stages.iter().any(|o| o.uses_rollouts() || o.rl_demo)
                || self.config.data.eval.is_empty(),
        };
        self.examples(&self.config.data.train, needs)
    }

    /// The examples of a file, each on the line of its number.
    pub fn examples(&self, path: &str, needs: Needs) -> Result<Vec<Example>> {
        let examples = jsonl::parse(&read_text(Path::new(path))?, path, needs)?;
        let verifier = verifier(self.config);
        for (index, example) in examples.iter().enumerate() {
            let at = |e: Error| e.at(format!("{path}:{}", index + 1));
            if needs.answer || !example.answer.is_empty() {
                verifier.check_gold(&example.answer).map_err(at)?;
            }
            let prompt = self.tokenizer.encode(&example.prompt).map_err(at)?;
            let response = match &example.demonstration {
                Some(text) if needs.response => {
                    self.tokenizer.encode_continuation(text).map_err(at)?
                }
                _ => Vec::new(),
            };
            self.model.require_fits(prompt.len(), response.len() + 1).map_err(at)?;
        }
        Ok(examples)
    }
}

/// (for training, for evaluation): every tenth example goes to the second.
fn split(examples: Vec<Example>) -> (Vec<Example>, Vec<Example>) {
    let mut parts = (Vec::new(), Vec::new());
    for (index, example) in examples.into_iter().enumerate() {
        let part = if index % EVAL_ONE_IN == EVAL_ONE_IN - 1 { &mut parts.1 } else { &mut parts.0 };
        part.push(example);
    }
    parts
}

/// Lays over the model the adapters that the config asks for; those that it came with go on.
fn adapt(model: &mut Llama, config: &Config) -> Result<()> {
    let settings = &config.lora;
    let wanted = Lora {
        rank: settings.rank,
        alpha: settings.alpha,
        rslora: settings.rslora,
        dropout: settings.dropout,
        targets: settings.targets.split_whitespace().map(String::from).collect(),
    };
    if let Some(target) = wanted.targets.iter().find(|t| !TARGETS.contains(&t.as_str())) {
        return Err(unknown("matrix", target, TARGETS.into_iter()).at("lora.targets"));
    }
    match model.lora() {
        _ if settings.rank == 0 => Ok(()),
        None => {
            model.adapt(wanted, config.run.seed);
            Ok(())
        }
        Some(given) if *given == wanted => Ok(()),
        Some(given) => Err(Error::input(format!(
            "the model has adapters of rank {} already, with other settings",
            given.rank
        ))
        .at(&config.model.path)
        .next("leave out the lora settings to train those on, or `srft merge` them first")),
    }
}

/// Everything that a trainer needs, loaded and checked before the first step.
pub fn trainer(config: Config, device: &Device) -> Result<(Trainer, ModelFolder, Vec<Suite>)> {
    let folder = model_folder(&config.model.path)?;
    let (trainer, suites) = trainer_of(config, &folder, device)?;
    Ok((trainer, folder, suites))
}

/// The same for a model that is already read.
pub(super) fn trainer_of(
    config: Config,
    folder: &ModelFolder,
    device: &Device,
) -> Result<(Trainer, Vec<Suite>)> {
    let (mut model, tokenizer) = folder.load(device)?;
    adapt(&mut model, &config)?;
    let reader = Reader { config: &config, tokenizer: &tokenizer, model: &model.config };
    let (source, suites) = (reader.source()?, reader.suites()?);
    let optimizer = AdamW::new(config.optimizer.clone(), &model);
    let verifier = verifier(&config);
    Ok((Trainer { config, model, tokenizer, optimizer, source, verifier, step: 0 }, suites))
}
