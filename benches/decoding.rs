//! Cached against uncached decoding, refilled slots against waiting for the longest row, and a step by its kernels
//! against one by the layers' own operations: `cargo bench --bench decoding [-- --device vulkan] [--steps-only true]`.
//!
//! Verifies that both sides give the same tokens or logits, then times one greedy row of 512 tokens with and
//! without a cache, 128 responses of 8 to 512 tokens in 32 slots or 32 at a time, and steps of four layers of
//! SmolLM2-135M's shape with adapters of rank 16, in turn.

#![allow(clippy::print_stdout, reason = "a bench is a program of its own")]

#[allow(dead_code, reason = "each bench uses a part")]
mod common;

use burn::tensor::{Device, Int, Tensor, TensorData};
use common::median;
use srft::bench::shape;
use srft::config::CacheDtype;
use srft::model::{Activation, Decoding, Llama, Lora, ModelConfig, Scaling, lora};
use srft::ops::attention::{Packing, Places, Tree};
use srft::ops::sampling::Sampling;
use srft::rollout::{Plan, Stops, respond};
use std::time::Instant;

const TOKENS: usize = 512;

fn config() -> ModelConfig {
    ModelConfig {
        vocab_size: 256,
        hidden_size: 128,
        intermediate_size: 320,
        layers: 3,
        heads: 4,
        kv_heads: 4,
        head_dim: 32,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: Scaling::None,
        local: None,
        query_factor: 1.0,
        max_positions: TOKENS + 16,
        tied: true,
        qkv_bias: false,
        output_bias: false,
        mlp_bias: false,
        qk_norm: false,
        norms_after: false,
        norm_offset: 0.0,
        activation: Activation::Silu,
        embedding_factor: 1.0,
        eos_tokens: vec![u32::MAX - 1], // never: all 512 tokens are decoded
    }
}

fn cached(model: &Llama, prompt: &[u32], tokens: usize) -> Vec<u32> {
    let plan = Plan {
        group: 1,
        sampling: Sampling { temperature: 0.0, ..Default::default() },
        max_new_tokens: tokens,
        eos_tokens: &model.config.eos_tokens,
        stops: Stops::default(),
        slots: 0,
        cache: CacheDtype::F32,
        seed: 0,
        step: 0,
    };
    let responses = pollster::block_on(respond(model, &[prompt.to_vec()], &plan));
    responses.expect("decoding").remove(0).tokens
}

fn uncached(model: &Llama, prompt: &[u32], tokens: usize, device: &Device) -> Vec<u32> {
    let mut text: Vec<i32> = prompt.iter().map(|&t| t as i32).collect();
    for _ in 0..tokens {
        let n = text.len();
        let input = Tensor::<1, Int>::from_data(TensorData::new(text.clone(), [n]), device);
        let last = model.hidden(input, &Places::new(Packing::apart([n]), device)).slice([n - 1..n]);
        let id = model.logits(last).argmax(1).into_data().convert::<i32>();
        text.push(id.as_slice::<i32>().expect("i32")[0]);
    }
    text[prompt.len()..].iter().map(|&t| t as u32).collect()
}

/// 128 responses whose lengths an end-of-text of one chance in 64 scatters, in 32 slots; `together`
/// waits for 32 to end before the next 32 begin.
fn scattered(model: &Llama, together: bool) -> Vec<Vec<u32>> {
    let prompts: Vec<Vec<u32>> = (0..128).map(|i| vec![5, 9, i % 50, 7]).collect();
    let ends: Vec<u32> = (0..4).collect(); // of 256 nearly equal tokens
    let plan = |slots| Plan {
        group: 1,
        sampling: Sampling::default(),
        max_new_tokens: TOKENS,
        eos_tokens: &ends,
        stops: Stops::default(),
        slots,
        cache: CacheDtype::F32,
        seed: 1,
        step: 0,
    };
    let run = |prompts: &[Vec<u32>], slots| {
        let responses = pollster::block_on(respond(model, prompts, &plan(slots)));
        responses.expect("decoding").into_iter().map(|r| r.tokens).collect::<Vec<_>>()
    };
    match together {
        false => run(&prompts, 32),
        true => prompts.chunks(32).flat_map(|chunk| run(chunk, 32)).collect(),
    }
}

