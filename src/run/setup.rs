//! From a config to the parts of a run.

use crate::config::Config;
use crate::data::source::Source;
use crate::data::jsonl::Needs;
use crate::data::{builtin, jsonl};
use crate::error::{Error, Result};
use crate::eval::Suite;
use crate::model::{Llama, ModelFolder};
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

/// Reads a data file; a gold answer that nothing could match is an error here, never a score.
fn read_examples(path: &str, needs: Needs, verifier: &Verifier) -> Result<Vec<Example>> {
    let examples = jsonl::parse(&read_text(Path::new(path))?, path, needs)?;
    for (index, example) in examples.iter().enumerate() {
        if needs.answer || !example.answer.is_empty() {
            let line = format!("{path}:{}", index + 1);
            verifier.check_gold(&example.answer).map_err(|e| e.at(line))?;
        }
    }
    Ok(examples)
}

fn read_training(config: &Config) -> Result<Vec<Example>> {
    let objective = &config.objective;
    let needs = Needs {
        response: objective.uses_demonstrations(),
        // Without a file for evaluation a tenth of this one is evaluated on.
        answer: objective.uses_rollouts() || objective.rl_demo || config.data.eval.is_empty(),
    };
    read_examples(&config.data.train, needs, &verifier(config))
}

fn read_evaluation(config: &Config) -> Result<Vec<Example>> {
    read_examples(&config.data.eval, Needs { response: false, answer: true }, &verifier(config))
}

/// One in this many of a user's examples is kept for evaluation where no file for it is given.
const EVAL_ONE_IN: usize = 10;

/// The training source.
pub fn source(config: &Config) -> Result<Source> {
    let data = &config.data;
    if !data.train.is_empty() {
        let examples = read_training(config)?;
        return Ok(Source::Examples(match data.eval.is_empty() {
            true => split(examples).0,
            false => examples,
        }));
    }
    match data.task.as_str() {
        "arithmetic" => Ok(Source::Builtin(data.clone())),
        "pretraining" => Ok(Source::Pretraining),
        other => Err(Error::input(format!("data.task = `{other}` is not known"))
            .next("one of: arithmetic, pretraining; or give a file with --data")),
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

/// The evaluation suites.
pub fn suites(config: &Config) -> Result<Vec<Suite>> {
    let data = &config.data;
    let n = config.eval.examples;
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
            let held = split(read_training(config)?).1;
            if held.is_empty() {
                return Err(Error::input(format!("fewer than {EVAL_ONE_IN} examples leave none to evaluate on"))
                    .at(train)
                    .next("give an evaluation file with --eval-data"));
            }
            Ok(vec![of_file(train, held)])
        }
        (_, eval) => Ok(vec![of_file(eval, read_evaluation(config)?)]),
    }
}

/// Everything that a trainer needs, loaded and checked before the first step.
pub fn trainer(config: Config, device: &Device) -> Result<(Trainer, ModelFolder, Vec<Suite>)> {
    let source = source(&config)?;
    let suites = suites(&config)?;
    let (folder, model, tokenizer) = load_model(&config.model.path, device)?;
    if let Source::Examples(examples) = &source {
        for example in examples.iter().chain(suites.iter().flat_map(|s| &s.examples)) {
            tokenizer.encode(&example.prompt).map_err(|e| e.at(&config.data.train))?;
            if let Some(response) = &example.demonstration {
                tokenizer.encode_continuation(response).map_err(|e| e.at(&config.data.train))?;
            }
        }
    }
    let optimizer = AdamW::new(config.optimizer.clone(), &model);
    let verifier = verifier(&config);
    let trainer = Trainer { config, model, tokenizer, optimizer, source, verifier, step: 0 };
    Ok((trainer, folder, suites))
}
