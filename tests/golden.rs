//! The model and its training against torch and transformers (`tests/golden/README.md`), on both
//! backends: a right-padded batch of three sequences, mean NLL of every next token.

#[allow(dead_code, reason = "each test file uses a part")]
mod backends;
#[allow(dead_code, reason = "each test file uses a part")]
mod common;

use std::collections::{BTreeMap, HashMap};

use backends::{compare, devices, floats};
use burn::tensor::{Device, Int, Tensor, TensorData};
use common::{golden, golden_json, golden_tensors, numbers, trainer_of};
use pollster::block_on;
use safetensors::SafeTensors;
use serde_json::Value;
use srft::model::{FILES, Llama, ModelFolder, weights};
use srft::objective::Update;
use srft::ops::objective::column;
use srft::ops::sampling::Sampling;
use srft::records::{Role, Sequence, TermCoefficients};
use srft::rollout::{Plan, Response, respond};
use srft::score::score;
use srft::trainer::{Gradient, Trainer};

const MODELS: [&str; 2] = ["llama-gqa", "llama-tied"];
const TOLERANCE: f64 = 1e-4;
/// Plain mean NLL: coefficients already hold 1 / count.
const SFT: &str = "[objective]\nmethod = \"sft\"\n";

struct Golden {
    folder: ModelFolder,
    tensors: HashMap<String, Vec<f64>>,
    numbers: Value,
    rows: Vec<Vec<u32>>, // token ids without padding
    positions: usize,    // T
}

impl Golden {
    fn read(name: &str) -> Self {
        let tensors = golden_tensors(&format!("{name}/golden.safetensors"));
        let lengths: Vec<usize> = tensors["lengths"].iter().map(|&n| n as usize).collect();
        let positions = tensors["input_ids"].len() / lengths.len();
        let padded = tensors["input_ids"].chunks(positions).zip(lengths);
        Self {
            rows: padded.map(|(row, n)| row[..n].iter().map(|&t| t as u32).collect()).collect(),
            positions,
            folder: ModelFolder {
                place: name.into(),
                config: golden(&format!("{name}/config.json")),
                weights: golden(&format!("{name}/model.safetensors")),
                // These models have no text: any tokenizer of fewer tokens will do.
                tokenizer: golden("explain/model/tokenizer.json"),
            },
            numbers: golden_json(&format!("{name}/golden.json")),
            tensors,
        }
    }

    /// Every token but the first of each row is a response.
    fn pairs(&self) -> Vec<(Vec<u32>, Vec<u32>)> {
        self.rows.iter().map(|row| (vec![row[0]], row[1..].to_vec())).collect()
    }

    fn update(&self) -> Update {
        let count: usize = self.rows.iter().map(|row| row.len() - 1).sum();
        let sequence = |(prompt, response)| Sequence {
            role: Role::Demonstration,
            prompt,
            response,
            old_logprobs: Vec::new(),
            terms: TermCoefficients { sft: 1.0 / count as f32, ..Default::default() },
        };
        let sequences = self.pairs().into_iter().map(sequence).collect();
        Update { sequences, advantages: Vec::new(), divisors: Vec::new() }
    }
}

