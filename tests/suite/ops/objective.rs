//! The objective kernel on both backends against its f64 reference, finite differences, and burn's
//! own ops.

use crate::backends::{compare, devices, floats};
use burn::tensor::{Device, Tensor, TensorData};
use srft::objective::reference::{self, Reference};
use srft::ops::objective::{COLUMNS, Clip, EntropyOver, Row, Switches, Weight, column, objective};
use srft::random::Stream;
use srft::records::TermCoefficients;

/// Largest forward error against f64, relative to max(1, |value|).
const FORWARD: f64 = 6e-5;
/// Largest backward error against f64, relative to max(1, |value|).
const BACKWARD: f64 = 1e-4;

/// A batch of packed sequences with gaps of padding between them.
struct Batch {
    stats: Vec<f32>, // [n, 2]
    old: Vec<f32>,   // [n]
    rows: Vec<Row>,
}

impl Batch {
    /// Sequences of `lens` tokens; every fourth has no term at all.
    fn random(seed: u64, lens: &[u32], gap: u32) -> Self {
        let mut random = Stream::new(seed, 1, 0);
        let mut batch = Self { stats: vec![], old: vec![], rows: vec![] };
        let mut start = gap;
        for (i, &len) in lens.iter().enumerate() {
            let mut factor = || if i % 4 == 3 { 0.0 } else { random.normal() };
            let [sft, rl_demo, self_logp] = [factor(), factor(), factor()];
            let [self_ratio, entropy, kl] = [factor(), factor(), factor()];
            let self_positive = i % 3 == 0;
            let terms = TermCoefficients {
                sft,
                rl_demo,
                self_logp,
                self_ratio,
                self_positive,
                entropy,
                kl,
            };
            batch.rows.push(Row { start, len, demonstration: i % 2 == 0, terms });
            start += len + gap;
        }
        for t in 0..start {
            // Most tokens are likely, a few are nearly certain or nearly impossible.
            let logp = match t % 50 {
                7 => 0.0,
                13 => -100.0,
                _ => -2.0 * random.normal().powi(2),
            };
            let entropy = random.normal().abs().min(3.0);
            batch.stats.extend([logp, entropy]);
            batch.old.push(logp + 0.5 * random.normal());
        }
        batch
    }

    fn reference(&self, switches: &Switches) -> Reference {
        let stats: Vec<[f64; 2]> =
            self.stats.chunks(2).map(|s| [f64::from(s[0]), f64::from(s[1])]).collect();
        let old: Vec<f64> = self.old.iter().copied().map(f64::from).collect();
        reference::objective(&stats, &old, &self.rows, switches)
    }

    fn tensors(&self, device: &Device) -> (Tensor<2>, Tensor<1>) {
        let n = self.old.len();
        let stats = TensorData::new(self.stats.clone(), [n, 2]);
        let old = TensorData::new(self.old.clone(), [n]);
        (Tensor::from_data(stats, device), Tensor::from_data(old, device))
    }

    /// (coefficients, sums) of the kernel.
    fn kernel(&self, device: &Device, switches: &Switches) -> (Vec<f32>, Vec<f32>) {
        let (stats, old) = self.tensors(device);
        let got = objective(stats, old, &self.rows, switches);
        (floats(got.coefficients), floats(got.sums))
    }
}

fn flat<const C: usize>(rows: &[[f64; C]]) -> Vec<f64> {
    rows.as_flattened().to_vec()
}

fn all_switches() -> Vec<(&'static str, Switches)> {
    let printed = Switches::default();
    let batch = EntropyOver::Batch { demonstrations_nats: 0.7, rollouts_nats: 1.3 };
    let plus = Some(Weight { scale: 0.5, sign: 1.0 });
    vec![
        ("printed", printed),
        ("token", Switches { entropy_over: EntropyOver::Token, ..printed }),
        ("batch", Switches { entropy_over: batch, ..printed }),
        ("plus", Switches { sft_weight: plus, ..printed }),
        ("sft weight off", Switches { sft_weight: None, ..printed }),
        ("self weight off", Switches { self_weight: None, ..printed }),
        ("token weight", Switches { sft_phi: true, ..printed }),
        ("shaped", Switches { shaping: Some(0.1), ..printed }),
        ("clip", Switches { clip: Clip { low: 0.1, high: 0.4 }, ..printed }),
        ("max_prob", Switches { max_logp: Some(0.5f32.ln()), ..printed }),
    ]
}

const LENS: [u32; 11] = [1, 255, 256, 257, 0, 37, 513, 2, 1000, 31, 3];

