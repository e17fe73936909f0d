//! What the tests of whole updates share: golden files and trainers in memory.

use std::collections::HashMap;
use std::path::PathBuf;

use burn::tensor::Device;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use srft::config::{Config, Objective};
use srft::data::source::Source;
use srft::learner::Learner;
use srft::model::{Llama, ModelFolder};
use srft::objective::buffer::Buffer;
use srft::objective::turns::Turns;
use srft::optim::AdamW;
use srft::records::Example;
use srft::run::grader;
use srft::text::Tokenizer;
use srft::trainer::Trainer;

/// A file of `tests/golden`.
pub fn golden_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Its bytes.
pub fn golden(name: &str) -> Vec<u8> {
    let path = golden_path(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A golden file of small numbers, its format and version checked.
pub fn golden_json(name: &str) -> Value {
    let value: Value = serde_json::from_slice(&golden(name)).expect(name);
    check_header(name, &value);
    value
}

/// A golden file of tensors by name, in f64, its format and version checked.
pub fn golden_tensors(name: &str) -> HashMap<String, Vec<f64>> {
    let bytes = golden(name);
    let (_, metadata) = SafeTensors::read_metadata(&bytes).expect(name);
    let header = metadata.metadata().as_ref().and_then(|m| m.get("header")).expect("a header");
    check_header(name, &serde_json::from_str(header).expect(name));
    let file = SafeTensors::deserialize(&bytes).expect(name);
    let numbers = file.tensors().into_iter().map(|(tensor, view)| {
        let data = view.data();
        let values: Vec<f64> = match view.dtype() {
            Dtype::F64 => words(data).map(f64::from_le_bytes).collect(),
            Dtype::F32 => words(data).map(|b| f64::from(f32::from_le_bytes(b))).collect(),
            Dtype::I64 => words(data).map(|b| i64::from_le_bytes(b) as f64).collect(),
            other => panic!("{name}: {tensor} is {other:?}"),
        };
        (tensor, values)
    });
    numbers.collect()
}

fn words<const N: usize>(data: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    data.chunks_exact(N).map(|b| b.try_into().expect("N bytes"))
}

fn check_header(name: &str, header: &Value) {
    let found = (header["format"].as_str(), header["version"].as_u64());
    let again = header["regenerate"].as_str().unwrap_or("see tests/golden/README.md");
    assert_eq!(found, (Some("srft-golden"), Some(1)), "{name}: regenerate it: {again}");
}

/// The numbers of a JSON list.
pub fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number")).collect()
}

/// A config from TOML.
pub fn config(settings: &str) -> Config {
    Config::resolve(&[Config::layer(settings, "test").unwrap()]).unwrap()
}

/// A trainer of a model folder.
pub fn trainer_of(folder: &ModelFolder, device: &Device, settings: &str) -> Trainer {
    let (model, tokenizer) = folder.load(device).unwrap();
    trainer(model, tokenizer, settings, Vec::new())
}

/// A trainer of a model in memory.
pub fn trainer(
    model: Llama,
    tokenizer: Tokenizer,
    settings: &str,
    examples: Vec<Example>,
) -> Trainer {
    let config = config(settings);
    let optimizer = AdamW::new(config.optimizer.clone(), &model);
    let grader = grader(&config).unwrap();
    let source = Source::of(examples);
    let base = config.stages().iter().any(Objective::uses_base).then(|| model.clone());
    let buffer = Buffer::default();
    let recomputed = config.train.checkpointing.recomputed(model.config.layers).unwrap_or(0);
    let learner = Learner::new(config, model, base, tokenizer, recomputed);
    Trainer {
        learner,
        optimizer,
        source,
        grader,
        step: 0,
        buffer,
        bonus: None,
        turns: Turns::default(),
    }
}
