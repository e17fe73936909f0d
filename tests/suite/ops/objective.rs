//! The objective kernel on both backends against its f64 reference, finite differences, and burn's
//! own ops.

use crate::backends::{compare, devices, floats};
use burn::tensor::{Device, Tensor, TensorData};
use srft::config::{ClipOf, KlForm, RatioOf, SftTokenWeight};
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
    given: Vec<[f32; 3]>,
    rows: Vec<Row>,
}

impl Batch {
    /// Sequences of `lens` tokens; every fourth has no term at all.
    fn random(seed: u64, lens: &[u32], gap: u32) -> Self {
        let mut random = Stream::new(seed, 1, 0);
        let mut batch = Self { stats: vec![], given: vec![], rows: vec![] };
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
            let mut near = || logp + 0.5 * random.normal();
            batch.given.push([near(), near(), if t % 3 == 0 { 1.0 } else { random.normal() }]);
        }
        batch
    }

    fn reference(&self, switches: &Switches) -> Reference {
        let stats: Vec<[f64; 2]> =
            self.stats.chunks(2).map(|s| [f64::from(s[0]), f64::from(s[1])]).collect();
        reference::objective(&stats, &self.given(), &self.rows, switches)
    }

    fn given(&self) -> Vec<[f64; 3]> {
        self.given.iter().map(|g| g.map(f64::from)).collect()
    }

    fn tensors(&self, device: &Device) -> (Tensor<2>, Tensor<2>) {
        let n = self.given.len();
        let stats = TensorData::new(self.stats.clone(), [n, 2]);
        let given = TensorData::new(self.given.concat(), [n, 3]);
        (Tensor::from_data(stats, device), Tensor::from_data(given, device))
    }

    /// (coefficients, sums) of the kernel.
    fn kernel(&self, device: &Device, switches: &Switches) -> (Vec<f32>, Vec<f32>) {
        let (stats, given) = self.tensors(device);
        let got = objective(stats, given, &self.rows, switches);
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
        ("phi", Switches { sft_token: SftTokenWeight::Phi, ..printed }),
        ("dft", Switches { sft_token: SftTokenWeight::Probability, ..printed }),
        ("eaft", Switches { sft_token: SftTokenWeight::Entropy, ..printed }),
        ("trsft", Switches { sft_token: SftTokenWeight::Trusted, ..printed }),
        ("gspo", Switches { ratio: RatioOf::Sequence, ..printed }),
        ("cispo", Switches { clip_form: ClipOf::Weight, ..printed }),
        ("dual clip", Switches { dual_clip: Some(1.5), ..printed }),
        ("k1", Switches { kl: KlForm::K1, ..printed }),
        ("k3 with ρ", Switches { kl: KlForm::K3Ratio, ..printed }),
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
        given: vec![
            [-1e4, f32::NAN, 1.0],
            [-1.0, f32::NAN, 1.0],
            [f32::NAN, f32::NAN, 1.0],
            [f32::NAN, f32::NAN, 1.0],
            [f32::NAN, -1.0, 1.0],
            [f32::NAN, -1e4, 1.0],
        ],
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
    let shapes = [[batch.given.len(), 2], [batch.rows.len(), COLUMNS]];
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
    let given = batch.given();
    let at = |i: usize, step: f64| {
        let mut moved = stats.clone();
        moved[i / 2][i % 2] += step;
        reference::objective(&moved, &given, &batch.rows, switches).loss()
    };
    (0..2 * stats.len()).map(|i| (at(i, 1e-6) - at(i, -1e-6)) / 2e-6).collect()
}