#[test]
fn matches_the_reference() {
    for gap in [0, 5] {
        let batch = Batch::random(1, &LENS, gap);
        for (name, switches) in all_switches() {
            let want = batch.reference(&switches);
            for (backend, device) in devices() {
                let (coefficients, sums) = batch.kernel(&device, &switches);
                let what = |part| format!("{name}, gap {gap}, {backend}: {part}");
                compare(&what("sums"), &sums, &flat(&want.sums), FORWARD).unwrap();
                let exact = flat(&want.coefficients);
                compare(&what("coefficients"), &coefficients, &exact, BACKWARD).unwrap();
                assert_eq!(batch.kernel(&device, &switches), (coefficients, sums), "same bits");
            }
        }
    }
}

/// More sequences than a grid dimension holds: the grid folds and overshoots.
#[test]
fn many_sequences() {
    let batch = Batch::random(2, &[1; 65_600], 0);
    let want = batch.reference(&Switches::default());
    for (backend, device) in devices() {
        let (coefficients, sums) = batch.kernel(&device, &Switches::default());
        compare(backend, &sums, &flat(&want.sums), FORWARD).unwrap();
        compare(backend, &coefficients, &flat(&want.coefficients), BACKWARD).unwrap();
    }
}

/// Ratios beyond f32 stay finite, and old log-probabilities are not read where no ratio is taken.
#[test]
fn extremes() {
    let terms = TermCoefficients { self_ratio: -1.0, ..Default::default() };
    let no_ratio = TermCoefficients { sft: 1.0, rl_demo: 1.0, ..Default::default() };
    let penalty = TermCoefficients { kl: 1.0, ..Default::default() };
    let batch = Batch {
        stats: vec![-1.0, 0.5, -1e4, 0.0, 0.0, 0.0, -1e4, 12.0, -1e4, 0.5, -1.0, 0.0],
        old: vec![-1e4, -1.0, f32::NAN, f32::NAN, -1.0, -1e4],
        rows: vec![
            Row { start: 0, len: 2, demonstration: false, terms },
            Row { start: 2, len: 2, demonstration: true, terms: no_ratio },
            Row { start: 4, len: 2, demonstration: true, terms: penalty },
        ],
    };
    let want = batch.reference(&Switches::default());
    assert_eq!(want.sums[0][column::CLIPPED], 1.0);
    for (backend, device) in devices() {
        let (coefficients, sums) = batch.kernel(&device, &Switches::default());
        compare(backend, &sums, &flat(&want.sums), FORWARD).unwrap();
        compare(backend, &coefficients, &flat(&want.coefficients), BACKWARD).unwrap();
    }
}

/// Every element is written, also those of the gaps: the buffers are full of NaN before.
#[test]
fn vulkan_writes_every_element() {
    let batch = Batch::random(3, &LENS, 3);
    let want = batch.reference(&Switches::default());
    let (_, device) = devices().pop().expect("a backend");
    let inputs = batch.tensors(&device);
    let shapes = [[batch.old.len(), 2], [batch.rows.len(), COLUMNS]];
    drop(shapes.map(|shape| floats(Tensor::<2>::full(shape, f32::NAN, &device))));
    // The allocator hands the freed pages out again: this is what makes the poison count.
    let reused = shapes.map(|shape| floats(Tensor::<2>::empty(shape, &device)));
    assert!(reused.iter().flatten().all(|x| x.is_nan()), "the buffers were not poisoned");
    let got = objective(inputs.0, inputs.1, &batch.rows, &Switches::default());
    compare("coefficients", &floats(got.coefficients), &flat(&want.coefficients), BACKWARD)
        .unwrap();
    compare("sums", &floats(got.sums), &flat(&want.sums), FORWARD).unwrap();
}

/// The comparison can fail: one value off by a little more than the tolerance, or NaN.
#[test]
fn the_comparison_can_fail() {
    let batch = Batch::random(4, &LENS, 1);
    let (_, mut sums) = batch.kernel(&Device::flex(), &Switches::default());
    let want = flat(&batch.reference(&Switches::default()).sums);
    compare("sums", &sums, &want, FORWARD).unwrap();
    let worst = sums.len() - 3;
    sums[worst] += 1.5e-4 * sums[worst].abs().max(1.0);
    assert!(compare("sums", &sums, &want, FORWARD).unwrap_err().contains(&format!("[{worst}]")));
    sums[worst] = f32::NAN;
    assert!(compare("sums", &sums, &want, FORWARD).is_err());
    assert!(compare("sums", &sums[1..], &want, FORWARD).is_err());
}

