//! What a decoding step asks of a GPU: dispatches, submissions and uploads, as wgpu logs them.

use crate::alone::alone;
use crate::backends::{devices, is_slow};
use crate::common::config;
use burn::tensor::{Device, Int, Tensor};
use log::{LevelFilter, Log, Metadata, Record};
use srft::config::CacheDtype;
use srft::device::DISPATCHES;
use srft::learner::Learner;
use srft::model::{Activation, Decoding, Llama, Lora, ModelConfig, ModelFolder, Scaling};
use srft::objective::Update;
use srft::ops::attention::{Packing, Tree};
use srft::ops::matmul::{Tile, Way, matmul_nt, matmul_nt_by};
use srft::ops::readback;
use srft::ops::sampling::{Draw, Draws, Sampling, sample};
use srft::optim::AdamW;
use srft::records::{Sequence, TermCoefficients};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Dispatches, submissions, uploads.
type Asked = [usize; 3];

struct Counter([AtomicUsize; 3]);

static COUNTER: Counter = Counter([const { AtomicUsize::new(0) }; 3]);

/// wgpu-core logs each call at the level of trace.
const CALLS: [&str; 3] = ["ComputePass::dispatch", "Queue::submit returned", "Queue::write_buffer"];

impl Log for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("wgpu_core")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let text = record.args().to_string();
            let call = CALLS.iter().position(|call| text.starts_with(call));
            if let Some(call) = call {
                self.0[call].fetch_add(1, Relaxed);
            }
        }
    }

    fn flush(&self) {}
}

/// What `work` asks.
fn asked(work: impl FnOnce()) -> Asked {
    let now = || COUNTER.0.each_ref().map(|count| count.load(Relaxed));
    let before = now();
    work();
    let after = now();
    std::array::from_fn(|i| after[i] - before[i])
}

/// Qwen2.5-0.5B's layers, but for narrower gates and few tokens: a software adapter computes them.
fn qwen(layers: usize) -> ModelConfig {
    ModelConfig {
        vocab_size: 1000,
        hidden_size: 896,
        intermediate_size: 896,
        layers,
        heads: 14,
        kv_heads: 2,
        head_dim: 64,
        rms_norm_eps: 1e-6,
        rope_theta: 1e6,
        rope_scaling: Scaling::None,
        local: None,
        query_factor: 1.0,
        max_positions: 64,
        tied: true,
        qkv_bias: true,
        output_bias: false,
        mlp_bias: false,
        qk_norm: false,
        norms_after: false,
        norm_offset: 0.0,
        activation: Activation::Silu,
        embedding_factor: 1.0,
        eos_tokens: vec![2],
    }
}

/// Every matrix of a layer.
const TARGETS: [&str; 7] =
    ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

const STEPS: usize = 4;
const ROWS: u32 = 4;

fn ints(values: &[i32], device: &Device) -> Tensor<1, Int> {
    Tensor::from_ints(values, device)
}

/// What `STEPS` steps ask, the readback of the last one's tokens included.
fn steps(layers: usize, device: &Device) -> Asked {
    let mut model = Llama::random(qwen(layers), 0, device);
    let targets = TARGETS.map(String::from).to_vec();
    model.adapt(Lora { rank: 16, alpha: 32.0, rslora: false, dropout: 0.0, targets }, 0);
    let tree = Tree { prompt: 3, branches: vec![0; ROWS as usize / 2] };
    let prompts = ints(&[1; 6], device);
    let mut draws =
        Draws::new((0..ROWS).map(|prompt| Draw { prompt, sample: 0, position: 0 }), device);
    let decoding = Decoding::new(&model, CacheDtype::F32);
    let (_, mut caches) = decoding.prefill(prompts, Packing { trees: vec![tree; 2] }, 61);
    let mut run = |steps: usize| {
        let mut tokens = ints(&[1; ROWS as usize], device);
        for _ in 0..steps {
            let logits = decoding.decode(tokens, &mut caches);
            tokens = sample(logits, &mut draws, 1, 1, Sampling::default()).tokens;
        }
        pollster::block_on(readback::ints(tokens)).unwrap();
    };
    run(2); // compiles, and uploads what is kept
    let one = asked(|| run(1));
    let more = asked(|| run(1 + STEPS));
    std::array::from_fn(|i| more[i] - one[i])
}

/// What an update of the adapters asks: one micro-batch of two groups, two responses each, and its AdamW.
fn update(layers: usize, recomputed: usize, device: &Device) -> Asked {
    let mut model = Llama::random(qwen(layers), 0, device);
    let targets = TARGETS.map(String::from).to_vec();
    model.adapt(Lora { rank: 16, alpha: 32.0, rslora: false, dropout: 0.0, targets }, 0);
    let sequence = |i: u32| Sequence {
        terms: TermCoefficients { sft: 0.1, ..TermCoefficients::default() },
        ..Sequence::to_score(vec![1, 3 + i / 2, 5], vec![7 + i, 8, 9])
    };
    let update = Update {
        sequences: (0..4).map(sequence).collect(),
        advantages: Vec::new(),
        divisors: Vec::new(),
    };
    let config = config("");
    let tokenizer = ModelFolder::tiny().text_and_shape().unwrap().0;
    let mut optimizer = AdamW::new(config.optimizer.clone(), &model);
    let mut learner = Learner::new(config, model, None, tokenizer, recomputed);
    let mut step = || {
        let gradient = pollster::block_on(learner.gradient(&update, 0)).unwrap();
        optimizer.step(&mut learner.policy, gradient.tensors, gradient.norm, 1e-3);
        readback::wait(device).unwrap();
    };
    step();
    step();
    asked(step)
}

