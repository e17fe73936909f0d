//! Token statistics, their gradient, and the fused LM head: both backends against f64 loops.

use crate::backends::devices;
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use srft::ops::backward_from::backward_from;
use srft::ops::lm_head::{Head, logits_bytes};
use srft::ops::token_stats::{self, RECORD, reference, token_stats};
use srft::ops::weight::Weight;
use srft::random::Stream;

const FORWARD: f64 = 6e-5;
const BACKWARD: f64 = 1e-4;
/// The shaders' workgroup: sizes around it are where indices go wrong.
const W: usize = 256;

/// Rows of logits with their targets and upstream gradients.
struct Case {
    name: String,
    columns: usize,
    logits: Vec<f32>,
    targets: Vec<i32>,
    gradient: Vec<f32>,
}

impl Case {
    fn new(name: &str, rows: usize, columns: usize, logit: impl FnMut(usize) -> f32) -> Self {
        let mut stream = Stream::new(5, 1, (rows * columns) as u32);
        let logits: Vec<f32> = (0..rows * columns).map(logit).collect();
        // Every fifth row is masked.
        let targets = (0..rows)
            .map(|i| if i % 5 == 4 { -1 } else { stream.below(columns as u32) as i32 })
            .collect();
        let gradient = (0..rows * 2).map(|_| stream.normal()).collect();
        Self { name: format!("{name} [{rows}, {columns}]"), columns, logits, targets, gradient }
    }

    fn peaky(rows: usize, columns: usize) -> Self {
        let mut stream = Stream::new(3, 1, columns as u32);
        Self::new("peaky", rows, columns, |_| 6.0 * stream.normal())
    }

    fn rows(&self) -> usize {
        self.targets.len()
    }

    fn tensors(&self, device: &Device) -> (Tensor<2>, Tensor<1, Int>, Tensor<2>) {
        let rows = self.rows();
        (
            matrix(&self.logits, rows, self.columns, device),
            Tensor::from_data(TensorData::new(self.targets.clone(), [rows]), device),
            matrix(&self.gradient, rows, 2, device),
        )
    }

    fn expected(&self) -> (Vec<f64>, Vec<f64>) {
        let logits = f64s(&self.logits);
        let stats = reference::forward(&logits, &self.targets, self.columns);
        let gradient = f64s(&self.gradient);
        let d = reference::backward(&logits, &self.targets, self.columns, &gradient);
        (stats.concat(), d)
    }

    /// Statistics and dlogits as a backend streams them, the vocabulary cut in `blocks`.
    fn stream(&self, device: &Device, blocks: &[usize]) -> (Vec<f32>, Vec<f32>) {
        let (logits, targets, gradient) = self.tensors(device);
        // Poison: every element of the records has to be written.
        let mut records = Tensor::full([self.rows(), RECORD], f32::NAN, device);
        let parts = logits.split_with_sizes(blocks.to_vec(), 1);
        let mut offset = 0;
        for part in &parts {
            records = token_stats::update(records, part.clone(), targets.clone(), offset);
            offset += part.dims()[1];
        }
        offset = 0;
        let mut d_logits = Vec::new();
        for part in parts {
            let columns = part.dims()[1];
            let (records, gradient) = (records.clone(), gradient.clone());
            d_logits.push(token_stats::backward(part, targets.clone(), records, gradient, offset));
            offset += columns;
        }
        (values(token_stats::stats(records)), values(Tensor::cat(d_logits, 1)))
    }
}

fn matrix(values: &[f32], rows: usize, columns: usize, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [rows, columns]), device)
}

