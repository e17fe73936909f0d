//! Tiny checkpoints with what transformers or PEFT computes of them (`tests/golden/README.md`): a
//! right-padded batch of three sequences, mean NLL of every next token.

use crate::backends::{compare, devices, floats};
use crate::common::{golden, golden_json, golden_path, golden_tensors, numbers, trainer_of};
use burn::tensor::{Device, Int, Tensor, TensorData};
use pollster::block_on;
use serde_json::Value;
use srft::learner::Gradient;
use srft::model::{CONFIG, Llama, ModelFolder, TOKENIZER};
use srft::objective::Update;
use srft::ops::attention::{Packing, Places};
use srft::ops::objective::column;
use srft::records::{Sequence, TermCoefficients};
use srft::score::score;
use srft::trainer::Trainer;
use std::collections::HashMap;

/// Relative, of numbers above 1.
pub const TOLERANCE: f64 = 1e-4;
/// Plain mean NLL: coefficients already hold 1 / count.
pub const SFT: &str = "[objective]\nmethod = \"sft\"\n";

/// A checkpoint's folder. Those without text take the tokenizer of another: any of fewer tokens will
/// do.
pub fn folder(name: &str) -> ModelFolder {
    let path = golden_path(name);
    if path.join(TOKENIZER).exists() {
        return ModelFolder::read(&path).unwrap();
    }
    let part = |file: &str| golden(&format!("{name}/{file}"));
    let tokenizer = golden("explain/model/tokenizer.json");
    ModelFolder::of_parts(name, part(CONFIG), part("model.safetensors"), tokenizer)
}

/// A golden folder: what transformers or PEFT says of a tiny checkpoint.
pub struct Golden {
    /// The checkpoint.
    pub folder: ModelFolder,
    /// Tensors by name.
    pub tensors: HashMap<String, Vec<f64>>,
    /// The small numbers.
    pub numbers: Value,
    /// Token ids without padding.
    pub rows: Vec<Vec<u32>>,
    /// T.
    pub positions: usize,
}

impl Golden {
    /// The numbers of `name` over the checkpoint in the folder `model`, which may be another's.
    pub fn of(name: &str, model: &str) -> Self {
        let tensors = golden_tensors(&format!("{name}/golden.safetensors"));
        let lengths: Vec<usize> = tensors["lengths"].iter().map(|&n| n as usize).collect();
        let positions = tensors["input_ids"].len() / lengths.len();
        let padded = tensors["input_ids"].chunks(positions).zip(lengths);
        Self {
            rows: padded.map(|(row, n)| row[..n].iter().map(|&t| t as u32).collect()).collect(),
            positions,
            folder: folder(model),
            numbers: golden_json(&format!("{name}/golden.json")),
            tensors,
        }
    }

    /// A folder with its numbers.
    pub fn read(name: &str) -> Self {
        Self::of(name, name)
    }

    /// Every token but the first of each row is a response.
    pub fn pairs(&self) -> Vec<(Vec<u32>, Vec<u32>)> {
        self.rows.iter().map(|row| (vec![row[0]], row[1..].to_vec())).collect()
    }

    /// One step's update: the mean NLL of every token but the first of each row.
    pub fn update(&self) -> Update {
        let count: usize = self.rows.iter().map(|row| row.len() - 1).sum();
        let sequence = |(prompt, response)| Sequence {
            terms: TermCoefficients { sft: 1.0 / count as f32, ..Default::default() },
            ..Sequence::to_score(prompt, response)
        };
        let sequences = self.pairs().into_iter().map(sequence).collect();
        Update { sequences, advantages: Vec::new(), divisors: Vec::new() }
    }

    /// Holds logits, log-probabilities and entropies against the numbers.
    pub fn check_scores(&self, what: &str, model: &Llama) {
        let vocabulary = model.config.vocab_size;
        let logits = uncached_logits(model, &self.rows, self.positions);
        let scored = block_on(score(model, self.pairs(), 4096)).unwrap();
        for (b, (row, scored)) in self.rows.iter().zip(scored).enumerate() {
            let first = b * self.positions;
            let valid = first * vocabulary..(first + row.len()) * vocabulary;
            compare(
                &format!("{what}: logits of row {b}"),
                &logits[valid.clone()],
                &self.tensors["logits"][valid],
                TOLERANCE,
            )
            .unwrap();
            let pairs = row.len() - 1;
            for (of, got, positions) in [
                ("logprobs", scored.logprobs, self.positions - 1),
                ("entropies", scored.entropies, self.positions),
            ] {
                let expected = &self.tensors[of][b * positions..b * positions + pairs];
                compare(&format!("{what}: {of} of row {b}"), &got, expected, TOLERANCE).unwrap();
            }
        }
    }