#[test]
fn an_update_asks_little_of_a_gpu() {
    alone("model::dispatches::an_update_asks_little_of_a_gpu", || {
        log::set_logger(&COUNTER).unwrap();
        log::set_max_level(LevelFilter::Trace);
        let Some((_, device)) = devices().into_iter().find(|(backend, _)| *backend == "vulkan")
        else {
            return;
        };
        for (all, most) in [(false, 114), (true, 160)] {
            let of = |layers: usize| update(layers, if all { layers } else { 0 }, &device);
            let (two, three) = (of(2), of(3));
            let a_layer = three[0] - two[0];
            assert!(a_layer <= most, "{a_layer} dispatches a layer");
            // Of the micro-batch, and the uniforms of this update's AdamW.
            assert!(three[2] <= 16, "{two:?}, {three:?}: uploads grow with the layers");
        }
    });
}

#[test]
fn a_decoding_step_asks_little_of_a_gpu() {
    alone("model::dispatches::a_decoding_step_asks_little_of_a_gpu", || {
        log::set_logger(&COUNTER).unwrap();
        log::set_max_level(LevelFilter::Trace);
        let Some((_, device)) = devices().into_iter().find(|(backend, _)| *backend == "vulkan")
        else {
            return;
        };
        // The least of two counts: another thread hands over, and what came before may end in the first.
        let least = |layers: usize| {
            let [a, b] = [(); 2].map(|()| steps(layers, &device));
            std::array::from_fn::<_, 3, _>(|i| a[i].min(b[i]))
        };
        let (two, three) = (least(2), least(3));
        let a_layer = (three[0] - two[0]) / STEPS;
        let beside = two[0] / STEPS - 2 * a_layer;
        assert_eq!([two[2], three[2]], [0, 0], "uploads of {STEPS} steps");
        // Three products, attention, two norms, the activation, and the product back; adapters ask no more.
        assert_eq!(a_layer, 8, "dispatches a layer");
        // Embedding, first norm, the head's product and sum, the draw.
        assert_eq!(beside, 5, "dispatches beside the layers");
        let [dispatches, submissions, _] = three;
        assert!(
            submissions <= dispatches / DISPATCHES + 1,
            "{submissions} for {dispatches} dispatches"
        );
    });
}

/// Twelve products are three to four times what a submission may hold, forward or with their gradients. None copies
/// a matrix because of the way it lies.
#[test]
fn large_products_end_a_submission_and_need_no_copies() {
    alone("model::dispatches::large_products_end_a_submission_and_need_no_copies", || {
        log::set_logger(&COUNTER).unwrap();
        log::set_max_level(LevelFilter::Trace);
        let Some((name, device)) = devices().into_iter().find(|(backend, _)| *backend == "vulkan")
        else {
            return;
        };
        let ones = |rows| Tensor::<2>::ones([rows, 256], &device);
        let read = |x: Tensor<2>| pollster::block_on(readback::floats(x)).unwrap();
        let large = if is_slow(name) { 256 } else { 32_768 };
        let submissions = |rows: usize, with_gradients: bool| {
            let (x, weight) = (ones(rows), ones(512));
            let all = || match with_gradients {
                false => (0..12).for_each(|_| drop(matmul_nt(x.clone(), weight.clone()))),
                true => (0..4).for_each(|_| {
                    let leaf = |t: &Tensor<2>| t.clone().autodiff().require_grad();
                    drop(matmul_nt(leaf(&x), leaf(&weight)).sum().backward());
                }),
            };
            all();
            read(ones(1));
            asked(|| {
                all();
                read(ones(1));
            })[1]
        };
        for with_gradients in [false, true] {
            let (few, many) = (submissions(4, with_gradients), submissions(large, with_gradients));
            assert!(many >= few + 3, "{many} submissions, of small products {few}");
        }
        for [a_by_k, b_by_k] in [[false, false], [false, true], [true, true]] {
            let square = |by_k: bool| if by_k { ones(256).transpose() } else { ones(256) };
            let (a, b) = (square(a_by_k), square(b_by_k));
            let product = || {
                read(matmul_nt_by(a.clone(), b.clone(), Way::Tiles(Tile::Small)));
            };
            product();
            assert_eq!(asked(product)[0], 1, "dispatches, {a_by_k} {b_by_k}");
        }
    });
}
