//! The model's operations against plain loops in f64, forward and backward, on the CPU backend
//! (fused) and on the software Vulkan adapter.

use crate::backends::{compare, devices, devices_and_subgroups, floats};
use burn::tensor::{Device, Tensor, TensorData};
use srft::config::CacheDtype;
use srft::model::{Activation, Scaling};
use srft::ops::attention::reference::Setting;
use srft::ops::attention::{
    self, AttentionShape, KvCache, Packing, Places, Rope, Tree, attention, decode_attention,
    decode_stock,
};
use srft::ops::{glu, linear::linear, rms_norm};
use srft::random::Stream;
use std::ops::Range;

const EPS: f64 = 1e-5;
const THETA: f64 = 10_000.0;
const FORWARD: f64 = 6e-5;
const BACKWARD: f64 = 1e-4;

/// A matrix on the host.
#[derive(Clone, Debug)]
struct Matrix {
    shape: [usize; 2],
    values: Vec<f64>,
}

impl Matrix {
    /// Normal numbers of the given spread, exact in f32.
    fn random(shape: [usize; 2], spread: f64, stream: &mut Stream) -> Self {
        let value = |_| f64::from((f64::from(stream.normal()) * spread) as f32);
        Self { shape, values: (0..shape[0] * shape[1]).map(value).collect() }
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.shape[1]..][..self.shape[1]]
    }

    fn on(&self, device: &Device) -> Tensor<2> {
        let values: Vec<f32> = self.values.iter().map(|&x| x as f32).collect();
        Tensor::from_data(TensorData::new(values, self.shape), device)
    }
}

/// Panics unless every value is finite and within `tolerance` relative to max(1, |expected|).
fn assert_close(what: &str, got: &Tensor<2>, expected: &Matrix, tolerance: f64) {
    let got: Vec<f32> = got.to_data().try_into_vec().expect("f32");
    assert_eq!(got.len(), expected.values.len(), "{what}: sizes");
    for (i, (&got, &expected)) in got.iter().zip(&expected.values).enumerate() {
        let error = (f64::from(got) - expected).abs() / expected.abs().max(1.0);
        assert!(error <= tolerance, "{what}[{i}]: expected {expected}, got {got}");
    }
}

type Op = Box<dyn Fn(&[Tensor<2>]) -> Tensor<2>>;
type Reference = Box<dyn Fn(&[Matrix]) -> Matrix>;

/// A function of matrices: the operation under test and its reference.
struct Case {
    name: String,
    inputs: Vec<Matrix>,
    op: Op,
    reference: Reference,
}

impl Case {
    /// Checks value and gradients on `device`; the reference's gradients are central differences
    /// of L = Σ output·upstream along `probes` random elements of each input.
    fn check(&self, device_name: &str, device: &Device, probes: usize) {
        let name = format!("{} on {device_name}", self.name);
        let expected = (self.reference)(&self.inputs);
        let plain: Vec<_> = self.inputs.iter().map(|x| x.on(device)).collect();
        assert_close(&name, &(self.op)(&plain), &expected, FORWARD);

        let mut stream = Stream::new(11, 2, 0);
        let upstream = Matrix::random(expected.shape, 1.0, &mut stream);
        let device = device.clone().autodiff();
        let inputs: Vec<_> = self.inputs.iter().map(|x| x.on(&device).require_grad()).collect();
        let output = (self.op)(&inputs);
        assert_close(&format!("{name}, recorded"), &output, &expected, FORWARD);
        let grads = (output * upstream.on(&device)).sum().backward();
        let loss = |inputs: &[Matrix]| -> f64 {
            let output = (self.reference)(inputs);
            output.values.iter().zip(&upstream.values).map(|(a, b)| a * b).sum()
        };
        for (i, input) in inputs.iter().enumerate() {
            let got = input.grad(&grads).expect("a gradient").to_data();
            let got: Vec<f32> = got.try_into_vec().expect("f32");
            for _ in 0..probes {
                let at = stream.below(got.len() as u32) as usize;
                let mut moved = self.inputs.clone();
                let step = 1e-5;
                moved[i].values[at] += step;
                let above = loss(&moved);
                moved[i].values[at] -= 2.0 * step;
                let expected = (above - loss(&moved)) / (2.0 * step);
                let error = (f64::from(got[at]) - expected).abs() / expected.abs().max(1.0);
                assert!(
                    error <= BACKWARD,
                    "{name}, ∂/∂input {i}[{at}]: expected {expected}, got {}",
                    got[at]
                );
            }
        }
    }
}

