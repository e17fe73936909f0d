//! A Llama-style training step and decoding step on the CPU backend, these ops against burn's
//! stock ones: first the results are compared, then both are timed.
//!
//! `cargo bench --bench model_ops`; times are the best of several runs, in milliseconds.
//! `-- profile` only repeats the fused training step, for a profiler. `-- --device NAME` compares attention of many
//! rows on that GPU instead, at SmolLM2-135M's shape.

#![allow(clippy::print_stdout, reason = "a bench is a program of its own")]

use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use srft::config::CacheDtype;
use srft::model::{Activation, Scaling};
use srft::ops::attention::{
    self, AttentionShape, KvCache, Packing, Places, Rope, Tree, attention, decode_attention,
};
use srft::ops::{glu, linear::linear, rms_norm};
use std::hint::black_box;
use std::time::Instant;

const VOCABULARY: usize = 23;
const HIDDEN: usize = 128;
const FEED_FORWARD: usize = 320;
const LAYERS: usize = 3;
const SHAPE: AttentionShape = AttentionShape { heads: 4, kv_heads: 4, head_dim: 32 };
/// Sequences, and positions of each.
const BATCH: [usize; 2] = [288, 30];
const EPS: f32 = 1e-5;
const DECODE_ROWS: usize = 256;

/// Which implementation a run uses.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Fused,
    Stock,
}

type Attend = fn(Tensor<2>, Tensor<2>, Tensor<2>, AttentionShape, &Places, &Rope) -> Tensor<2>;

/// The nine tensors of a layer.
struct Layer {
    norms: [Tensor<1>; 2],
    /// q, k, v, o, gate, up, down in [Out, In].
    weights: [Tensor<2>; 7],
}

struct Model {
    embedding: Tensor<2>,
    layers: Vec<Layer>,
    rope: Rope,
    places: Places,
}

fn random(shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::random(shape, Distribution::Normal(0.0, (shape[1] as f64).powf(-0.5)), device)
}

impl Model {
    fn new(device: &Device) -> Self {
        let weight = |out, input| random([out, input], device).require_grad();
        let layer = |_| Layer {
            norms: [(); 2].map(|()| Tensor::<1>::ones([HIDDEN], device).require_grad()),
            weights: [
                weight(HIDDEN, HIDDEN),
                weight(HIDDEN, HIDDEN),
                weight(HIDDEN, HIDDEN),
                weight(HIDDEN, HIDDEN),
                weight(FEED_FORWARD, HIDDEN),
                weight(FEED_FORWARD, HIDDEN),
                weight(HIDDEN, FEED_FORWARD),
            ],
        };
        Self {
            embedding: weight(VOCABULARY, HIDDEN),
            layers: (0..LAYERS).map(layer).collect(),
            rope: Rope::new(64, SHAPE.head_dim, 10_000.0, Scaling::None, device),
            places: Places::new(Packing::apart([BATCH[1]; BATCH[0]]), device),
        }
    }

    /// Hidden states [N, D] of token ids [N].
    fn forward(&self, kind: Kind, ids: Tensor<1, Int>) -> Tensor<2> {
        let norm = if kind == Kind::Fused { rms_norm::rms_norm } else { rms_norm::stock };
        let gate = if kind == Kind::Fused { glu::glu } else { glu::stock };
        let attend = if kind == Kind::Fused { attention } else { attention::stock };
        let project = |x: &Tensor<2>, w: &Tensor<2>| match kind {
            Kind::Fused => linear(x.clone(), w.clone()),
            Kind::Stock => x.clone().matmul(w.clone().transpose()),
        };
        let mut x = self.embedding.clone().select(0, ids);
        for Layer { norms, weights: [wq, wk, wv, wo, wg, wu, wd] } in &self.layers {
            let h = norm(x.clone(), norms[0].clone(), EPS);
            let [q, k, v] = [wq, wk, wv].map(|w| project(&h, w));
            x = x + project(&attend(q, k, v, SHAPE, &self.places, &self.rope), wo);
            let h = norm(x.clone(), norms[1].clone(), EPS);
            x = x + project(&gate(project(&h, wg), project(&h, wu), Activation::Silu), wd);
        }
        x
    }

    /// One forward and backward pass; a few gradients for comparison.
    fn step(&self, kind: Kind, ids: &Tensor<1, Int>, upstream: &Tensor<2>) -> Vec<TensorData> {
        let loss = (self.forward(kind, ids.clone()) * upstream.clone()).sum();
        let grads = loss.backward();
        let layer = &self.layers[0];
        let matrices = [&self.embedding].into_iter().chain(&layer.weights);
        let matrices = matrices.map(|w| w.grad(&grads).expect("a gradient").into_data());
        let norms = layer.norms.iter().map(|w| w.grad(&grads).expect("a gradient").into_data());
        matrices.chain(norms).collect()
    }