/// Rows and positions of their past.
const STEPS: [(usize, usize); 3] = [(1, 64), (16, 64), (64, 64)];
/// Layers of the shape that are measured: a software adapter is slow.
const LAYERS: usize = 4;
/// Times that each way is measured.
const TIMES: usize = 5;

fn steps(device: &Device) {
    let named = srft::config::Model { path: "smollm2-135m".into(), ..Default::default() };
    let mut config = shape(&named).expect("a named shape").config;
    (config.layers, config.vocab_size) = (LAYERS, 4096);
    let mut model = Llama::random(config, 0, device);
    let targets = lora::TARGETS.map(String::from).to_vec();
    model.adapt(Lora { rank: 16, alpha: 32.0, rslora: false, dropout: 0.0, targets }, 0);
    let ways = [Decoding::new(&model, CacheDtype::F32), Decoding::plain(&model)];
    for (rows, past) in STEPS {
        let prompts = Tensor::<1, Int>::from_ints(vec![7; rows * past].as_slice(), device);
        let tree = Tree { prompt: past, branches: vec![0] };
        let (_, caches) = ways[0].prefill(prompts, Packing { trees: vec![tree; rows] }, 64);
        let mut caches = [caches.clone(), caches];
        let tokens = || Tensor::<1, Int>::from_ints(vec![9; rows].as_slice(), device);
        let mut step = |way: usize| {
            let start = Instant::now();
            let logits = ways[way].decode(tokens(), &mut caches[way]);
            let logits: Vec<f32> = logits.slice([0..1]).into_data().try_into_vec().expect("f32");
            (start.elapsed().as_secs_f64(), logits)
        };
        let (kernels, layers) = (step(0).1, step(1).1);
        let apart = kernels.iter().zip(&layers).map(|(a, b)| (a - b).abs());
        let apart = apart.fold(0.0f32, f32::max);
        assert!(apart < 1e-3, "logits are {apart} apart");
        let times: Vec<[f64; 2]> = (0..TIMES).map(|_| [step(0).0, step(1).0]).collect();
        let [ours, plain] = [0, 1].map(|way| median(times.iter().map(|t| t[way]).collect()));
        println!(
            "{LAYERS} layers, {rows} rows after {past}: kernels {:.1} ms, layers {:.1} ms, {:.2} of it",
            1e3 * ours,
            1e3 * plain,
            ours / plain
        );
    }
}

fn main() {
    let selected = common::device("cpu");
    steps(&selected.device);
    if common::value("--steps-only").is_some() {
        return;
    }
    let model = Llama::random(config(), 0, &selected.device);
    let prompt = [5, 9, 2, 7];
    let (short, whole) =
        (cached(&model, &prompt, 24), uncached(&model, &prompt, 24, &selected.device));
    assert_eq!(short, whole, "cached and uncached decoding disagree");
    let time = |f: &dyn Fn() -> Vec<u32>| {
        let start = Instant::now();
        assert_eq!(f().len(), TOKENS);
        start.elapsed().as_secs_f64()
    };
    let with = time(&|| cached(&model, &prompt, TOKENS));
    let without = time(&|| uncached(&model, &prompt, TOKENS, &selected.device));
    println!("{} ({}), {TOKENS} tokens, one row", selected.name, selected.backend);
    println!("cached {with:.3} s, uncached {without:.3} s: {:.1} times as fast", without / with);

    let tokens = |responses: &[Vec<u32>]| responses.iter().map(Vec::len).sum::<usize>();
    let timed = |together| {
        let start = Instant::now();
        let responses = scattered(&model, together);
        (tokens(&responses) as f64 / start.elapsed().as_secs_f64(), responses)
    };
    let (refilled, first) = timed(false);
    let (waiting, second) = timed(true);
    // The draws of the first 32 prompts are keyed alike both ways.
    assert_eq!(first[..32], second[..32], "refilling changed what is sampled");
    println!(
        "128 responses of {} tokens on average in 32 slots: refilled {refilled:.0} tokens/s, waiting \
         {waiting:.0}, {:.2} times as fast",
        tokens(&first) / 128,
        refilled / waiting
    );
}