/// Runs a check of every golden model on every backend.
fn each(check: impl Fn(&str, &Golden, &Device)) {
    for name in MODELS {
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
fn uncached_logits(model: &Llama, rows: &[Vec<u32>], positions: usize) -> Vec<f32> {
    let padded = rows.iter().flat_map(|row| {
        row.iter().copied().chain(std::iter::repeat(0)).take(positions).collect::<Vec<_>>()
    });
    let hidden = model.hidden(ints(padded, &model.device()), rows.len(), positions);
    floats(model.logits(hidden))
}

#[test]
fn logits_log_probabilities_and_entropies() {
    each(|what, golden, device| {
        let (model, _) = golden.folder.load(device).unwrap();
        let vocabulary = model.config.vocab_size;
        let logits = uncached_logits(&model, &golden.rows, golden.positions);
        let scored = block_on(score(&model, golden.pairs(), 4096)).unwrap();
        for (b, (row, scored)) in golden.rows.iter().zip(scored).enumerate() {
            let first = b * golden.positions;
            let valid = first * vocabulary..(first + row.len()) * vocabulary;
            compare(
                &format!("{what}: logits of row {b}"),
                &logits[valid.clone()],
                &golden.tensors["logits"][valid],
                TOLERANCE,
            )
            .unwrap();
            let pairs = row.len() - 1;
            for (of, got, positions) in [
                ("logprobs", scored.logprobs, golden.positions - 1),
                ("entropies", scored.entropies, golden.positions),
            ] {
                let expected = &golden.tensors[of][b * positions..b * positions + pairs];
                compare(&format!("{what}: {of} of row {b}"), &got, expected, TOLERANCE).unwrap();
            }
        }
    });
}

fn loss(gradient: &Gradient) -> f64 {
    gradient.sums.iter().map(|row| row[column::SFT]).sum()
}

fn near(what: &str, got: f64, expected: f64, tolerance: f64) {
    let error = (got - expected).abs() / expected.abs().max(1.0);
    assert!(error < tolerance, "{what}: got {got}, expected {expected}");
}

#[test]
fn loss_and_the_gradient_of_every_parameter() {
    each(|what, golden, device| {
        let trainer = trainer_of(&golden.folder, device, SFT);
        let gradient = block_on(trainer.gradient(&golden.update())).unwrap();
        near(what, loss(&gradient), golden.numbers["loss"].as_f64().unwrap(), 1e-5);
        let parameters = trainer.model.parameters();
        assert_eq!(
            parameters.len(),
            golden.tensors.keys().filter(|name| name.starts_with("grad.")).count()
        );
        for (parameter, tensor) in parameters.iter().zip(gradient.tensors) {
            let expected = &golden.tensors[&format!("grad.{}", parameter.name)];
            let largest = expected.iter().fold(1.0f64, |most, g| most.max(g.abs()));
            let scaled: Vec<f64> = expected.iter().map(|g| g / largest).collect();
            let got: Vec<f32> = floats(tensor / largest);
            compare(&format!("{what}: {}", parameter.name), &got, &scaled, TOLERANCE).unwrap();
        }
    });
}

/// A trainer with the golden run's AdamW; micro-batches of one or two rows, so that the gradient
/// is accumulated.
fn golden_run(golden: &Golden, device: &Device) -> (Trainer, f64) {
    let adamw = &golden.numbers["training"]["optimizer"];
    let settings = format!(
        "{SFT}[optimizer]\nbeta1 = {}\nbeta2 = {}\neps = {}\nweight_decay = {}\nclip_norm = {}\n\
         [train]\nmicro_batch_tokens = 24\n",
        adamw["betas"][0],
        adamw["betas"][1],
        adamw["eps"],
        adamw["weight_decay"],
        adamw["clip_grad_norm"]
    );
    (trainer_of(&golden.folder, device, &settings), adamw["lr"].as_f64().unwrap())
}

#[test]
fn ten_steps_of_adamw() {
    each(|what, golden, device| {
        let (mut trainer, lr) = golden_run(golden, device);
        let training = &golden.numbers["training"];
        let losses = numbers(&training["loss_before_step"]);
        let norms = numbers(&training["grad_norm_before_clip"]);
        for (step, (&expected_loss, &norm)) in losses.iter().zip(&norms).enumerate() {
            let gradient = block_on(trainer.gradient(&golden.update())).unwrap();
            near(
                &format!("{what}: loss of step {step}"),
                loss(&gradient),
                expected_loss,
                TOLERANCE,
            );
            near(&format!("{what}: norm of step {step}"), gradient.norm, norm, TOLERANCE);
            trainer.optimizer.step(&mut trainer.model, gradient.tensors, gradient.norm, lr);
        }
        let last = block_on(trainer.gradient(&golden.update())).unwrap();
        let expected_loss = training["loss_after_last_step"].as_f64().unwrap();
        near(&format!("{what}: loss at the end"), loss(&last), expected_loss, TOLERANCE);
        for parameter in trainer.model.parameters() {
            let expected = &golden.tensors[&format!("final.{}", parameter.name)];
            let got = floats(parameter.tensor.clone());
            compare(&format!("{what}: {}", parameter.name), &got, expected, TOLERANCE).unwrap();
        }
    });
}

fn greedily(model: &Llama, prompts: &[Vec<u32>], max_new_tokens: usize) -> Vec<Response> {
    let sampling = Sampling { temperature: 0.0, ..Default::default() };
    let plan = Plan { group: 1, sampling, max_new_tokens, eos_tokens: &[], seed: 0, step: 0 };
    block_on(respond(model, prompts, &plan)).unwrap()
}

#[test]
fn greedy_generation() {
    each(|what, golden, device| {
        let (model, _) = golden.folder.load(device).unwrap();
        let tokens = |key: &str| -> Vec<u32> {
            numbers(&golden.numbers["greedy"][key]).iter().map(|&t| t as u32).collect()
        };
        let expected = tokens("generated");
        let responses = greedily(&model, &[tokens("prompt")], expected.len());
        assert_eq!(responses[0].tokens, expected, "{what}");
    });
}

/// The cache holds what a pass over the whole text would compute: the same tokens come out one by
/// one, for prompts of different lengths that pass several readbacks of ids.
#[test]
fn cached_decoding_equals_uncached() {
    each(|what, golden, device| {
        let (model, _) = golden.folder.load(device).unwrap();
        let vocabulary = model.config.vocab_size;
        let mut rows: Vec<Vec<u32>> =
            golden.rows.iter().zip([4, 9, 1]).map(|(row, n)| row[..n].to_vec()).collect();
        let responses = greedily(&model, &rows, 20);
        for t in 0..20 {
            let positions = rows.iter().map(Vec::len).max().unwrap();
            let logits = uncached_logits(&model, &rows, positions);
            for (b, (row, response)) in rows.iter_mut().zip(&responses).enumerate() {
                let last = (b * positions + row.len() - 1) * vocabulary;
                let logits = &logits[last..last + vocabulary];
                let best =
                    (0..vocabulary).max_by(|&i, &j| logits[i].total_cmp(&logits[j])).unwrap();
                assert_eq!(response.tokens[t], best as u32, "{what}: row {b}, token {t}");
                row.push(best as u32);
            }
        }
    });
}

/// What the sampler says of its tokens is what scoring them afterwards gives: ratios start at 1.
#[test]
fn sampled_statistics_equal_scored_ones() {
    each(|what, golden, device| {
        let (model, _) = golden.folder.load(device).unwrap();
        let prompts: Vec<Vec<u32>> =
            golden.rows.iter().zip([4, 9, 1]).map(|(row, n)| row[..n].to_vec()).collect();
        let plan = Plan {
            group: 5,
            sampling: Sampling::default(),
            max_new_tokens: 19,
            eos_tokens: &model.config.eos_tokens,
            seed: 3,
            step: 0,
        };
        let responses = block_on(respond(&model, &prompts, &plan)).unwrap();
        assert!(responses.iter().any(|r| r.truncated) && responses.iter().any(|r| !r.truncated));
        let pairs = responses.iter().map(|r| (prompts[r.prompt].clone(), r.tokens.clone()));
        let scored = block_on(score(&model, pairs.collect(), 100)).unwrap();
        for (response, scored) in responses.iter().zip(scored) {
            let f64s = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
            for (of, sampled, scored) in [
                ("log-probabilities", &response.logprobs, f64s(scored.logprobs)),
                ("entropies", &response.entropies, f64s(scored.entropies)),
            ] {
                let row = (response.prompt, response.sample);
                compare(&format!("{what}: {of} of {row:?}"), sampled, &scored, TOLERANCE).unwrap();
            }
        }
    });
}

/// Names, types, shapes and bytes of a safetensors file.
fn contents(bytes: &[u8]) -> BTreeMap<String, (String, Vec<usize>, Vec<u8>)> {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let entry = |(name, view): (String, safetensors::tensor::TensorView)| {
        (name, (format!("{:?}", view.dtype()), view.shape().to_vec(), view.data().to_vec()))
    };
    file.tensors().into_iter().map(entry).collect()
}

#[test]
fn a_model_folder_is_written_as_it_was_read() {
    each(|what, golden, device| {
        let (model, _) = golden.folder.load(device).unwrap();
        let files = block_on(golden.folder.with_weights(&model)).unwrap();
        assert_eq!(files.iter().map(|(name, _)| *name).collect::<Vec<_>>(), FILES);
        assert_eq!(files[0].1, golden.folder.config);
        assert_eq!(files[2].1, golden.folder.tokenizer);
        let (written, given) = (contents(&files[1].1), contents(&golden.folder.weights));
        assert_eq!(written.keys().collect::<Vec<_>>(), given.keys().collect::<Vec<_>>());
        assert!(written == given, "{what}: the tensors differ");
        // transformers refuses a file that does not name its framework.
        let (_, metadata) = SafeTensors::read_metadata(&files[1].1).unwrap();
        assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
        let again = weights::read(&files[1].1, model.config.clone(), device).unwrap();
        let logits = |model: &Llama| uncached_logits(model, &golden.rows, golden.positions);
        assert_eq!(logits(&again), logits(&model), "{what}");
    });
}