fn rms_norm_reference(inputs: &[Matrix]) -> Matrix {
    let [x, weight] = inputs else { panic!("two inputs") };
    let values = rms_norm::reference::rms_norm(&x.values, &weight.values, EPS);
    Matrix { shape: x.shape, values }
}

fn glu_reference(act: Activation, inputs: &[Matrix]) -> Matrix {
    let [gate, up] = inputs else { panic!("two inputs") };
    let value = |(&gate, &up): (&f64, &f64)| glu::reference::glu(gate, up, act);
    let values = gate.values.iter().zip(&up.values).map(value).collect();
    Matrix { shape: gate.shape, values }
}

fn linear_reference(inputs: &[Matrix]) -> Matrix {
    let [x, weight] = inputs else { panic!("two inputs") };
    let shape = [x.shape[0], weight.shape[0]];
    let dot = |i: usize| {
        let (x, w) = (x.row(i / shape[1]), weight.row(i % shape[1]));
        x.iter().zip(w).map(|(a, b)| a * b).sum()
    };
    Matrix { shape, values: (0..shape[0] * shape[1]).map(dot).collect() }
}

/// A packed batch for attention.
#[derive(Debug, Clone)]
struct Batch {
    packing: Packing,
    shape: AttentionShape,
}

impl Batch {
    /// `batch` sequences of as many positions.
    fn apart(batch: usize, positions: usize, [heads, kv_heads, head_dim]: [usize; 3]) -> Self {
        let packing = Packing::apart([positions].repeat(batch));
        Self { packing, shape: AttentionShape { heads, kv_heads, head_dim } }
    }

    fn q_shape(&self) -> [usize; 2] {
        [self.packing.rows(), self.shape.heads * self.shape.head_dim]
    }

    /// Of q, k and v.
    fn shapes(&self) -> [[usize; 2]; 3] {
        let kv = [self.packing.rows(), self.shape.kv_heads * self.shape.head_dim];
        [self.q_shape(), kv, kv]
    }

    fn places(&self, device: &Device) -> Places {
        Places::new(self.packing.clone(), device)
    }

    /// What each row gets.
    fn reference(&self, window: usize, inputs: [&Matrix; 3]) -> Matrix {
        let values = self.rows(window, inputs, 0..self.packing.rows());
        Matrix { shape: inputs[0].shape, values }
    }

    /// What some rows get.
    fn rows(&self, window: usize, inputs: [&Matrix; 3], rows: Range<usize>) -> Vec<f64> {
        let head_dim = self.shape.head_dim;
        let setting = Setting { packing: &self.packing, head_dim, window, theta: THETA };
        setting.rows(inputs.map(|x| &x.values[..]), rows)
    }
}

/// One sequence and one position; odd sizes; grouped heads; sizes around the vector blocks of 16.
const SHAPES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 1, 1, 1, 2),
    (3, 1, 2, 1, 6),
    (2, 5, 4, 2, 10),
    (2, 15, 2, 2, 16),
    (1, 16, 3, 1, 18),
    (3, 17, 4, 4, 32),
    (1, 37, 6, 2, 34),
];

/// No window.
const ALL: usize = usize::MAX;

fn attention_case(batch: Batch, window: usize, spread: f64) -> Case {
    let mut stream = Stream::new(5, 1, batch.packing.positions() as u32);
    let inputs = batch.shapes().map(|s| Matrix::random(s, spread, &mut stream)).to_vec();
    let with = batch.clone();
    Case {
        name: format!("attention {batch:?} within {window}"),
        inputs,
        op: Box::new(move |x| {
            let (positions, device) = (batch.packing.positions(), x[0].device());
            let rope = Rope::new(positions, batch.shape.head_dim, THETA, Scaling::None, &device);
            let [q, k, v] = [0, 1, 2].map(|i| x[i].clone());
            attention(q, k, v, batch.shape, &batch.places(&device), &rope.within(window))
        }),
        reference: Box::new(move |x| with.reference(window, [&x[0], &x[1], &x[2]])),
    }
}