/// The KL penalty's derivative is that of its value, wherever the base's token is likelier and where
/// it is less likely.
#[test]
fn the_kl_penalty_has_the_slope_of_its_value() {
    let forms = [KlForm::K3, KlForm::K1, KlForm::K3Ratio];
    for (seed, kl) in (20..24).flat_map(|seed| forms.map(|kl| (seed, kl))) {
        let printed = Switches { kl, ..Switches::default() };
        let mut batch = Batch::random(seed, &[9, 6], 1);
        for row in &mut batch.rows {
            row.terms = TermCoefficients { kl: row.terms.kl, ..Default::default() };
        }
        let ratios = batch.stats.chunks(2).zip(&batch.given).map(|(s, given)| given[1] - s[0]);
        let (more, less): (Vec<f32>, Vec<f32>) = ratios.partition(|r| *r > 0.0);
        assert!(more.len() > 2 && less.len() > 2);
        let slopes = slopes(&batch, &printed);
        for (backend, device) in devices() {
            let (got, _) = batch.kernel(&device, &printed);
            compare(&format!("{kl:?}, seed {seed}, {backend}"), &got, &slopes, BACKWARD).unwrap();
        }
    }
}

/// φ and a ratio that only weighs are constants for the gradient: the slope of a token is that of its loss with them held
/// where they are.
#[test]
fn no_gradient_flows_through_the_token_weight() {
    let plain = Switches { sft_weight: None, self_weight: None, ..Default::default() };
    let imitated = TermCoefficients { sft: 0.7, ..Default::default() };
    let weighs = |token: SftTokenWeight| Switches { sft_token: token, ..plain };
    let p = |s: [f64; 2]| s[0].exp();
    type Held = fn(f64, f64) -> f64;
    let phis: [(&str, Switches, Held); 4] = [
        ("phi", weighs(SftTokenWeight::Phi), |p, _| p * (1.0 - p)),
        ("dft", weighs(SftTokenWeight::Probability), |p, _| p),
        ("eaft", weighs(SftTokenWeight::Entropy), |_, h| h / 3.0),
        ("trsft", weighs(SftTokenWeight::Trusted), |p, _| (p / 0.1).min(1.0)),
    ];
    let mut differs = std::collections::BTreeSet::new();
    for seed in 30..34 {
        for (name, weighed, phi) in phis {
            let mut batch = Batch::random(seed, &[9], 0);
            batch.rows[0].terms = imitated;
            let stats: Vec<[f64; 2]> =
                batch.stats.chunks(2).map(|s| [f64::from(s[0]), f64::from(s[1])]).collect();
            let unweighed = slopes(&batch, &plain);
            let held = stats.iter().zip(unweighed.chunks(2));
            let held: Vec<f64> =
                held.flat_map(|(&s, slope)| [slope[0] * phi(p(s), s[1]), 0.0]).collect();
            let moving = slopes(&batch, &weighed);
            for (backend, device) in devices() {
                let (got, _) = batch.kernel(&device, &weighed);
                compare(&format!("{name}, seed {seed}, {backend}"), &got, &held, BACKWARD).unwrap();
                let apart = compare("moving", &got, &moving, 10.0 * BACKWARD).is_err();
                differs.extend(apart.then_some(name));
            }
        }
        // CISPO: −⊥[clip(ρ)] Â ln p.
        let mut batch = Batch::random(seed, &[9], 0);
        batch.rows[0].terms = TermCoefficients { self_ratio: 0.7, ..Default::default() };
        let cispo = Switches { clip_form: ClipOf::Weight, ..plain };
        let held = batch.stats.chunks(2).zip(batch.given()).flat_map(|(s, [old, _, factor])| {
            let rho = (f64::from(s[0]) - old).exp().clamp(0.8, 1.2);
            [f64::from(0.7f32) * factor * rho, 0.0]
        });
        let held: Vec<f64> = held.collect();
        for (backend, device) in devices() {
            let (got, _) = batch.kernel(&device, &cispo);
            compare(&format!("cispo, seed {seed}, {backend}"), &got, &held, BACKWARD).unwrap();
        }
    }
    assert_eq!(differs.len(), phis.len(), "where the weight moves, too, it shows: {differs:?}");
}