/// Loss of one sequence in f64 as a function of its statistics, by central differences.
fn slopes(batch: &Batch, switches: &Switches) -> Vec<f64> {
    let stats: Vec<[f64; 2]> =
        batch.stats.chunks(2).map(|s| [f64::from(s[0]), f64::from(s[1])]).collect();
    let old: Vec<f64> = batch.old.iter().copied().map(f64::from).collect();
    let at = |i: usize, step: f64| {
        let mut moved = stats.clone();
        moved[i / 2][i % 2] += step;
        reference::objective(&moved, &old, &batch.rows, switches).loss()
    };
    (0..2 * stats.len()).map(|i| (at(i, 1e-6) - at(i, -1e-6)) / 2e-6).collect()
}

/// The KL penalty's derivative is that of its value, wherever the base's token is likelier and where
/// it is less likely.
#[test]
fn the_kl_penalty_has_the_slope_of_its_value() {
    let printed = Switches::default();
    for seed in 20..24 {
        let mut batch = Batch::random(seed, &[9, 6], 1);
        for row in &mut batch.rows {
            row.terms = TermCoefficients { kl: row.terms.kl, ..Default::default() };
        }
        let ratios = batch.stats.chunks(2).zip(&batch.old).map(|(s, old)| old - s[0]);
        let (more, less): (Vec<f32>, Vec<f32>) = ratios.partition(|r| *r > 0.0);
        assert!(more.len() > 2 && less.len() > 2);
        let slopes = slopes(&batch, &printed);
        for (backend, device) in devices() {
            let (got, _) = batch.kernel(&device, &printed);
            compare(&format!("seed {seed}, {backend}"), &got, &slopes, BACKWARD).unwrap();
        }
    }
}

/// φ is a constant for the gradient: the slope of a token is that of its loss with φ held where it is.
#[test]
fn no_gradient_flows_through_the_token_weight() {
    let weighed = Switches { sft_phi: true, sft_weight: None, ..Default::default() };
    let plain = Switches { sft_phi: false, ..weighed };
    for seed in 30..34 {
        let mut batch = Batch::random(seed, &[9], 0);
        batch.rows[0].terms = TermCoefficients { sft: 0.7, ..Default::default() };
        let phi = |t: usize| {
            let p = f64::from(batch.stats[2 * t]).exp();
            p * (1.0 - p)
        };
        let held: Vec<f64> = slopes(&batch, &plain)
            .chunks(2)
            .enumerate()
            .flat_map(|(t, s)| [s[0] * phi(t), s[1] * phi(t)])
            .collect();
        let moving = slopes(&batch, &weighed);
        for (backend, device) in devices() {
            let (got, _) = batch.kernel(&device, &weighed);
            compare(&format!("seed {seed}, {backend}"), &got, &held, BACKWARD).unwrap();
            assert!(compare("moving", &got, &moving, 10.0 * BACKWARD).is_err());
        }
    }
}

/// The weights are constants for the gradient: freezing them at the sequence's entropy gives
/// exactly our derivatives; letting them move with it gives others. Advantages are numbers within
/// the coefficients, computed from rewards alone, so that no path leads through them either.
#[test]
fn no_gradient_flows_through_the_weights() {
    // φ moves with ln p, not with the entropy: see above.
    for (name, switches) in all_switches().into_iter().filter(|(_, s)| !s.sft_phi) {
        // A sequence of one token has the same entropy by sequence and by token.
        let len = if switches.entropy_over == EntropyOver::Token { 1 } else { 9 };
        for seed in 10..16 {
            let mut batch = Batch::random(seed, &[len], 0);
            batch.rows[0].terms.self_positive = true;
            let entropies = batch.stats.chunks(2).map(|s| f64::from(s[1]));
            let mean = (entropies.sum::<f64>() / f64::from(len)) as f32;
            let frozen = match switches.entropy_over {
                EntropyOver::Batch { .. } => switches.entropy_over,
                _ => EntropyOver::Batch { demonstrations_nats: mean, rollouts_nats: mean },
            };
            let detached = slopes(&batch, &Switches { entropy_over: frozen, ..switches });
            let moving = slopes(&batch, &switches);
            for (backend, device) in devices() {
                let (got, _) = batch.kernel(&device, &switches);
                compare(&format!("{name}, {backend}"), &got, &detached, BACKWARD).unwrap();
                let weights_move = !matches!(switches.entropy_over, EntropyOver::Batch { .. });
                let differs = compare("moving", &got, &moving, 10.0 * BACKWARD).is_err();
                assert_eq!(differs, weights_move, "{name}, seed {seed}, {backend}");
            }
        }
    }
}