#[test]
fn rms_norm_matches_the_reference() {
    let mut stream = Stream::new(1, 1, 0);
    let devices = devices_and_subgroups();
    for [n, d] in
        [[1, 1], [3, 15], [5, 16], [2, 17], [129, 67], [70, 128], [1, 513], [5, 577], [3, 1030]]
    {
        let case = Case {
            name: format!("rms_norm [{n}, {d}]"),
            inputs: vec![
                Matrix::random([n, d], 3.0, &mut stream),
                Matrix::random([1, d], 1.0, &mut stream),
            ],
            op: Box::new(|x| {
                rms_norm::rms_norm(x[0].clone(), x[1].clone().squeeze_dim(0), EPS as f32)
            }),
            reference: Box::new(rms_norm_reference),
        };
        devices.iter().for_each(|(name, device)| case.check(name, device, 12));
    }
}

#[test]
fn glu_matches_the_reference() {
    let mut stream = Stream::new(2, 1, 0);
    let sizes = [([1, 1], 1.0), ([3, 17], 8.0), ([65, 321], 2.0), ([2, 16], 60.0)];
    let acts = [Activation::Silu, Activation::GeluTanh];
    for (act, ([n, f], spread)) in acts.into_iter().flat_map(|a| sizes.map(|size| (a, size))) {
        let case = Case {
            name: format!("{act:?} [{n}, {f}] × {spread}"),
            inputs: vec![
                Matrix::random([n, f], spread, &mut stream),
                Matrix::random([n, f], 1.0, &mut stream),
            ],
            op: Box::new(move |x| glu::glu(x[0].clone(), x[1].clone(), act)),
            reference: Box::new(move |x| glu_reference(act, x)),
        };
        devices().iter().for_each(|(name, device)| case.check(name, device, 12));
    }
}

#[test]
fn linear_matches_the_reference() {
    let mut stream = Stream::new(3, 1, 0);
    for (n, input, out) in [(1, 1, 1), (7, 13, 5), (33, 64, 17)] {
        let case = Case {
            name: format!("linear {n} × {input} → {out}"),
            inputs: vec![
                Matrix::random([n, input], 1.0, &mut stream),
                Matrix::random([out, input], 0.3, &mut stream),
            ],
            op: Box::new(|x| linear(x[0].clone(), x[1].clone())),
            reference: Box::new(linear_reference),
        };
        devices().iter().for_each(|(name, device)| case.check(name, device, 12));
    }
}

/// Prompts with what follows them: lengths around the vector blocks of 16, branches of one row and of none.
fn trees() -> Packing {
    let tree = |prompt, branches: &[usize]| Tree { prompt, branches: branches.to_vec() };
    Packing {
        trees: vec![
            tree(17, &[16, 1, 0, 5]),
            tree(4, &[]),
            tree(1, &[1]),
            tree(16, &[17, 18]),
            tree(3, &[40, 2, 2]),
        ],
    }
}

#[test]
fn what_follows_a_prompt_sees_it_and_itself() {
    for (window, [heads, kv_heads, head_dim]) in
        [(ALL, [4, 2, 10]), (ALL, [3, 1, 32]), (7, [2, 2, 6]), (18, [6, 3, 16])]
    {
        let shape = AttentionShape { heads, kv_heads, head_dim };
        let case = attention_case(Batch { packing: trees(), shape }, window, 1.0);
        devices().iter().for_each(|(name, device)| case.check(name, device, 8));
    }
}

#[test]
fn attention_matches_the_reference() {
    for (b, t, h, kv, dh) in SHAPES {
        let case = attention_case(Batch::apart(b, t, [h, kv, dh]), ALL, 1.0);
        devices().iter().for_each(|(name, device)| case.check(name, device, 8));
    }
    // Peaky: scores far apart, so that a wrong maximum or mask shows.
    let peaky = attention_case(Batch::apart(2, 19, [4, 2, 8]), ALL, 4.0);
    devices().iter().for_each(|(name, device)| peaky.check(name, device, 8));
}

