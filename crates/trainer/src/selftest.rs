//! The self-test before training: each kernel on the chosen device against its f64 reference, and cached
//! against uncached decoding, so that a miscompiled shader is found before it trains anything.

use crate::config::CacheDtype;
use crate::device::{Listener, Selected};
use crate::error::{Error, Result};
use crate::model::{Activation, Decoding, Llama, Local, ModelConfig, Parameter, Scaling};
use crate::objective::reference::objective as objective_reference;
use crate::ops::adamw::{State, Step, Update, adamw, reference as adamw_reference, squared_norm};
use crate::ops::adapter::{Units, units_of};
use crate::ops::attention::reference::Setting;
use crate::ops::attention::{
    AttentionShape, KvCache, Packing, Places, Rope, Tree, attention, decode_attention,
};
use crate::ops::cube;
use crate::ops::lm_head::{Head, logits_bytes};
use crate::ops::matmul::{Tile, Way, matmul_nt, matmul_nt_by, reference as matmul_reference};
use crate::ops::objective::{COLUMNS, Row, Switches, objective};
use crate::ops::readback::floats as read;
use crate::ops::sampling::{Draw, Draws, Sampling, reference as sampling_reference, sample};
use crate::ops::step::Joined;
use crate::ops::stored::{BlockType, StoredMatrix, reference as stored_reference};
use crate::ops::token_stats as stats_op;
use crate::ops::token_stats::{reference as stats_reference, token_stats};
use crate::ops::weight::Weight;
use crate::random::{Stream, purpose, token_uniform};
use crate::records::TermCoefficients;
use burn::tensor::{Device, Int, Tensor, TensorData};
use std::fmt;
use std::sync::Arc;

/// Largest error of a forward pass, relative to max(1, |expected|).
const FORWARD: f64 = 6e-5;
/// Largest error of a gradient or of a model's whole forward pass, relative to max(1, |expected|).
const BACKWARD: f64 = 1e-4;

/// The check of what `run.precision` switches on.
const MATRIX_UNITS: &str = "matrix units";

/// What the self-test found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Checks that passed.
    pub passed: Vec<&'static str>,
    /// The worst mismatch of each check that failed.
    pub failures: Vec<String>,
}

impl Report {
    /// An error that names every mismatch, if there is one.
    pub fn require_passed(&self, adapter: &str) -> Result<()> {
        if self.failures.is_empty() {
            return Ok(());
        }
        let only_units = self.failures.iter().all(|failure| failure.starts_with(MATRIX_UNITS));
        Err(Error::numbers(self.failures.join("; ")).at(format!("self-test on {adapter}")).next(
            match only_units {
                true => "training with them would be wrong: leave run.precision at f32",
                false => "training on it would be wrong: update the driver, or use --device cpu",
            },
        ))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.failures.as_slice() {
            [] => write!(f, "{} passed", self.passed.len()),
            failures => write!(f, "FAILED: {}", failures.join("; ")),
        }
    }
}

/// Runs every check on an opened device, and refuses the device if one fails. Program, page and wheel call
/// this or [`require_whole`] before anything else.
pub async fn require(selected: &Selected) -> Result<Report> {
    let driver = selected.listener();
    let report = run(&selected.device).await?;
    passed(report, selected, &driver)
}

fn passed(report: Report, selected: &Selected, driver: &Listener) -> Result<Report> {
    // A driver skips a shader that it refuses: the numbers are wrong, and the driver's complaint says why.
    report.require_passed(&selected.name).map_err(|e| match driver.require_silence() {
        Ok(()) => e,
        Err(driver) => Error { what: format!("{}; {}", e.what, driver.what), ..e },
    })?;
    Ok(report)
}

/// Runs every check on a device.
pub async fn run(device: &Device) -> Result<Report> {
    run_tampered(device, |_, _| {}).await
}

/// Like [`run`], but `tamper` may spoil a check's results: so a test proves that the checks can fail.
pub async fn run_tampered(
    device: &Device,
    tamper: impl FnMut(&str, &mut Vec<f32>),
) -> Result<Report> {
    let mut checks = kernels(device, tamper).await?;
    checks.many_rows().await?;
    checks.attention().await?;
    checks.stored_weights().await?;
    if cube::runs_on(&checks.device) {
        checks.few_rows().await?;
        checks.few_stored_rows().await?;
    }
    if let Some(units) = units_of(&checks.device) {
        checks.matrix_units(units).await?;
    }
    Ok(checks.report)
}