/// The ratio of a sequence has a slope by every one of its tokens.
#[test]
fn the_ratio_of_a_sequence_has_the_slope_of_its_value() {
    let plain = Switches { sft_weight: None, self_weight: None, ..Default::default() };
    let (mut free, mut held) = (0, 0);
    for seed in 40..56 {
        let mut batch = Batch::random(seed, &[9, 1, 5], 1);
        for row in &mut batch.rows {
            row.terms = TermCoefficients { self_ratio: row.terms.self_ratio, ..Default::default() };
        }
        let gspo = Switches { ratio: RatioOf::Sequence, ..plain };
        // With factors of the tokens' own, the slope of the ratio is not the sum of their losses'.
        batch.given.iter_mut().for_each(|given| given[2] = 1.0);
        let slopes = slopes(&batch, &gspo);
        for (backend, device) in devices() {
            let (got, sums) = batch.kernel(&device, &gspo);
            compare(&format!("seed {seed}, {backend}"), &got, &slopes, BACKWARD).unwrap();
            for (row, sums) in batch.rows.iter().zip(sums.chunks(COLUMNS)) {
                match sums[column::CLIPPED] {
                    0.0 => free += 1,
                    all => {
                        assert_eq!(all, row.len as f32);
                        held += 1;
                    }
                }
            }
        }
    }
    assert!(free > 10 && held > 10, "{free} free, {held} held");
}

/// The weights are constants for the gradient: freezing them at the sequence's entropy gives
/// exactly our derivatives; letting them move with it gives others. Advantages are numbers within
/// the coefficients, computed from rewards alone, so that no path leads through them either.
#[test]
fn no_gradient_flows_through_the_weights() {
    // What is a constant besides is tested above.
    let others = |s: &Switches| {
        s.sft_token == SftTokenWeight::None
            && s.clip_form == ClipOf::Loss
            && s.ratio == RatioOf::Token
    };
    for (name, switches) in all_switches().into_iter().filter(|(_, s)| others(s)) {
        // A sequence of one token has the same entropy by sequence and by token.
        let len = if switches.entropy_over == EntropyOver::Token { 1 } else { 9 };
        for seed in 10..16 {
            let mut batch = Batch::random(seed, &[len], 0);
            batch.rows[0].terms.self_positive = true;
            batch.given.iter_mut().for_each(|given| given[2] = 1.0);
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
fn composed(batch: &Batch, stats: Tensor<2>, given: Tensor<2>, detach: bool) -> Tensor<1> {
    let mut loss = Tensor::zeros([1], &stats.device());
    for row in batch.rows.iter().filter(|row| row.len > 0) {
        let (from, to) = (row.start as usize, (row.start + row.len) as usize);
        let c = row.terms;
        let logp = stats.clone().slice([from..to, 0..1]).squeeze_dim::<1>(1);
        let entropy = stats.clone().slice([from..to, 1..2]).squeeze_dim::<1>(1);
        let mean = entropy.clone().mean();
        let mean = if detach { mean.detach() } else { mean };
        let column = |i: usize| given.clone().slice([from..to, i..i + 1]).squeeze_dim::<1>(1);
        let factor = column(2);
        let w_sft = mean.clone().neg().exp() * 0.5;
        // 1 for positives, whose sign the factor may turn, 0 for the others.
        let same = factor.clone().greater_equal_elem(0.0).float();
        let positive = if c.self_positive { same } else { same.neg() + 1.0 };
        let w_self = (mean.exp() * 0.1 - 1.0) * positive + 1.0;
        let rho = (logp.clone() - column(0)).exp();
        let free = rho.clone() * factor.clone() * c.self_ratio;
        let held = rho.clamp(0.8, 1.2) * factor.clone() * c.self_ratio;
        let r = (column(1) - logp.clone()).exp();
        let penalty = (r.clone() - 1.0 - r.log()) * c.kl;
        let own = logp.clone() * factor.clone() * c.self_logp + free.max_pair(held);
        loss = loss - (w_sft * logp.clone() * factor.clone()).sum() * c.sft
            + (logp.exp() * factor).sum() * c.rl_demo
            + (w_self * own).sum()
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
            let (stats, given) = batch.tensors(&device.clone().autodiff());
            let stats = stats.require_grad();
            let loss = composed(&batch, stats.clone(), given, detach);
            let gradient = stats.grad(&loss.backward()).expect("a gradient by the statistics");
            floats(gradient).into_iter().map(f64::from).collect::<Vec<_>>()
        };
        compare(backend, &ours, &burns(true), BACKWARD).unwrap();
        assert!(compare(backend, &ours, &burns(false), BACKWARD).is_err());
    }
}