/// Windows that end inside, at and after blocks of 16 positions, also with Gemma's width of a head.
#[test]
fn attention_within_a_window_matches_the_reference() {
    for (window, (b, t, h, kv, dh), spread) in [
        (1, (2, 5, 4, 2, 10), 1.0),
        (5, (2, 19, 4, 2, 8), 4.0),
        (16, (1, 37, 6, 2, 34), 1.0),
        (17, (1, 40, 2, 1, 16), 4.0),
        (20, (1, 20, 2, 1, 16), 1.0),
        (9, (1, 21, 2, 1, 256), 1.0),
    ] {
        let case = attention_case(Batch::apart(b, t, [h, kv, dh]), window, spread);
        devices().iter().for_each(|(name, device)| case.check(name, device, 8));
    }
}

/// Every element of every gradient against burn's own autodiff of burn's own operations.
#[test]
fn fused_gradients_match_burns_own() {
    let device = Device::flex().autodiff();
    let mut stream = Stream::new(4, 1, 0);
    let tree = |prompt, branches: &[usize]| Tree { prompt, branches: branches.to_vec() };
    let trees = vec![tree(23, &[]), tree(18, &[5, 1, 0, 17]), tree(1, &[2, 30])];
    let shape = AttentionShape { heads: 6, kv_heads: 3, head_dim: 20 };
    let batch = Batch { packing: Packing { trees }, shape };
    let places = batch.places(&device);
    let hosts = batch.shapes().map(|s| Matrix::random(s, 1.5, &mut stream));
    let upstream = Matrix::random(batch.q_shape(), 1.0, &mut stream).on(&device);
    let rope = Rope::new(64, shape.head_dim, THETA, Scaling::None, &device).within(18);
    let weight = Matrix::random([1, shape.head_dim * shape.heads], 1.0, &mut stream);
    let run = |fused: bool| {
        let x = hosts.each_ref().map(|x| x.on(&device).require_grad());
        let w = weight.on(&device).squeeze_dim::<1>(0).require_grad();
        let [q, k, v] = x.clone();
        let mixed = if fused {
            let mixed = attention(q.clone(), k, v, shape, &places, &rope);
            glu::glu(rms_norm::rms_norm(mixed, w.clone(), 1e-5), q, Activation::GeluTanh)
        } else {
            let mixed = attention::stock(q.clone(), k, v, shape, &places, &rope);
            glu::stock(rms_norm::stock(mixed, w.clone(), 1e-5), q, Activation::GeluTanh)
        };
        let grads = (mixed * upstream.clone()).sum().backward();
        let of = |t: TensorData| t.try_into_vec::<f32>().expect("f32");
        let mut all = x.map(|x| of(x.grad(&grads).expect("a gradient").to_data())).concat();
        all.extend(of(w.grad(&grads).expect("a gradient").to_data()));
        all
    };
    let (fused, stock) = (run(true), run(false));
    for (i, (a, b)) in fused.iter().zip(&stock).enumerate() {
        assert!((a - b).abs() <= 1e-4 * b.abs().max(1.0), "[{i}]: fused {a}, stock {b}");
    }
}

/// Inputs that need no gradient, or stand outside autodiff, mix with those that do.
#[test]
fn constants_and_tracked_inputs_mix() {
    let (plain, device) = (Device::flex(), Device::flex().autodiff());
    let mut stream = Stream::new(6, 1, 0);
    let (x, w) =
        (Matrix::random([4, 8], 1.0, &mut stream), Matrix::random([3, 8], 1.0, &mut stream));
    let tracked = w.on(&device).require_grad();
    let grads = linear(x.on(&plain), tracked.clone()).sum().backward();
    let sums: Vec<f64> = (0..8).map(|c| (0..4).map(|r| x.row(r)[c]).sum()).collect();
    let expected = Matrix { shape: [3, 8], values: [(); 3].map(|()| sums.clone()).concat() };
    assert_close("∂/∂w", &tracked.grad(&grads).expect("a gradient"), &expected, BACKWARD);
    let untracked = linear(x.on(&device), w.on(&device));
    assert_close("untracked", &untracked, &linear_reference(&[x, w]), FORWARD);
}