    /// Holds the loss and the gradient of everything that trains against the numbers.
    pub fn check_gradient(&self, what: &str, trainer: &Trainer) {
        let gradient = block_on(trainer.learner.gradient(&self.update(), trainer.step)).unwrap();
        near(what, loss(&gradient), self.numbers["loss"].as_f64().unwrap(), 1e-5);
        let parameters = trainer.learner.policy.parameters();
        let expected = self.tensors.keys().filter(|name| name.starts_with("grad.")).count();
        assert_eq!(parameters.len(), expected, "{what}: parameters");
        for (parameter, tensor) in parameters.iter().zip(gradient.tensors) {
            let expected = &self.tensors[&format!("grad.{}", parameter.name)];
            let largest = expected.iter().fold(1.0f64, |most, g| most.max(g.abs()));
            let scaled: Vec<f64> = expected.iter().map(|g| g / largest).collect();
            let got: Vec<f32> = floats(tensor / largest);
            compare(&format!("{what}: {}", parameter.name), &got, &scaled, TOLERANCE).unwrap();
        }
    }

    /// Every number of the gradient where the backward pass computes so many layers again.
    pub fn numbers_of_gradient(&self, trainer: &mut Trainer, recomputed: usize) -> Vec<f32> {
        trainer.learner.recomputed = recomputed;
        let gradient = block_on(trainer.learner.gradient(&self.update(), trainer.step)).unwrap();
        assert!(gradient.norm > 0.0);
        gradient.tensors.into_iter().flat_map(floats).collect()
    }

    /// A trainer with the golden run's AdamW, and its learning rate; micro-batches of one or two
    /// rows, so that the gradient is accumulated.
    pub fn trainer(&self, device: &Device, settings: &str) -> (Trainer, f64) {
        let adamw = &self.numbers["training"]["optimizer"];
        let settings = format!(
            "{SFT}[optimizer]\nbeta1 = {}\nbeta2 = {}\neps = {}\nweight_decay = {}\n\
             clip_norm = {}\n[train]\nmicro_batch_tokens = 24\n{settings}",
            adamw["betas"][0],
            adamw["betas"][1],
            adamw["eps"],
            adamw["weight_decay"],
            adamw["clip_grad_norm"]
        );
        (trainer_of(&self.folder, device, &settings), adamw["lr"].as_f64().unwrap())
    }

    /// Holds ten steps of AdamW against the numbers: losses, gradient norms, what they end at.
    pub fn check_ten_steps(&self, what: &str, mut trainer: Trainer, lr: f64) {
        let training = &self.numbers["training"];
        let losses = numbers(&training["loss_before_step"]);
        let norms = numbers(&training["grad_norm_before_clip"]);
        for (step, (&expected_loss, &norm)) in losses.iter().zip(&norms).enumerate() {
            let gradient =
                block_on(trainer.learner.gradient(&self.update(), trainer.step)).unwrap();
            let got = loss(&gradient);
            near(&format!("{what}: loss of step {step}"), got, expected_loss, TOLERANCE);
            near(&format!("{what}: norm of step {step}"), gradient.norm, norm, TOLERANCE);
            trainer.optimizer.step(
                &mut trainer.learner.policy,
                gradient.tensors,
                gradient.norm,
                lr,
            );
        }
        let last = block_on(trainer.learner.gradient(&self.update(), trainer.step)).unwrap();
        let expected_loss = training["loss_after_last_step"].as_f64().unwrap();
        near(&format!("{what}: loss at the end"), loss(&last), expected_loss, TOLERANCE);
        for parameter in trainer.learner.policy.parameters() {
            let expected = &self.tensors[&format!("final.{}", parameter.name)];
            let got = floats(parameter.tensor.clone());
            compare(&format!("{what}: {}", parameter.name), &got, expected, TOLERANCE).unwrap();
        }
    }
}

/// Runs a check of the golden models `names` on every backend.
pub fn each(names: &[&str], mut check: impl FnMut(&str, &Golden, &Device)) {
    for name in names {
        let golden = Golden::read(name);
        for (backend, device) in devices() {
            check(&format!("{name} on {backend}"), &golden, &device);
        }
    }
}

fn ints(values: impl IntoIterator<Item = u32>, device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = values.into_iter().map(|t| t as i32).collect();
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

/// Logits [B·T, V] of rows right-padded to `positions`, without a cache.
pub fn uncached_logits(model: &Llama, rows: &[Vec<u32>], positions: usize) -> Vec<f32> {
    let padded = rows.iter().flat_map(|row| {
        row.iter().copied().chain(std::iter::repeat(0)).take(positions).collect::<Vec<_>>()
    });
    let places = Places::new(Packing::apart(rows.iter().map(|_| positions)), &model.device());
    let hidden = model.hidden(ints(padded, &model.device()), &places);
    floats(model.logits(hidden))
}

fn loss(gradient: &Gradient) -> f64 {
    gradient.sums.iter().map(|row| row[column::SFT]).sum()
}

/// Fails unless the two agree, relative to numbers above 1.
pub fn near(what: &str, got: f64, expected: f64, tolerance: f64) {
    let error = (got - expected).abs() / expected.abs().max(1.0);
    assert!(error < tolerance, "{what}: got {got}, expected {expected}");
}