fn random(rows: usize, columns: usize, scale: f32, seed: u32, device: &Device) -> Tensor<2> {
    let mut stream = Stream::new(11, 1, seed);
    let values: Vec<f32> = (0..rows * columns).map(|_| scale * stream.normal()).collect();
    matrix(&values, rows, columns, device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("f32")
}

fn f64s(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// The worst element beyond `tolerance` × max(1, |expected|), as a sentence.
fn mismatch(got: &[f32], expected: &[f64], tolerance: f64) -> Option<String> {
    if got.len() != expected.len() {
        return Some(format!("{} values, expected {}", got.len(), expected.len()));
    }
    let error = |i: usize| {
        let error = (f64::from(got[i]) - expected[i]).abs() / expected[i].abs().max(1.0);
        if error.is_nan() { f64::INFINITY } else { error }
    };
    let worst = (0..got.len()).max_by(|&a, &b| error(a).total_cmp(&error(b)))?;
    (error(worst) > tolerance).then(|| {
        format!("[{worst}]: got {}, expected {}: {:.1e}", got[worst], expected[worst], error(worst))
    })
}

fn assert_all(failures: Vec<String>) {
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for columns in [1, 2, 3, 4, 23, W - 1, W, W + 1, 1000, 4 * W, 4 * W + 1, 9973] {
        cases.push(Case::peaky(7, columns));
    }
    for rows in [1, W - 1, W, W + 1] {
        cases.push(Case::peaky(rows, 23));
        cases.push(Case::peaky(rows, 1));
    }
    cases.push(Case::peaky(5, 151_936));
    for columns in [2, 23, 1000, 151_936] {
        let mut stream = Stream::new(9, 1, columns as u32);
        cases.push(Case::new("all equal", 5, columns, |_| 3.25));
        cases.push(Case::new("all 1e4", 5, columns, |_| 1e4));
        cases.push(Case::new("all -1e4", 5, columns, |_| -1e4));
        cases.push(Case::new("±1e4", 5, columns, |_| if stream.chance(0.5) { 1e4 } else { -1e4 }));
        cases.push(Case::new("1e4 + noise", 5, columns, |_| 1e4 + stream.normal()));
        cases.push(Case::new("rising", 5, columns, |i| (i % columns) as f32 * 0.01 - 50.0));
        let hot = columns / 2;
        cases.push(Case::new(
            "one-hot",
            5,
            columns,
            |i| if i % columns == hot { 1e4 } else { 0.0 },
        ));
    }
    cases
}

#[test]
fn both_backends_match_the_reference() {
    let mut failures = Vec::new();
    for case in cases() {
        let (stats, d_logits) = case.expected();
        let third = case.columns / 3;
        for (device_name, device) in devices() {
            for blocks in [vec![case.columns], vec![third, 1, case.columns - third - 1]] {
                if blocks.contains(&0) {
                    continue;
                }
                let (got, got_d) = case.stream(&device, &blocks);
                let what = format!("{device_name}, {}, blocks {blocks:?}", case.name);
                let forward = mismatch(&got, &stats, FORWARD);
                failures.extend(forward.map(|m| format!("{what}: forward {m}")));
                let backward = mismatch(&got_d, &d_logits, BACKWARD);
                failures.extend(backward.map(|m| format!("{what}: backward {m}")));
            }
        }
    }
    assert_all(failures);
}

#[test]
fn the_comparison_can_fail() {
    let case = Case::peaky(7, 23);
    let (stats, d_logits) = case.expected();
    for (_, device) in devices() {
        let (mut got, mut got_d) = case.stream(&device, &[23]);
        assert_eq!(mismatch(&got, &stats, FORWARD), None);
        got[3] += 1e-3;
        assert!(mismatch(&got, &stats, FORWARD).is_some_and(|m| m.starts_with("[3]")));
        got_d[100] = f32::NAN;
        assert!(mismatch(&got_d, &d_logits, BACKWARD).is_some_and(|m| m.starts_with("[100]")));
        assert!(mismatch(&got_d[1..], &d_logits, BACKWARD).is_some());
    }
}

/// Central differences of the reference's own forward pass, in f64.
#[test]
fn the_reference_gradient_matches_finite_differences() {
    let case = Case::peaky(6, 23);
    let (logits, gradient) = (f64s(&case.logits), f64s(&case.gradient));
    let loss = |logits: &[f64]| -> f64 {
        let stats = reference::forward(logits, &case.targets, case.columns).concat();
        stats.iter().zip(&gradient).map(|(s, g)| s * g).sum()
    };
    let d_logits = reference::backward(&logits, &case.targets, case.columns, &gradient);
    for i in 0..logits.len() {
        let step = 1e-5;
        let at = |x: f64| {
            let mut moved = logits.clone();
            moved[i] += x;
            loss(&moved)
        };
        let slope = (at(step) - at(-step)) / (2.0 * step);
        assert!((slope - d_logits[i]).abs() < 1e-8, "[{i}]: {slope} against {}", d_logits[i]);
    }
}

/// ln p of the targets and H by burn's own operations; no row may be masked.
fn stock_stats(logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<2> {
    let log_p = activation::log_softmax(logits, 1);
    let entropy = -(log_p.clone().exp() * log_p.clone()).sum_dim(1);
    Tensor::cat(vec![log_p.gather(1, targets.unsqueeze_dim(1)), entropy], 1)
}

#[test]
fn autodiff_matches_burns_own_operations() {
    for (name, device) in devices() {
        let mut case = Case::peaky(33, 257);
        case.targets.iter_mut().for_each(|target| *target = (*target).max(0));
        let gradient_of = |stats: fn(Tensor<2>, Tensor<1, Int>) -> Tensor<2>| {
            let (logits, targets, gradient) = case.tensors(&device);
            let logits = logits.autodiff().require_grad();
            // The logits have a second use, whose gradient must add up.
            let loss = (stats(logits.clone(), targets) * gradient.autodiff()).sum()
                + logits.clone().powi_scalar(2).sum() * 0.01;
            let gradients = loss.backward();
            values(logits.grad(&gradients).expect("a gradient"))
        };
        let (ours, stock) = (gradient_of(token_stats), gradient_of(stock_stats));
        assert_eq!(mismatch(&ours, &f64s(&stock), BACKWARD), None, "{name}");
    }
}

#[test]
fn logits_that_are_still_used_survive_the_backward_pass() {
    for (name, device) in devices() {
        let case = Case::peaky(3, 23);
        let (logits, targets, gradient) = case.tensors(&device);
        let records = token_stats::records(&targets);
        let records = token_stats::update(records, logits.clone(), targets.clone(), 0);
        token_stats::backward(logits.clone(), targets, records, gradient, 0);
        assert_eq!(values(logits), case.logits, "{name}");
    }
}

#[test]
fn trouble_is_not_silent() {
    for (name, device) in devices() {
        let mut case = Case::peaky(4, 300);
        case.logits[300 + 7] = f32::NAN;
        case.targets[2] = 300;
        let (logits, targets, _) = case.tensors(&device);
        let stats = values(token_stats(logits, targets));
        assert!(stats[2].is_nan() && stats[3].is_nan(), "{name}: NaN row gives {stats:?}");
        assert!(stats[4] < -1e38, "{name}: a target outside the vocabulary gives {stats:?}");
        assert!(stats[0].is_finite() && stats[6].is_finite(), "{name}: {stats:?}");
    }
}

#[test]
fn a_backward_pass_can_begin_at_a_given_gradient() {
    for (name, device) in devices() {
        let x = random(3, 5, 1.0, 1, &device).autodiff().require_grad();
        let given = random(3, 5, 1.0, 2, &device);
        let gradients = backward_from(x.clone() * 2.0, given.clone());
        let got = values(x.grad(&gradients).expect("a gradient"));
        let expected: Vec<f32> = values(given).iter().map(|g| 2.0 * g).collect();
        assert_eq!(got, expected, "{name}");
    }
}

/// Hidden states, head, targets, and three whole-sequence chunks of very different lengths.
struct HeadCase {
    hidden: Tensor<2>,
    head: Tensor<2>,
    targets: Tensor<1, Int>,
}

const CHUNKS: [std::ops::Range<usize>; 3] = [0..10, 10..11, 11..50];
const VOCABULARY: usize = 1000;

impl HeadCase {
    fn new(device: &Device) -> Self {
        let mut stream = Stream::new(2, 1, 0);
        let targets: Vec<i32> = (0..50).map(|_| stream.below(VOCABULARY as u32) as i32).collect();
        Self {
            hidden: random(50, 16, 1.0, 3, device),
            head: random(VOCABULARY, 16, 0.5, 4, device),
            targets: Tensor::from_data(TensorData::new(targets, [50]), device),
        }
    }

    fn blocks(&self) -> Vec<Tensor<2>> {
        self.head.clone().split_with_sizes(vec![300, 1, 699], 0)
    }

    /// dL/d(hidden, head) of L = Σ −0.3·ln p + 0.05·H² by burn's own operations.
    fn stock(&self) -> (Vec<f32>, Vec<f32>) {
        let hidden = self.hidden.clone().autodiff().require_grad();
        let head = self.head.clone().autodiff().require_grad();
        let logits = hidden.clone().matmul(head.clone().transpose());
        let stats = stock_stats(logits, self.targets.clone());
        let loss = stats.clone().narrow(1, 0, 1).sum() * -0.3
            + stats.narrow(1, 1, 1).powi_scalar(2).sum() * 0.05;
        let gradients = loss.backward();
        let of = |x: &Tensor<2>| values(x.grad(&gradients).expect("a gradient"));
        (of(&hidden), of(&head))
    }
}

/// (∂L/∂ln p, ∂L/∂H) of that loss.
fn coefficients(stats: Tensor<2>) -> Tensor<2> {
    let entropy = stats.narrow(1, 1, 1);
    Tensor::cat(vec![entropy.zeros_like() - 0.3, entropy * 0.1], 1)
}

/// All logits of a chunk kept; the long chunk computed again; every chunk cut into single tokens.
const BUDGETS: [usize; 3] = [logits_bytes(true), 4 * VOCABULARY * 10, 1];

#[test]
fn the_fused_head_gives_the_gradient_of_stock_operations() {
    for (name, device) in devices() {
        let case = HeadCase::new(&device);
        let (stock_hidden, stock_head) = case.stock();
        for blocks in [vec![case.head.clone()], case.blocks()] {
            for budget in BUDGETS {
                let what = format!("{name}, {} blocks, {budget} bytes", blocks.len());
                let head = Head::new(blocks.iter().cloned().map(Weight::from).collect(), budget);
                let mut d_head = head.no_gradient();
                let d_hidden = CHUNKS.map(|range| {
                    let (hidden, targets) = (case.hidden.clone(), case.targets.clone());
                    let chunk =
                        head.forward(hidden.slice(range.clone()), targets.slice(range.clone()));
                    let stats = chunk.stats();
                    assert_eq!(stats.dims(), [range.len(), 2], "{what}");
                    let frozen = head.forward(
                        case.hidden.clone().slice(range.clone()),
                        case.targets.clone().slice(range),
                    );
                    let frozen = head.backward(frozen, coefficients(stats.clone()), &mut []);
                    let d_hidden = head.backward(chunk, coefficients(stats), &mut d_head);
                    assert_eq!(values(d_hidden.clone()), values(frozen), "{what}: a frozen head");
                    d_hidden
                });
                let d_hidden = values(Tensor::cat(d_hidden.to_vec(), 0));
                assert_eq!(
                    mismatch(&d_hidden, &f64s(&stock_hidden), BACKWARD),
                    None,
                    "{what}: dHidden"
                );
                let d_head = d_head.into_iter().map(|d| d.expect("every block has a gradient"));
                let d_head = values(Tensor::cat(d_head.collect(), 0));
                assert_eq!(mismatch(&d_head, &f64s(&stock_head), BACKWARD), None, "{what}: dHead");
            }
        }
    }
}

#[test]
fn the_fused_head_gives_the_statistics_of_whole_logits() {
    for (name, device) in devices() {
        let case = HeadCase::new(&device);
        let logits = case.hidden.clone().matmul(case.head.clone().transpose());
        let whole = f64s(&values(token_stats(logits, case.targets.clone())));
        for budget in BUDGETS {
            let head = Head::new(case.blocks().into_iter().map(Weight::from).collect(), budget);
            let stats = head.stats(case.hidden.clone(), case.targets.clone());
            assert_eq!(mismatch(&values(stats), &whole, FORWARD), None, "{name}, {budget} bytes");
        }
    }
}