/// A tree's prompt and branches.
fn tree(prompt: usize, branches: &[usize]) -> Tree {
    Tree { prompt, branches: branches.to_vec() }
}

/// Queries, keys and values of trees, with what attention makes of them, from which caches begin.
struct Decoded<'a> {
    batch: Batch,
    qkv: [Matrix; 3],
    rope: Rope,
    device: &'a Device,
}

impl Decoded<'_> {
    /// The given rows of `x`.
    fn rows(&self, x: &Matrix, rows: &[usize]) -> Tensor<2> {
        let values = rows.iter().flat_map(|&row| x.row(row).to_vec()).collect();
        Matrix { shape: [rows.len(), x.shape[1]], values }.on(self.device)
    }

    /// A cache after a pass over the beginnings of the trees: of each its prompt or nothing, and some rows of each branch.
    fn begun(&self, trees: &[Tree], room: usize, dtype: CacheDtype) -> KvCache {
        let mut rows = Vec::new();
        for ((start, whole), begun) in self.batch.packing.placed().zip(trees) {
            rows.extend(start..start + begun.prompt);
            let mut at = start + whole.prompt;
            for (whole, begun) in whole.branches.iter().zip(&begun.branches) {
                rows.extend(at..at + begun);
                at += whole;
            }
        }
        let [_, k, v] = self.qkv.each_ref().map(|x| self.rows(x, &rows));
        let places = Places::new(Packing { trees: trees.to_vec() }, self.device);
        KvCache::new([k, v], self.batch.shape.head_dim, &places, room, dtype, &self.rope)
    }

    /// Where the next positions of some branches are among the batch's rows.
    fn next(&self, branches: &[usize], lengths: &[u32]) -> Vec<usize> {
        let segments = self.batch.packing.segments().filter(|branch| !branch.past.is_empty());
        let segments: Vec<_> = segments.collect();
        let next = |(&branch, &n): (&usize, &u32)| {
            let branch = &segments[branch];
            branch.rows.start + n as usize - branch.past.len()
        };
        branches.iter().zip(lengths).map(next).collect()
    }
}

/// Branches decoded step by step, which begin with their prompt or after it, with rows dropped on the way: every output is the
/// full attention's at that position. The first row's outputs, which may be decoded `alone`.
fn decode_as_full_attention(
    device: &Device,
    window: usize,
    tolerance: f64,
    alone: bool,
) -> Vec<f32> {
    const ROOM: usize = 17;
    let shape = AttentionShape { heads: 4, kv_heads: 2, head_dim: 10 };
    let trees = [5, 1, 7].map(|prompt| tree(prompt, &[ROOM; 2])).to_vec();
    let batch = Batch { packing: Packing { trees }, shape };
    let mut stream = Stream::new(8, 1, 0);
    let qkv = batch.shapes().map(|s| Matrix::random(s, 1.0, &mut stream));
    let expected = batch.reference(window, qkv.each_ref());
    let rope = Rope::new(32, shape.head_dim, THETA, Scaling::None, device).within(window);
    let of = Decoded { batch, qkv, rope, device };
    let begun = |trees: &[Tree]| of.begun(trees, ROOM, CacheDtype::F32);
    let (mut cache, mut alive) = if alone {
        (begun(&[tree(5, &[0])]), vec![0])
    } else {
        // In two parts, which are joined as refilled slots are, after a row of the first was dropped.
        let first = begun(&[tree(5, &[0, 0])]).keep(&[0]).settled();
        let cache = first.join(begun(&[tree(0, &[]), tree(1, &[0, 2]), tree(7, &[1, 0])]));
        assert_eq!(cache.lengths(), [5, 1, 3, 8, 7]);
        (cache, vec![0, 2, 3, 4, 5])
    };
    let mut first_row = Vec::new();
    for step in 0..14 {
        let at = of.next(&alive, cache.lengths());
        let [q, k, v] = of.qkv.each_ref().map(|x| of.rows(x, &at));
        let out = decode_attention(q, k, v, &mut cache, &of.rope);
        let what = format!("step {step} of rows {alive:?}");
        let wanted = at.iter().flat_map(|&row| expected.row(row).to_vec()).collect();
        let wanted = Matrix { shape: [at.len(), expected.shape[1]], values: wanted };
        assert_close(&what, &out, &wanted, tolerance);
        let out: Vec<f32> = out.to_data().try_into_vec().expect("f32");
        first_row.extend(&out[..expected.shape[1]]);
        let kept: &[usize] = if step == 3 { &[0, 2, 3] } else { &[0, 2] };
        if !alone && (step == 3 || step == 8) {
            alive = kept.iter().map(|&row| alive[row]).collect();
            cache = cache.keep(kept);
        }
        if !alone && step == 8 {
            // Whose slots lie before and between what is kept.
            cache = begun(&[tree(5, &[0, 7])]).keep(&[1]).join(cache).keep(&[1, 2]).settled();
        }
    }
    first_row
}