/// Checks the kernels that every model needs.
async fn kernels<F: FnMut(&str, &mut Vec<f32>)>(device: &Device, tamper: F) -> Result<Checks<F>> {
    let device = device.clone().inner();
    let mut checks = Checks { device, tamper, report: Report::default() };
    checks.matrix_products().await?;
    checks.token_statistics().await?;
    checks.fused_head().await?;
    checks.objective().await?;
    checks.sampling().await?;
    if cube::runs_on(&checks.device) {
        checks.attention_of_many().await?;
        checks.adamw().await?;
    }
    checks.decoding().await?;
    Ok(checks)
}

/// Like [`require`], without the checks of weights that are not in f32: for a page, whose models are all in f32.
pub async fn require_whole(selected: &Selected) -> Result<Report> {
    let driver = selected.listener();
    let report = kernels(&selected.device, |_, _| {}).await?.report;
    passed(report, selected, &driver)
}

struct Checks<F> {
    device: Device,
    tamper: F,
    report: Report,
}

/// Numbers mostly small, now and then ±10, since a flat distribution would hide errors.
fn peaky(count: usize, index: u32) -> Vec<f32> {
    let mut stream = Stream::new(0, purpose::SELF_TEST, index);
    (0..count).map(|_| stream.normal() * if stream.chance(0.1) { 10.0 } else { 1.0 }).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

impl<F: FnMut(&str, &mut Vec<f32>)> Checks<F> {
    fn floats<const D: usize>(&self, values: &[f32], shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &self.device)
    }

    fn ints(&self, values: &[i32]) -> Tensor<1, Int> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &self.device)
    }

    /// Leaves NaN in the memory that the next outputs are likely to get, so that a kernel that wrote nothing
    /// can be told from one that wrote 0.
    async fn poison(&self, elements: &[usize]) -> Result<()> {
        for &count in elements {
            let poisoned = Tensor::<1>::full([count], f32::NAN, &self.device);
            read(poisoned).await?;
        }
        Ok(())
    }

    fn compare(&mut self, kernel: &'static str, mut got: Vec<f32>, expected: &[f64], bound: f64) {
        (self.tamper)(kernel, &mut got);
        if got.len() != expected.len() {
            let (got, expected) = (got.len(), expected.len());
            self.report.failures.push(format!("{kernel}: {got} values, expected {expected}"));
            return;
        }
        // A NaN compares false with everything, so it is made the worst error.
        let error = |(g, e): (&f32, &f64)| {
            let error = (f64::from(*g) - e).abs() / e.abs().max(1.0);
            if error.is_nan() { f64::INFINITY } else { error }
        };
        let errors = got.iter().zip(expected).map(error).enumerate();
        match errors.max_by(|a, b| a.1.total_cmp(&b.1)) {
            Some((index, error)) if error > bound => self.report.failures.push(format!(
                "{kernel}: worst at index {index}: expected {}, got {} (allowed: {bound:e} relative)",
                expected[index], got[index]
            )),
            _ => self.report.passed.push(kernel),
        }
    }

    /// More than one tile in each direction, and long enough for the sum to be split.
    async fn matrix_products(&mut self) -> Result<()> {
        let (m, n, k) = (70, 33, 600);
        let (a, b) = (peaky(m * k, 8), peaky(n * k, 9));
        let b: Vec<f32> = b.iter().map(|x| 0.1 * x).collect();
        self.poison(&[m * n, 2 * m * n]).await?;
        let product = matmul_nt(self.floats(&a, [m, k]), self.floats(&b, [n, k]));
        let expected = matmul_reference::matmul_nt(&wide(&a), &wide(&b), k);
        self.compare("matmul_nt", read(product).await?, &expected, FORWARD);
        Ok(())
    }

    /// A decoding step's products: each size of its tile, and a sum in parts that are not whole.
    async fn few_rows(&mut self) -> Result<()> {
        let (n, k) = (33, 604);
        let b: Vec<f32> = peaky(n * k, 11).iter().map(|x| 0.1 * x).collect();
        let (mut got, mut expected) = (Vec::new(), Vec::new());
        for m in [2, 9, 70] {
            let a = peaky(m * k, 10);
            self.poison(&[m * n, 4 * m * n]).await?;
            got.extend(self.few(&a, self.floats(&b, [n, k]).into()).await?);
            expected.extend(matmul_reference::matmul_nt(&wide(&a), &wide(&b), k));
        }
        self.compare("matmul_few", got, &expected, FORWARD);
        Ok(())
    }

    /// x·Wᵀ as a decoding step has it.
    async fn few(&self, x: &[f32], weight: Weight) -> Result<Vec<f32>> {
        let k = weight.dims()[1];
        let x = self.floats(x, [x.len() / k, k]);
        read(Joined::new(&[weight.into()]).expect("whole vectors").product(x).sum()).await
    }

    /// A batch's products: both tiles, several of each, the matrices as forward and backward pass have them, and a
    /// sum in parts.
    async fn many_rows(&mut self) -> Result<()> {
        let (m, n, k) = (132, 68, 600);
        let a = peaky(m * k, 13);
        let b: Vec<f32> = peaky(n * k, 14).iter().map(|x| 0.1 * x).collect();
        let product = matmul_reference::matmul_nt(&wide(&a), &wide(&b), k);
        let (mut got, mut expected) = (Vec::new(), Vec::new());
        for tile in [Tile::Large, Tile::Small] {
            for [a_by_k, b_by_k] in [[false, false], [false, true], [true, true]] {
                let (a, b) = (self.lying(&a, k, a_by_k), self.lying(&b, k, b_by_k));
                self.poison(&[m * n, 2 * m * n]).await?;
                got.extend(read(matmul_nt_by(a, b, Way::Tiles(tile))).await?);
                expected.extend(&product);
            }
        }
        self.compare("matmul_many", got, &expected, FORWARD);
        Ok(())
    }

    /// Large products: broken tiles, a sum in parts, the matrices as forward and backward pass have them, lines of sizes
    /// that f16 doesn't hold.
    async fn matrix_units(&mut self, units: Units) -> Result<()> {
        let (m, n, k) = (132, 140, 600);
        let size = |line: usize| [1.0, f32::powi(2.0, -60), f32::powi(2.0, 30)][line % 3];
        let a: Vec<f32> =
            peaky(m * k, 15).iter().enumerate().map(|(i, x)| x * size(i / k)).collect();
        let b: Vec<f32> = peaky(n * k, 16).iter().map(|x| 0.004 * x).collect(); // sums of the size of 1
        let to_ones = |i: usize| 1.0 / size(i / n);
        let product = matmul_reference::matmul_nt(&wide(&a), &wide(&b), k).into_iter();
        let product = product.enumerate().map(|(i, x)| x * f64::from(to_ones(i)));
        let product: Vec<f64> = product.collect();
        let (mut got, mut expected) = (Vec::new(), Vec::new());
        for [a_by_k, b_by_k] in [[false, false], [false, true], [true, true]] {
            let (a, b) = (self.lying(&a, k, a_by_k), self.lying(&b, k, b_by_k));
            self.poison(&[m * n, 2 * m * n]).await?;
            let out = read(matmul_nt_by(a, b, Way::Units(units))).await?;
            got.extend(out.into_iter().enumerate().map(|(i, x)| x * to_ones(i)));
            expected.extend(&product);
        }
        let bound = if units.split { FORWARD } else { 4e-3 };
        self.compare(MATRIX_UNITS, got, &expected, bound);
        Ok(())
    }

    /// [lines, k], or the same as a view of [k, lines].
    fn lying(&self, x: &[f32], k: usize, by_k: bool) -> Tensor<2> {
        let turned = || (0..k).flat_map(|j| x.iter().skip(j).step_by(k).copied());
        match by_k {
            true => self.floats(&turned().collect::<Vec<_>>(), [k, x.len() / k]).transpose(),
            false => self.floats(x, [x.len() / k, k]),
        }
    }

    async fn token_statistics(&mut self) -> Result<()> {
        const V: usize = 513;
        let rows = 5;
        let values = peaky(rows * V, 0);
        let targets = [0, 512, 256, -1, 17];
        let upstream = peaky(rows * 2, 1);
        self.poison(&[rows * stats_op::RECORD, rows * 2, rows * V]).await?;
        let logits = self.floats(&values, [rows, V]).autodiff().require_grad();
        let stats = token_stats(logits.clone(), self.ints(&targets));
        let forward: Vec<f64> = stats_reference::forward(&wide(&values), &targets, V).concat();
        self.compare("token_stats", read(stats.clone()).await?, &forward, FORWARD);
        let loss = (stats * self.floats(&upstream, [rows, 2]).autodiff()).sum();
        let gradient = logits.grad(&loss.backward());
        let gradient = gradient.ok_or_else(|| Error::numbers("token_stats has no gradient"))?;
        let expected = stats_reference::backward(&wide(&values), &targets, V, &wide(&upstream));
        self.compare("token_stats_backward", read(gradient).await?, &expected, BACKWARD);
        Ok(())
    }

    /// The gradient of Σ_n a_n ln p_n + b_n H_n with given a and b, through a head in two blocks.
    async fn fused_head(&mut self) -> Result<()> {
        let (n, d, v) = (7, 16, 300);
        let (hidden, head) = (peaky(n * d, 2), peaky(v * d, 3));
        let head: Vec<f32> = head.iter().map(|w| 0.2 * w).collect();
        let targets: Vec<i32> = (0..n as i32).map(|i| (i * 47) % v as i32).collect();
        let upstream = peaky(n * 2, 4);
        let split = 128;
        let blocks = [
            self.floats(&head[..split * d], [split, d]),
            self.floats(&head[split * d..], [v - split, d]),
        ];
        self.poison(&[n * d, v * d, n * v]).await?;
        let given = self.floats(&upstream, [n, 2]);
        let fused = Head::new(blocks.map(Weight::from).to_vec(), logits_bytes(true));
        let mut d_head = fused.no_gradient();
        let (hidden_states, targets_of) = (self.floats(&hidden, [n, d]), self.ints(&targets));
        let d_hidden = [0..3, 3..n].map(|range| {
            let chunk = fused.forward(
                hidden_states.clone().slice(range.clone()),
                targets_of.clone().slice(range.clone()),
            );
            fused.backward(chunk, given.clone().slice(range), &mut d_head)
        });
        let d_hidden = Tensor::cat(d_hidden.to_vec(), 0);
        let d_head: Vec<_> = d_head.into_iter().flatten().collect();
        let mut logits = vec![0.0; n * v];
        for (i, logit) in logits.iter_mut().enumerate() {
            let (h, w) = (&hidden[i / v * d..][..d], &head[i % v * d..][..d]);
            *logit = h.iter().zip(w).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        }
        let d_logits = stats_reference::backward(&logits, &targets, v, &wide(&upstream));
        let (mut by_hidden, mut by_head) = (vec![0.0; n * d], vec![0.0; v * d]);
        for (i, g) in d_logits.iter().enumerate() {
            for k in 0..d {
                by_hidden[i / v * d + k] += g * f64::from(head[i % v * d + k]);
                by_head[i % v * d + k] += g * f64::from(hidden[i / v * d + k]);
            }
        }
        self.compare("lm_head, by hidden", read(d_hidden).await?, &by_hidden, BACKWARD);
        let d_head = read(Tensor::cat(d_head, 0)).await?;
        self.compare("lm_head, by head", d_head, &by_head, BACKWARD);
        Ok(())
    }

    async fn objective(&mut self) -> Result<()> {
        let lengths = [1u32, 40, 300];
        let n: u32 = lengths.iter().sum();
        let mut stream = Stream::new(0, purpose::SELF_TEST, 5);
        let stats: Vec<[f32; 2]> =
            (0..n).map(|_| [-3.0 * stream.normal().abs(), stream.normal().abs()]).collect();
        let mut near = |logp: f32| logp + 0.3 * stream.normal();
        let given: Vec<[f32; 3]> = stats.iter().map(|s| [near(s[0]), near(s[0]), 0.5]).collect();
        let mut start = 0;
        let rows = lengths.map(|len| {
            let demonstration = len == 40;
            let terms = TermCoefficients {
                sft: if demonstration { 0.01 } else { 0.0 },
                rl_demo: if demonstration { -0.02 } else { 0.0 },
                self_logp: if len == 1 { 0.03 } else { 0.0 },
                self_ratio: if len == 300 { -0.01 } else { 0.0 },
                self_positive: len == 300,
                entropy: -1e-3,
                kl: if demonstration { 0.02 } else { 0.0 },
            };
            start += len;
            Row { start: start - len, len, demonstration, terms }
        });
        let switches = Switches::default();
        self.poison(&[2 * n as usize, COLUMNS * rows.len()]).await?;
        let got = objective(
            self.floats(&stats.concat(), [n as usize, 2]),
            self.floats(&given.concat(), [n as usize, 3]),
            &rows,
            &switches,
        );
        let exact_given: Vec<[f64; 3]> = given.iter().map(|g| g.map(f64::from)).collect();
        let exact: Vec<[f64; 2]> = stats.iter().map(|s| s.map(f64::from)).collect();
        let expected = objective_reference(&exact, &exact_given, &rows, &switches);
        let coefficients = expected.coefficients.concat();
        self.compare("objective", read(got.coefficients).await?, &coefficients, FORWARD);
        self.compare("objective, sums", read(got.sums).await?, &expected.sums.concat(), FORWARD);
        Ok(())
    }

    async fn sampling(&mut self) -> Result<()> {
        const V: usize = 700;
        let rows = 6u32;
        let values = peaky(rows as usize * V, 6);
        let draws: Vec<Draw> =
            (0..rows).map(|i| Draw { prompt: i, sample: 2 * i, position: 3 * i }).collect();
        let settings = Sampling {
            temperature: 0.7,
            top_k: 50,
            top_p: 0.9,
            min_p: 0.02,
            policy_temperature: 0.7,
        };
        self.poison(&[rows as usize, 2 * rows as usize]).await?;
        let mut counters = Draws::new(draws.iter().copied(), &self.device);
        let logits = self.floats(&values, [rows as usize, V]);
        let sampled = sample(logits, &mut counters, 11, 12, settings);
        let tokens = read(sampled.tokens.float()).await?;
        let (mut expected_tokens, mut expected_stats) = (Vec::new(), Vec::new());
        for ((logits, draw), &token) in values.chunks_exact(V).zip(&draws).zip(&tokens) {
            let u = token_uniform(11, 12, draw.prompt, draw.sample, draw.position);
            let p = sampling_reference::distribution(logits, settings);
            let right = sampling_reference::draw(&p, f64::from(u));
            // A draw within 1e-5 of the border between two tokens may fall on either side in f32.
            let token = token as usize;
            let below: f64 = p.iter().take(token).sum();
            let fits = p.get(token).is_some_and(|q| {
                *q > 0.0 && f64::from(u) > below - 1e-5 && f64::from(u) < below + q + 1e-5
            });
            let accepted = if fits { token } else { right };
            expected_tokens.push(accepted as f64);
            expected_stats.push(sampling_reference::log_probabilities(logits, 0.7)[accepted]);
            expected_stats.push(sampling_reference::entropy(logits, 0.7));
        }
        self.compare("sampling, tokens", tokens, &expected_tokens, 0.0);
        self.compare("sampling", read(sampled.stats).await?, &expected_stats, FORWARD);
        Ok(())
    }

    /// AdamW's third update, and the norm of what it is given.
    async fn adamw(&mut self) -> Result<()> {
        let shape = [37, 41];
        let [weights, first, gradient] = [30, 31, 32].map(|i| peaky(37 * 41, i));
        let second: Vec<f32> = first.iter().map(|m| m * m).collect();
        let update = Update {
            scale: 0.5,
            betas: [0.9, 0.95],
            corrections: [1.0 - 0.9f64.powi(3), 1.0 - 0.95f64.powi(3)],
            epsilon: 1e-8,
            rate: 1e-2,
        };
        let [w, m, v, g] = [&weights, &first, &second, &gradient].map(|x| self.floats(x, shape));
        let norm = read(squared_norm(&[g.clone(), m.clone()])).await?;
        let state = State { weights: w, first: m, second: v };
        let states = adamw(vec![Step { state, gradient: g, decay: 0.999 }], &update);
        let [mut w, mut m, mut v, g] = [&weights, &first, &second, &gradient].map(|x| wide(x));
        let exact = adamw_reference::squared_norm(&[&g, &m]);
        self.compare("squares", norm, &[exact], FORWARD);
        adamw_reference::adamw([&mut w, &mut m, &mut v], &g, 0.999, &update);
        let all = states.into_iter().flat_map(|s| [s.weights, s.first, s.second]);
        let got = read(Tensor::cat(all.collect(), 0)).await?;
        self.compare("adamw", got, &[w, m, v].concat(), FORWARD);
        Ok(())
    }

    /// A batch's attention and its gradients: tiles whole and broken, and of the built-in model's width.
    async fn attention_of_many(&mut self) -> Result<()> {
        let (heads, kv_heads, head_dim) = (4, 2, 32);
        let shape = AttentionShape { heads, kv_heads, head_dim };
        let trees =
            [Tree { prompt: 41, branches: vec![3, 33] }, Tree { prompt: 5, branches: vec![] }];
        let packing = Packing { trees: trees.to_vec() };
        let width = [heads, kv_heads, kv_heads].map(|heads| heads * head_dim);
        let of = |i: usize, width| peaky(packing.rows() * width, 20 + i as u32);
        // Scores of hundreds would have errors of 1e-4 themselves.
        let qkv = [0, 1, 2].map(|i| of(i, width[i]).into_iter().map(|x| 0.4 * x).collect());
        let qkv: [Vec<f32>; 3] = qkv;
        let upstream = of(3, width[0]);
        self.poison(&[0, 0, 1, 1, 2].map(|i| packing.rows() * width[i])).await?;
        let tensor = |x: &[f32], width| self.floats(x, [packing.rows(), width]).autodiff();
        let inputs = [0, 1, 2].map(|i| tensor(&qkv[i], width[i]).require_grad());
        let rope = Rope::new(packing.positions(), head_dim, 1e4, Scaling::None, &self.device);
        let [q, k, v] = inputs.clone();
        let places = Places::new(packing.clone(), &self.device);
        let out = attention(q, k, v, shape, &places, &rope);
        let grads = (out.clone() * tensor(&upstream, width[0])).sum().backward();
        let setting = Setting { packing: &packing, head_dim, window: usize::MAX, theta: 1e4 };
        let exact = qkv.each_ref().map(|x| wide(x));
        let exact = exact.each_ref().map(|x| &x[..]);
        let wanted = setting.forward(exact);
        self.compare("attention_forward", read(out.inner()).await?, &wanted, FORWARD);
        let [by_q, by_k, by_v] = setting.backward(exact, &wide(&upstream));
        let mut got = Vec::new();
        for input in inputs {
            let gradient = input.grad(&grads);
            let gradient = gradient.ok_or_else(|| Error::numbers("attention has no gradient"))?;
            got.push(read(gradient).await?);
        }
        let by_kv = got.split_off(1).concat();
        self.compare("attention_dq", got.concat(), &by_q, BACKWARD);
        self.compare("attention_dkv", by_kv, &[by_k, by_v].concat(), BACKWARD);
        Ok(())
    }

    /// One new position a row, twice, over pasts of up to two turns of the shader, two of them after the same prompt.
    async fn attention(&mut self) -> Result<()> {
        const STEPS: usize = 2;
        let (heads, kv_heads, head_dim) = (6, 2, 16);
        let tree = |prompt: usize, branches: &[usize]| Tree { prompt, branches: branches.to_vec() };
        let packing = Packing { trees: vec![tree(200, &[102, 58]), tree(1, &[4])] };
        let setting = Setting { packing: &packing, head_dim, window: usize::MAX, theta: 1e4 };
        let width = [heads, kv_heads, kv_heads].map(|heads| heads * head_dim);
        let qkv = [0, 1, 2].map(|i| peaky(packing.rows() * width[i], 10 + i as u32));
        let pick = |i: usize, rows: &[usize]| {
            let row = |&row: &usize| &qkv[i][row * width[i]..][..width[i]];
            let picked: Vec<f32> = rows.iter().flat_map(row).copied().collect();
            self.floats(&picked, [rows.len(), width[i]])
        };
        let mut begun = packing.clone();
        let branches = begun.trees.iter_mut().flat_map(|tree| &mut tree.branches);
        branches.for_each(|rows| *rows -= STEPS);
        let news: Vec<usize> = packing
            .segments()
            .filter(|branch| !branch.past.is_empty())
            .map(|branch| branch.rows.end - STEPS)
            .collect();
        let is_new = |row: &usize| news.iter().any(|&new| (new..new + STEPS).contains(row));
        let old: Vec<usize> = (0..packing.rows()).filter(|row| !is_new(row)).collect();
        let rope = Rope::new(packing.positions(), head_dim, 1e4, Scaling::None, &self.device);
        let places = Places::new(begun, &self.device);
        let kv = [pick(1, &old), pick(2, &old)];
        let mut cache = KvCache::new(kv, head_dim, &places, 102, CacheDtype::F32, &rope);
        let exact = qkv.each_ref().map(|x| wide(x));
        let exact = exact.each_ref().map(|x| &x[..]);
        let (mut got, mut wanted) = (Vec::new(), Vec::new());
        for step in 0..STEPS {
            let at: Vec<usize> = news.iter().map(|new| new + step).collect();
            let [q, k, v] = [0, 1, 2].map(|i| pick(i, &at));
            self.poison(&[at.len() * width[0]]).await?;
            got.extend(read(decode_attention(q, k, v, &mut cache, &rope)).await?);
            wanted.extend(at.into_iter().flat_map(|row| setting.rows(exact, row..row + 1)));
        }
        self.compare("attention_decode", got, &wanted, FORWARD);
        Ok(())
    }

    /// Every exponent and sign of both 16-bit formats, in more than one workgroup; a block of each quantised
    /// type, whose bytes count up and whose scales are 1/16.
    async fn stored_weights(&mut self) -> Result<()> {
        for (kind, name) in [(BlockType::F16, "widen, f16"), (BlockType::Bf16, "widen, bf16")] {
            let is_normal = |bits: &u16| {
                kind.first_not_finite(&bits.to_le_bytes()).is_none() && bits & 0x7f80 != 0
            };
            let numbers = (0..u16::MAX).step_by(31).filter(is_normal);
            let mut bytes: Vec<u8> = numbers.flat_map(u16::to_le_bytes).collect();
            bytes.truncate(bytes.len() / 4 * 4);
            self.widened(name, kind, &bytes).await?;
        }
        for (kind, name) in [
            (BlockType::Q4_0, "widen, Q4_0"),
            (BlockType::Q4_1, "widen, Q4_1"),
            (BlockType::Q5_0, "widen, Q5_0"),
            (BlockType::Q5_1, "widen, Q5_1"),
            (BlockType::Q8_0, "widen, Q8_0"),
            (BlockType::Q4K, "widen, Q4_K"),
            (BlockType::Q5K, "widen, Q5_K"),
            (BlockType::Q6K, "widen, Q6_K"),
        ] {
            let mut bytes: Vec<u8> = (0..kind.bytes()).map(|i| (37 * i + 11) as u8).collect();
            kind.scales().iter().for_each(|&at| bytes[at..at + 2].copy_from_slice(&[0, 0x2c]));
            self.widened(name, kind, &bytes).await?;
        }
        Ok(())
    }

    /// A decoding step's product with two rows of every type of block, of numbers of the size of 1.
    async fn few_stored_rows(&mut self) -> Result<()> {
        let (mut got, mut expected) = (Vec::new(), Vec::new());
        for kind in [
            BlockType::F16,
            BlockType::Bf16,
            BlockType::Q4_0,
            BlockType::Q4_1,
            BlockType::Q5_0,
            BlockType::Q5_1,
            BlockType::Q8_0,
            BlockType::Q4K,
            BlockType::Q5K,
            BlockType::Q6K,
        ] {
            let k = kind.elements().max(8);
            let count = 2 * k / kind.elements() * kind.bytes();
            let mut bytes: Vec<u8> = (0..count).map(|i| (37 * i + 11) as u8).collect();
            for block in bytes.chunks_exact_mut(kind.bytes()) {
                for &at in kind.scales() {
                    block[at + 1] = match kind {
                        BlockType::F16 => block[at + 1] & 0x83 | 0x38,
                        BlockType::Bf16 => block[at + 1] & 0x80 | 0x3f,
                        _ => 0x2c,
                    };
                }
            }
            let x: Vec<f32> = peaky(3 * k, 12).iter().map(|x| 0.001 * x).collect();
            let matrix = StoredMatrix::new(&bytes, kind, 2, &self.device).expect("whole blocks");
            self.poison(&[3 * 2]).await?;
            got.extend(self.few(&x, Weight::Frozen(Arc::new(matrix))).await?);
            let matrix = stored_reference::widen(&bytes, kind);
            expected.extend(matmul_reference::matmul_nt(&wide(&x), &matrix, k));
        }
        self.compare("matmul_few, stored", got, &expected, FORWARD);
        Ok(())
    }

    async fn widened(&mut self, name: &'static str, kind: BlockType, bytes: &[u8]) -> Result<()> {
        let matrix = StoredMatrix::new(bytes, kind, 1, &self.device).expect("whole blocks");
        self.poison(&matrix.dims()).await?;
        let expected = stored_reference::widen(bytes, kind);
        self.compare(name, read(matrix.widen()).await?, &expected, 0.0);
        Ok(())
    }

    /// A small random model: its logits against the CPU backend's, and those of decoding token by token
    /// against those of one pass.
    async fn decoding(&mut self) -> Result<()> {
        let config = ModelConfig {
            vocab_size: 29,
            hidden_size: 24,
            intermediate_size: 40,
            layers: 2,
            heads: 4,
            kv_heads: 2,
            head_dim: 8,
            rms_norm_eps: 1e-5,
            rope_theta: 10_000.0,
            rope_scaling: Scaling::Linear { factor: 2.0 },
            local: Some(Local { window: 5, rope_theta: 100.0, layers: vec![true, false] }),
            query_factor: 1.0,
            max_positions: 16,
            tied: false,
            qkv_bias: true,
            output_bias: true,
            mlp_bias: false,
            qk_norm: true,
            norms_after: true,
            norm_offset: 0.0,
            activation: Activation::Silu,
            embedding_factor: 1.0,
            eos_tokens: vec![2],
        };
        let text: Vec<i32> = (0..18).map(|i| (i * 5 + 3) % 29).collect(); // [2, 9]
        let whole = |device: &Device| {
            let mut model = Llama::random(config.clone(), 0, device);
            for (index, p) in model.parameters_mut().into_iter().enumerate() {
                // Larger than a fresh model's weights, which would give almost flat logits.
                let count = p.block_shape[0] * p.block_shape[1];
                let values: Vec<f32> =
                    peaky(count, 100 + index as u32).iter().map(|v| 0.2 * v).collect();
                *p.tensor = Tensor::from_data(TensorData::new(values, p.block_shape), device);
            }
            let tokens = Tensor::from_data(TensorData::new(text.clone(), [18]), device);
            let logits =
                model.logits(model.hidden(tokens, &Places::new(Packing::apart([9, 9]), device)));
            (model, logits)
        };
        let (exact, expected) = whole(&Device::flex());
        let expected = wide(&read(expected).await?);
        self.poison(&[18 * 29, 18 * 24, 18 * 40]).await?;
        let (model, logits) = whole(&self.device);
        self.compare("model", read(logits).await?, &expected, BACKWARD);
        if cube::runs_on(&self.device) {
            let gradient = |model: &Llama| {
                let device = model.device();
                let model = model.tracked();
                let tokens = Tensor::from_data(TensorData::new(text.clone(), [18]), &device);
                let hidden = model.hidden(tokens, &Places::new(Packing::apart([9, 9]), &device));
                let gradients = hidden.square().sum().backward();
                let of = |p: Parameter| Some(p.tensor.grad(&gradients)?.flatten::<1>(0, 1));
                Tensor::cat(model.parameters().into_iter().filter_map(of).collect(), 0)
            };
            let expected = wide(&read(gradient(&exact)).await?);
            self.compare("model's gradient", read(gradient(&model)).await?, &expected, BACKWARD);
        }

        let start: Vec<i32> = [&text[..4], &text[9..12]].concat();
        let trees = [4, 3].map(|prompt| Tree { prompt, branches: vec![0] }).to_vec();
        let mut ways = vec![("cached decoding", Decoding::plain(&model))];
        let step = Decoding::new(&model, CacheDtype::F32);
        if step.by_kernels() {
            ways.push(("decoding step", step));
        }
        for (name, decoding) in ways {
            let packing = Packing { trees: trees.clone() };
            let (_, mut caches) = decoding.prefill(self.ints(&start), packing, 12);
            let (mut got, mut wanted) = (Vec::new(), Vec::new());
            for step in 0..4 {
                let at = [4 + step, 9 + 3 + step];
                got.push(decoding.decode(self.ints(&at.map(|i| text[i])), &mut caches));
                at.iter().for_each(|i| wanted.extend_from_slice(&expected[i * 29..][..29]));
            }
            self.compare(name, read(Tensor::cat(got, 0)).await?, &wanted, BACKWARD);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_on_the_cpu_and_catches_one_wrong_value_in_every_check() {
        let device = Device::flex();
        let clean = pollster::block_on(run(&device)).unwrap();
        assert!(clean.failures.is_empty(), "{:?}", clean.failures);
        for kernel in &clean.passed {
            let spoil = |name: &str, values: &mut Vec<f32>| {
                if name == *kernel {
                    let last = values.len() - 1;
                    values[last] += 0.01 + values[last].abs() * 0.01;
                }
            };
            let report = pollster::block_on(run_tampered(&device, spoil)).unwrap();
            let error = report.require_passed("CPU").unwrap_err().to_string();
            assert!(error.contains(kernel) && error.contains("worst at index"), "{error}");
            let poison = |name: &str, values: &mut Vec<f32>| {
                if name == *kernel {
                    values[0] = f32::NAN;
                }
            };
            let report = pollster::block_on(run_tampered(&device, poison)).unwrap();
            assert_eq!(report.failures.len(), 1, "{kernel}: a NaN must not pass");
        }
    }
}
