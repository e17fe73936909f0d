//! A decoding step by its kernels, against the layers' own operations and the numbers of transformers.

use crate::backends::{compare, devices, floats};
use crate::models::{TOLERANCE, folder, uncached_logits};
use burn::tensor::{Device, Int, Tensor};
use srft::config::CacheDtype;
use srft::model::{BlockType, Decoding, Llama, Lora, quantise};
use srft::ops::attention::{KvCache, Packing, Tree};
use srft::ops::stored::StoredMatrix;
use std::sync::Arc;

fn ints(values: impl IntoIterator<Item = u32>, device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = values.into_iter().map(|t| t as i32).collect();
    Tensor::from_ints(values.as_slice(), device)
}

const ROOM: usize = 24;
const LENGTH: usize = 8; // as many positions as the smallest model has

/// Caches of three rows' beginnings: two go on from one prompt, of which one is a token further.
fn begun(decoding: &Decoding<'_>, rows: &[Vec<u32>; 3]) -> Vec<KvCache> {
    let tree = |prompt: usize, branches: &[usize]| Tree { prompt, branches: branches.to_vec() };
    let packing = Packing { trees: vec![tree(SHARED, &[1, 0]), tree(1, &[0])] };
    let tokens = rows[0][..SHARED + 1].iter().chain(&rows[2][..1]).copied();
    decoding.prefill(ints(tokens, &decoding.model().device()), packing, ROOM).1
}

const SHARED: usize = 3;
const BEGUN: [u32; 3] = [4, 3, 1];
const STEPS: usize = 4;

fn rows(vocabulary: usize) -> [Vec<u32>; 3] {
    let token = |row: usize, i: usize| ((row * 31 + i * 17 + 5) % vocabulary) as u32;
    let of = |row: usize, i| token(if row == 1 && i < SHARED { 0 } else { row }, i);
    [0, 1, 2].map(|row| (0..LENGTH).map(|i| of(row, i)).collect())
}

/// What `STEPS` steps give, and what one pass gives there.
fn check(what: &str, model: &Llama) {
    let device = model.device();
    let (texts, vocabulary) = (rows(model.config.vocab_size), model.config.vocab_size);
    let all = uncached_logits(model, &texts, LENGTH);
    // A past in half precision has 11 bits: logits of the size of 1 are some thousandths off.
    for (name, decoding, tolerance) in [
        ("kernels", Decoding::new(model, CacheDtype::F32), TOLERANCE),
        ("layers", Decoding::plain(model), TOLERANCE),
        ("kernels, F16", Decoding::new(model, CacheDtype::F16), 2e-2),
    ] {
        let on_gpu = srft::ops::cube::runs_on(&device);
        assert_eq!(decoding.by_kernels(), on_gpu && name != "layers", "{what}, {name}");
        let mut caches = begun(&decoding, &texts);
        for step in 0..STEPS {
            let at = BEGUN.map(|begun| begun as usize + step);
            let next = texts.iter().zip(at).map(|(text, i)| text[i]);
            let got = floats(decoding.decode(ints(next, &device), &mut caches));
            let at = at.iter().enumerate().flat_map(|(row, i)| {
                let first = (row * LENGTH + i) * vocabulary;
                all[first..first + vocabulary].iter().map(|&x| f64::from(x))
            });
            let want: Vec<f64> = at.collect();
            compare(&format!("{what}, {name}, step {step}"), &got, &want, tolerance).unwrap();
        }
    }
}

/// Every published architecture: biases, head norms, norms after a block, windows, an untied head.
#[test]
fn steps_of_every_architecture_are_one_pass() {
    for name in
        ["llama-gqa", "llama-tied", "llama3-rope", "mistral-window", "qwen2", "qwen3", "gemma3"]
    {
        for (backend, device) in devices() {
            let (model, _) = folder(name).load(&device).unwrap();
            check(&format!("{name} on {backend}"), &model);
        }
    }
}

/// Weights that stay as stored, of types that differ within a layer, and adapters on some matrices or all.
#[test]
fn steps_over_stored_weights_with_adapters_are_one_pass() {
    let kinds = [BlockType::Q8_0, BlockType::Bf16, BlockType::Q8_0, BlockType::F16];
    for (backend, device) in devices() {
        for targets in [vec!["q_proj", "down_proj"], srft::model::lora::TARGETS.to_vec()] {
            let mut model = model_of(&device);
            for (index, (_, matrix)) in model.matrices_mut().enumerate() {
                let [rows, columns] = matrix.dims();
                let values: Vec<f32> = (0..rows * columns)
                    .map(|i| 0.3 * (((i * 7919 + index * 104_729) % 1013) as f32 / 506.0 - 1.0))
                    .collect();
                let kind = kinds[index % kinds.len()];
                let mut bytes = Vec::new();
                quantise::append(&values, kind, &mut bytes).unwrap();
                let stored = StoredMatrix::new(&bytes, kind, rows, &device).unwrap();
                matrix.freeze(Arc::new(stored));
            }
            let targets = targets.into_iter().map(String::from).collect();
            let lora = Lora { rank: 5, alpha: 7.0, rslora: false, dropout: 0.0, targets };
            model.adapt(lora, 3);
            for p in model.parameters_mut() {
                if p.name.ends_with("lora_B.weight") {
                    *p.tensor = Tensor::full(p.block_shape, 0.07, &device);
                }
            }
            check(&format!("stored on {backend}"), &model);
        }
    }
}

fn model_of(device: &Device) -> Llama {
    let (model, _) = folder("qwen2").load(device).unwrap();
    let mut config = model.config;
    (config.hidden_size, config.intermediate_size) = (64, 96);
    (config.heads, config.kv_heads, config.head_dim) = (6, 2, 16);
    Llama::random(config, 5, device)
}

/// A row's logits have the bits that they have alone (on a CPU those of a large model); several tokens at once those of one after the other.
#[test]
fn a_row_has_the_bits_that_it_has_alone() {
    let gpus = devices().into_iter().filter(|(backend, _)| *backend == "vulkan");
    let both = [CacheDtype::F32, CacheDtype::F16];
    for ((backend, device), dtype) in gpus.flat_map(|gpu| both.map(|dtype| (gpu.clone(), dtype))) {
        let model = model_of(&device);
        let texts = rows(model.config.vocab_size);
        let decoding = Decoding::new(&model, dtype);
        let begun = begun(&decoding, &texts);
        let steps = |rows: &[usize]| {
            let mut caches: Vec<_> = begun.iter().map(|cache| cache.clone().keep(rows)).collect();
            let step = |step: usize| {
                let next = rows.iter().map(|&row| texts[row][BEGUN[row] as usize + step]);
                floats(decoding.decode(ints(next, &device), &mut caches))
            };
            (0..STEPS).map(step).collect::<Vec<_>>()
        };
        let all = steps(&[0, 1, 2]);
        for row in 0..3 {
            let width = model.config.vocab_size;
            let alone: Vec<_> = all.iter().map(|l| l[row * width..][..width].to_vec()).collect();
            assert_eq!(steps(&[row]), alone, "row {row} on {backend}");
            let mut caches: Vec<_> = begun.iter().map(|c| c.clone().keep(&[row])).collect();
            let next = &texts[row][BEGUN[row] as usize..][..STEPS];
            let last = floats(decoding.extend(ints(next.iter().copied(), &device), &mut caches));
            assert_eq!(last, alone[STEPS - 1], "row {row} on {backend}, extended");
        }
    }
}