#[test]
fn decoding_is_full_attention() {
    for (_, device) in devices() {
        for window in [ALL, 3, 8] {
            decode_as_full_attention(&device, window, FORWARD, false);
        }
    }
}

/// The shaders' sizes: groups of any number, heads read by two and by four, prompts and what comes after them of several
/// turns and blocks, windows over both. A row's bits depend neither on its neighbours nor on the cache's room, and a
/// copied cache keeps its past.
#[test]
fn decoding_over_long_pasts() {
    let begun = [tree(150, &[450, 107]), tree(1, &[0]), tree(255, &[1]), tree(520, &[0, 3])];
    const STEPS: usize = 2;
    let longer = |tree: &Tree| {
        let branches = tree.branches.iter().map(|rows| rows + STEPS);
        Tree { branches: branches.collect(), ..tree.clone() }
    };
    for (heads, kv_heads, head_dim, window) in [
        (14, 2, 64, ALL),
        (9, 3, 64, 300),
        (4, 1, 256, ALL),
        (16, 2, 128, 256),
        (6, 6, 10, ALL),
        (11, 1, 6, 40),
        (1, 1, 514, ALL), // too wide for the shader
    ] {
        let shape = AttentionShape { heads, kv_heads, head_dim };
        let batch = Batch { packing: Packing { trees: begun.iter().map(longer).collect() }, shape };
        let mut stream = Stream::new(12, 1, 0);
        let qkv = batch.shapes().map(|s| Matrix::random(s, 1.0, &mut stream));
        for (backend, device) in devices() {
            let rope = Rope::new(610, head_dim, THETA, Scaling::None, &device).within(window);
            let (batch, qkv) = (batch.clone(), qkv.clone());
            let of = Decoded { batch, qkv, rope, device: &device };
            type Form = fn(Tensor<2>, Tensor<2>, Tensor<2>, &mut KvCache, &Rope) -> Tensor<2>;
            let step = |form: Form, cache: &mut KvCache, branches: &[usize]| {
                let at = of.next(branches, cache.lengths());
                let [q, k, v] = of.qkv.each_ref().map(|x| of.rows(x, &at));
                floats(Tensor::<2>::full([at.len(), heads * head_dim], f32::NAN, &device));
                (floats(form(q, k, v, cache, &of.rope)), at)
            };
            let all = [0, 1, 2, 3, 4, 5];
            // Keys and values in half precision have 11 bits; burn's operations take none.
            for (form, dtype, tolerance) in [
                (decode_attention as Form, CacheDtype::F32, FORWARD),
                (decode_stock, CacheDtype::F32, FORWARD),
                (decode_attention, CacheDtype::F16, 3e-3),
            ] {
                let has_no_halves = head_dim % 8 != 0 || head_dim > 512;
                if dtype == CacheDtype::F16 && backend == "vulkan" && has_no_halves {
                    continue;
                }
                let mut cache = of.begun(&begun, 460, dtype);
                // With room for less than a block of the past, and for more.
                let mut alone = of.begun(&[tree(150, &[0, 107])], 110, dtype).keep(&[1]);
                for _ in 0..STEPS {
                    let what =
                        format!("{heads}/{kv_heads} heads of {head_dim}, {dtype:?}, {backend}");
                    let mut copy = cache.clone();
                    let (got, at) = step(form, &mut cache, &all);
                    let rows = at
                        .iter()
                        .flat_map(|&row| of.batch.rows(window, of.qkv.each_ref(), row..row + 1));
                    compare(&what, &got, &rows.collect::<Vec<f64>>(), tolerance).unwrap();
                    assert_eq!(step(form, &mut copy, &all).0, got, "{what}: of a copy");
                    let (of_one, _) = step(form, &mut alone, &[1]);
                    if form as usize == decode_attention as Form as usize && head_dim < 512 {
                        let width = heads * head_dim;
                        assert_eq!(of_one, got[width..2 * width], "{what}: a row alone");
                    }
                }
            }
        }
    }
}