/// High-probability clipping (App. A.2): above the threshold the self term is gone, value and
/// gradient, below it not one bit differs, and what is no rollout's is untouched everywhere.
#[test]
fn max_prob_cuts_the_self_term_above_it_alone() {
    // Weights that follow the entropy have slopes by it that the gradient leaves out.
    let all = Switches { sft_weight: None, self_weight: None, ..Switches::default() };
    let most = Switches { max_logp: Some(0.8f32.ln()), ..all };
    let mut batch = Batch::random(7, &LENS, 2);
    for row in &mut batch.rows {
        let TermCoefficients { self_logp, self_ratio, self_positive, .. } = row.terms;
        row.terms = match row.demonstration {
            true => TermCoefficients { self_logp: 0.0, self_ratio: 0.0, ..row.terms },
            false => {
                TermCoefficients { self_logp, self_ratio, self_positive, ..Default::default() }
            }
        };
    }
    let slopes = slopes(&batch, &most);
    for (backend, device) in devices() {
        let ((free, _), (cut, _)) = (batch.kernel(&device, &all), batch.kernel(&device, &most));
        compare(backend, &cut, &slopes, BACKWARD).unwrap();
        let (mut above, mut below) = (0, 0);
        for row in &batch.rows {
            for t in 2 * row.start as usize..2 * (row.start + row.len) as usize {
                let likely = batch.stats[t - t % 2] > 0.8f32.ln();
                if !row.demonstration && likely {
                    assert_eq!(cut[t], 0.0, "{backend}, token {}", t / 2);
                    above += usize::from(free[t] != 0.0);
                } else {
                    assert_eq!(cut[t], free[t], "{backend}, token {}", t / 2);
                    below += usize::from(free[t] != 0.0 && !row.demonstration);
                }
            }
        }
        assert!(above > 50 && below > 50, "{above} above, {below} below");
    }
}

/// The same loss from burn's own differentiable ops; `detach` decides about the weights.
fn composed(batch: &Batch, stats: Tensor<2>, old: Tensor<1>, detach: bool) -> Tensor<1> {
    let mut loss = Tensor::zeros([1], &stats.device());
    for row in batch.rows.iter().filter(|row| row.len > 0) {
        let (from, to) = (row.start as usize, (row.start + row.len) as usize);
        let c = row.terms;
        let logp = stats.clone().slice([from..to, 0..1]).squeeze_dim::<1>(1);
        let entropy = stats.clone().slice([from..to, 1..2]).squeeze_dim::<1>(1);
        let mean = entropy.clone().mean();
        let mean = if detach { mean.detach() } else { mean };
        let w_sft = mean.clone().neg().exp() * 0.5;
        let w_self = if c.self_positive { mean.exp() * 0.1 } else { mean * 0.0 + 1.0 };
        let rho = (logp.clone() - old.clone().slice([from..to])).exp();
        let held = rho.clone().clamp(0.8, 1.2) * c.self_ratio;
        let r = rho.clone().powf_scalar(-1.0);
        let penalty = (r.clone() - 1.0 - r.log()) * c.kl;
        let own = logp.clone() * c.self_logp + (rho * c.self_ratio).max_pair(held);
        loss = loss - w_sft * logp.clone().sum() * c.sft
            + logp.exp().sum() * c.rl_demo
            + w_self * own.sum()
            + entropy.sum() * c.entropy
            + penalty.sum();
    }
    loss
}

#[test]
fn matches_burns_own_autodiff() {
    let batch = Batch::random(5, &LENS, 2);
    let printed = Switches::default();
    for (backend, device) in devices() {
        let (ours, sums) = batch.kernel(&device, &printed);
        let value: f32 = sums.chunks(COLUMNS).flat_map(|row| &row[..column::LOSSES]).sum();
        compare(backend, &[value], &[batch.reference(&printed).loss()], FORWARD).unwrap();
        let burns = |detach| {
            let (stats, old) = batch.tensors(&device.clone().autodiff());
            let stats = stats.require_grad();
            let loss = composed(&batch, stats.clone(), old, detach);
            let gradient = stats.grad(&loss.backward()).expect("a gradient by the statistics");
            floats(gradient).into_iter().map(f64::from).collect::<Vec<_>>()
        };
        compare(backend, &ours, &burns(true), BACKWARD).unwrap();
        assert!(compare(backend, &ours, &burns(false), BACKWARD).is_err());
    }
}