    /// One new position for every row.
    fn decode(&self, caches: &mut [KvCache], ids: Tensor<1, Int>) -> Tensor<2> {
        let mut x = self.embedding.clone().inner().select(0, ids);
        let plain = |t: &Tensor<1>| t.clone().inner();
        for (layer, cache) in self.layers.iter().zip(caches) {
            let [wq, wk, wv, wo, wg, wu, wd] = layer.weights.each_ref().map(|w| w.clone().inner());
            let h = rms_norm::rms_norm(x.clone(), plain(&layer.norms[0]), EPS);
            let [q, k, v] = [wq, wk, wv].map(|w| linear(h.clone(), w));
            x = x + linear(decode_attention(q, k, v, cache, &self.rope), wo);
            let h = rms_norm::rms_norm(x.clone(), plain(&layer.norms[1]), EPS);
            x = x + linear(glu::glu(linear(h.clone(), wg), linear(h, wu), Activation::Silu), wd);
        }
        x
    }
}

/// Milliseconds of the fastest of `runs` calls of each, in turns: a busy machine must not slow one
/// side alone.
fn best_ms<const N: usize>(runs: usize, mut jobs: [&mut dyn FnMut(); N]) -> [f64; N] {
    let mut best = [f64::MAX; N];
    for run in 0..=runs {
        for (job, best) in jobs.iter_mut().zip(&mut best) {
            let start = Instant::now();
            job();
            if run > 0 {
                *best = best.min(start.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    best
}

/// Largest difference relative to the largest value.
fn difference(a: &TensorData, b: &TensorData) -> f64 {
    let values = |x: &TensorData| x.clone().try_into_vec::<f32>().expect("f32");
    let (a, b) = (values(a), values(b));
    let largest = b.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    a.iter().zip(&b).map(|(a, b)| f64::from((a - b).abs() / largest)).fold(0.0, f64::max)
}

type Op<'a> = &'a dyn Fn(&[Tensor<2>]) -> Tensor<2>;

/// An op's forward and backward, alone, fused and stock.
fn part(name: &str, inputs: &[[usize; 2]], device: &Device, [fused, stock]: [Op; 2]) {
    let inputs: Vec<_> = inputs.iter().map(|&s| random(s, device).require_grad()).collect();
    let upstream = fused(&inputs).detach();
    let forward = |op: Op| {
        black_box(op(&inputs));
    };
    let both = |op: Op| {
        let grads = (op(&inputs) * upstream.clone()).sum().backward();
        black_box(inputs[0].grad(&grads));
    };
    let [f, fb, stock_f, stock_fb] = best_ms(
        15,
        [&mut || forward(fused), &mut || both(fused), &mut || forward(stock), &mut || both(stock)],
    );
    println!(
        "{name:<20} forward {f:6.2} ms, stock {stock_f:6.2}; with backward {fb:6.2} ms, stock \
         {stock_fb:6.2}: {:.1}×",
        stock_fb / fb
    );
}

/// Forward and backward of a packed batch, by the shaders and by burn's operations. Peak memory is that of the process, ours measured first: on a software adapter it has the tensors too.
fn packed(name: &str, tree: Tree, device: &Device) {
    let (heads, kv_heads, head_dim) = (9, 3, 64);
    let rope = Rope::new(1024, head_dim, 100_000.0, Scaling::None, device);
    let places = Places::new(Packing { trees: vec![tree] }, device);
    let shape = AttentionShape { heads, kv_heads, head_dim };
    let of = |heads: usize| random([places.rows(), heads * head_dim], device);
    let inputs = [heads, kv_heads, kv_heads].map(|heads| of(heads).require_grad());
    let upstream = of(heads);
    let read = |x: Tensor<2>| {
        // Not before the numbers are looked at has the device computed them.
        black_box(x.slice([0..1]).into_data().try_into_vec::<f32>().expect("f32"));
    };
    let run = |form: Attend| {
        let [q, k, v] = inputs.clone();
        form(q, k, v, shape, &places, &rope)
    };
    let both = |form: Attend| {
        let grads = (run(form) * upstream.clone()).sum().backward();
        inputs.iter().for_each(|x| read(x.grad(&grads).expect("a gradient")));
    };
    let (ours, burns): (Attend, Attend) = (attention, attention::stock);
    let peak = || srft::platform::peak_memory_bytes().unwrap_or(0) >> 20;
    let before = peak();
    both(ours);
    let with_ours = peak();
    both(burns);
    println!("{name}: MiB more at the peak {}, stock {}", with_ours - before, peak() - before);
    let [f, fb, stock_f, stock_fb] = best_ms(
        3,
        [&mut || read(run(ours)), &mut || both(ours), &mut || read(run(burns)), &mut || {
            both(burns)
        }],
    );
    println!(
        "{name}: forward {f:.1} ms, stock {stock_f:.1}: {:.2}×; with backward {fb:.1} ms, stock \
         {stock_fb:.1}: {:.2}×",
        stock_f / f,
        stock_fb / fb
    );
}

fn main() {
    if let Some(name) = std::env::args().skip_while(|argument| argument != "--device").nth(1) {
        let selected = pollster::block_on(srft::device::select(&name)).expect("a device");
        let device = selected.device.autodiff();
        // The kernels are compiled before anything is measured.
        for (name, prompt, branches) in [
            ("8 tokens", 8, vec![]),
            ("256 + 8 × 64", 256, vec![64; 8]),
            ("1,024 tokens", 1024, vec![]),
        ] {
            packed(name, Tree { prompt, branches }, &device);
        }
        return;
    }
    let device = Device::flex().autodiff();
    let tokens = BATCH[0] * BATCH[1];
    let ids = |n: usize| {
        let ids: Vec<i32> = (0..n).map(|i| (i * 7 % VOCABULARY) as i32).collect();
        Tensor::<1, Int>::from_ints(ids.as_slice(), &device)
    };
    let (batch_ids, upstream) = (ids(tokens), random([tokens, HIDDEN], &device));
    let model = Model::new(&device);

    if std::env::args().any(|argument| argument == "profile") {
        let mut step = || drop(model.step(Kind::Fused, &batch_ids, &upstream));
        println!("training step: {:.1} ms", best_ms(100, [&mut step])[0]);
        return;
    }
    // Before stock ops have run, so that the peak is the fused step's.
    (0..20).for_each(|_| drop(model.step(Kind::Fused, &batch_ids, &upstream)));
    let memory = srft::platform::peak_memory_bytes().unwrap_or(0) >> 20;
    let fused = model.step(Kind::Fused, &batch_ids, &upstream);
    let stock = model.step(Kind::Stock, &batch_ids, &upstream);
    let worst = fused.iter().zip(&stock).map(|(a, b)| difference(a, b)).fold(0.0, f64::max);
    println!("gradients against stock: {worst:.1e} of the largest");
    assert!(worst < 1e-4, "fused and stock gradients differ");

    let n = tokens;
    part(
        "rms_norm [N, 128]",
        &[[n, HIDDEN]],
        &device,
        [&|x| rms_norm::rms_norm(x[0].clone(), model.layers[0].norms[0].clone(), EPS), &|x| {
            rms_norm::stock(x[0].clone(), model.layers[0].norms[0].clone(), EPS)
        }],
    );
    part(
        "glu [N, 320]",
        &[[n, FEED_FORWARD]; 2],
        &device,
        [&|x| glu::glu(x[0].clone(), x[1].clone(), Activation::Silu), &|x| {
            glu::stock(x[0].clone(), x[1].clone(), Activation::Silu)
        }],
    );
    let attend = |form: Attend, x: &[Tensor<2>]| {
        let [q, k, v] = [0, 1, 2].map(|i| x[i].clone());
        form(q, k, v, SHAPE, &model.places, &model.rope)
    };
    part(
        "attention 288 × 30",
        &[[n, HIDDEN]; 3],
        &device,
        [&|x| attend(attention, x), &|x| attend(attention::stock, x)],
    );
    for (out, input) in [(HIDDEN, HIDDEN), (FEED_FORWARD, HIDDEN), (HIDDEN, FEED_FORWARD)] {
        part(
            &format!("linear {input} → {out}"),
            &[[n, input], [out, input]],
            &device,
            [&|x| linear(x[0].clone(), x[1].clone()), &|x| {
                x[0].clone().matmul(x[1].clone().transpose())
            }],
        );
    }
    part("add [N, 128]", &[[n, HIDDEN]; 2], &device, [&|x| x[0].clone() + x[1].clone(); 2]);
    let step = |kind| {
        black_box(model.step(kind, &batch_ids, &upstream));
    };
    let mut forward = || {
        black_box(model.forward(Kind::Fused, batch_ids.clone()));
    };
    let [fused, forward, stock] =
        best_ms(15, [&mut || step(Kind::Fused), &mut forward, &mut || step(Kind::Stock)]);
    println!(
        "training step, {n} tokens: {fused:.1} ms (forward {forward:.1}), stock {stock:.1} ms: \
         {:.1}×; peak memory {memory} MiB",
        stock / fused
    );

    let plain = device.clone().without_autodiff();
    let tree = Tree { prompt: 1, branches: vec![0; DECODE_ROWS] };
    let begun = Places::new(Packing { trees: vec![tree] }, &plain);
    let cache = || {
        let kv = [0, 1].map(|_| Tensor::zeros([1, SHAPE.kv_heads * SHAPE.head_dim], &plain));
        KvCache::new(kv, SHAPE.head_dim, &begun, 64, CacheDtype::F32, &model.rope)
    };
    let row_ids = ids(DECODE_ROWS).inner();
    let decode = (0..10).map(|_| {
        let mut caches: Vec<_> = (0..LAYERS).map(|_| cache()).collect();
        let mut decode = || {
            black_box(model.decode(&mut caches, row_ids.clone()));
        };
        (0..20).for_each(|_| decode());
        best_ms(40, [&mut decode])[0]
    });
    let decode = decode.fold(f64::MAX, f64::min);
    println!("decoding step, {DECODE_ROWS} rows at 20 to 60 positions: {decode:.2} ms");
}