/// What goes back in its past, into the prompt or not, and on from there, is what never went further.
#[test]
fn a_past_gone_back_to_is_as_if_it_had_ended_there() {
    let shape = AttentionShape { heads: 4, kv_heads: 2, head_dim: 16 };
    let batch = Batch { packing: Packing { trees: vec![tree(9, &[12])] }, shape };
    let mut stream = Stream::new(14, 1, 0);
    let qkv = batch.shapes().map(|s| Matrix::random(s, 1.0, &mut stream));
    for ((_, device), dtype) in
        devices().iter().flat_map(|d| [(d, CacheDtype::F32), (d, CacheDtype::F16)])
    {
        let rope = Rope::new(32, shape.head_dim, THETA, Scaling::None, device);
        let of = Decoded { batch: batch.clone(), qkv: qkv.clone(), rope, device };
        let begun = || of.begun(&[tree(9, &[4])], 5, dtype);
        // Positions that stay, and those that there must be room for.
        for (stays, positions) in [(11, 12), (11, 20), (9, 12), (4, 6), (4, 20)] {
            let rows: Vec<usize> = (stays..positions.min(21)).collect();
            let mut back = begun().back_to(stays as u32, positions);
            let mut anew = of.begun(&[tree(stays.min(9), &[stays.max(9) - 9])], 21, dtype);
            for &row in &rows {
                let [got, want] = [&mut back, &mut anew].map(|cache| {
                    let [q, k, v] = of.qkv.each_ref().map(|x| of.rows(x, &[row]));
                    floats(decode_attention(q, k, v, cache, &of.rope))
                });
                assert_eq!(got, want, "position {row} after {stays}, {dtype:?}");
            }
        }
    }
}

/// A row's numbers are the same bits alone as among others.
#[test]
fn decoding_does_not_depend_on_the_batch() {
    let [alone, among_others] =
        [true, false].map(|alone| decode_as_full_attention(&Device::flex(), ALL, FORWARD, alone));
    assert_eq!(alone, among_others);
}

/// The same for training's attention: a sequence's output and gradients.
#[test]
fn attention_does_not_depend_on_the_batch() {
    let device = Device::flex().autodiff();
    let run = |batch: usize| {
        let batch = Batch::apart(batch, 13, [4, 2, 8]);
        let mut streams = [0, 1, 2, 3].map(|i| Stream::new(9, 1, i));
        let [of_q, of_k, of_v] = batch.shapes();
        let sizes = [of_q, of_k, of_v, of_q];
        let mut next = 0;
        let [q, k, v, upstream] = sizes.map(|s| {
            next += 1;
            Matrix::random(s, 1.0, &mut streams[next - 1]).on(&device)
        });
        let [q, k, v] = [q, k, v].map(|x| x.require_grad());
        let rope = Rope::new(13, 8, THETA, Scaling::None, &device);
        let out =
            attention(q.clone(), k.clone(), v.clone(), batch.shape, &batch.places(&device), &rope);
        let grads = (out.clone() * upstream).sum().backward();
        let grads = [q, k, v].map(|x| x.grad(&grads).expect("a gradient"));
        let first = |x: Tensor<2>| -> Vec<f32> {
            x.narrow(0, 0, 13).into_data().try_into_vec().expect("f32")
        };
        let [dq, dk, dv] = grads.map(first);
        [first(out.inner()), dq, dk, dv]
    };
    assert_eq!(run(1), run(7));
}
