//! The objective worked out by hand, a case for each switch of the method, on the f64 reference and
//! on both backends. Probabilities are powers of 1/2 and entropies multiples of ln 2, so that every
//! number can be followed on paper: ln 2 = 0.693147.

use std::f64::consts::LN_2;

use crate::backends::{compare, devices, floats};
use burn::tensor::{Tensor, TensorData};
use srft::config::{ClipOf, KlForm, RatioOf, SftTokenWeight};
use srft::objective::advantage::advantages;
use srft::objective::reference;
use srft::ops::objective::{COLUMNS, Clip, EntropyOver, Row, Switches, Weight, column, objective};
use srft::records::TermCoefficients;

/// A token as (−log2 p, H / ln 2, −log2 p_old).
type Token = (f64, f64, f64);

/// Sequences one after the other: whether it demonstrates, its tokens, its coefficients.
type Sequences<'a> = &'a [(bool, &'a [Token], TermCoefficients)];

/// Checks one column of the sums and the derivatives by ln p, on the reference and both backends.
fn check(
    name: &str,
    sequences: Sequences,
    switches: &Switches,
    expected: (usize, &[f64]),
    d_logp: &[f64],
) {
    let tokens: Vec<Token> = sequences.iter().flat_map(|s| s.1).copied().collect();
    let stats: Vec<[f64; 2]> = tokens.iter().map(|t| [-t.0 * LN_2, t.1 * LN_2]).collect();
    let given: Vec<[f64; 3]> = tokens.iter().map(|t| [-t.2 * LN_2, -t.2 * LN_2, 1.0]).collect();
    let mut start = 0;
    let mut rows = Vec::new();
    for &(demonstration, tokens, terms) in sequences {
        let len = tokens.len() as u32;
        rows.push(Row { start, len, demonstration, terms });
        start += len;
    }

    let exact = reference::objective(&stats, &given, &rows, switches);
    let sums: Vec<f32> = exact.sums.iter().map(|s| s[expected.0] as f32).collect();
    let slopes: Vec<f32> = exact.coefficients.iter().map(|c| c[0] as f32).collect();
    compare(&format!("{name}, reference"), &sums, expected.1, 1e-6).unwrap();
    compare(&format!("{name}, reference's dL/dlogp"), &slopes, d_logp, 1e-6).unwrap();

    for (backend, device) in devices() {
        let single = |values: &[f64]| values.iter().map(|&x| x as f32).collect::<Vec<_>>();
        let stats = TensorData::new(single(stats.as_flattened()), [tokens.len(), 2]);
        let stats = Tensor::from_data(stats, &device);
        let given = TensorData::new(single(given.as_flattened()), [tokens.len(), 3]);
        let given = Tensor::from_data(given, &device);
        let got = objective(stats, given, &rows, switches);
        let sums: Vec<f32> = floats(got.sums).chunks(COLUMNS).map(|s| s[expected.0]).collect();
        let slopes: Vec<f32> = floats(got.coefficients).chunks(2).map(|c| c[0]).collect();
        compare(&format!("{name}, {backend}"), &sums, expected.1, 2e-6).unwrap();
        compare(&format!("{name}, {backend}'s dL/dlogp"), &slopes, d_logp, 2e-6).unwrap();
    }
}

/// A demonstration: p = 1/4, 1/2 and H = 0, ln 16, so that its mean entropy is ln 4; N_d = 2.
const DEMONSTRATION: [Token; 2] = [(2.0, 0.0, 0.0), (1.0, 4.0, 0.0)];
/// A right rollout: p = 1/2, 1/2, mean entropy ln 4; p_old = 1/4, 1/2, so that ρ = 2, 1.
const RIGHT: [Token; 2] = [(1.0, 1.0, 2.0), (1.0, 3.0, 1.0)];
/// A wrong rollout: p = 1/4, 1/8, mean entropy ln 2; p_old = 1/2, 1/16, so that ρ = 1/2, 2.
const WRONG: [Token; 2] = [(2.0, 1.0, 1.0), (3.0, 1.0, 4.0)];

fn sft(coefficient: f32) -> TermCoefficients {
    TermCoefficients { sft: coefficient, ..Default::default() }
}

fn rl_demo(coefficient: f32) -> TermCoefficients {
    TermCoefficients { rl_demo: coefficient, ..Default::default() }
}

fn signed(coefficient: f32) -> TermCoefficients {
    let self_positive = coefficient < 0.0;
    TermCoefficients { self_logp: coefficient, self_positive, ..Default::default() }
}

fn ratio(coefficient: f32) -> TermCoefficients {
    TermCoefficients { self_ratio: coefficient, ..Default::default() }
}

#[test]
fn entropy_over() {
    let demonstration: Sequences = &[(true, &DEMONSTRATION, sft(0.5))];
    let over = |entropy_over| Switches { entropy_over, ..Default::default() };
    // w = 0.5/4 = 1/8; L = 1/2 · 1/8 · (2 + 1) ln 2 = 0.1875 ln 2; slope −1/2 · 1/8.
    let by_sequence = over(EntropyOver::Sequence);
    check("sequence", demonstration, &by_sequence, (column::SFT, &[0.129_965]), &[-0.0625; 2]);
    check("sequence", demonstration, &by_sequence, (column::WEIGHT, &[0.125]), &[-0.0625; 2]);
    // w = 0.5, 0.5/16; L = 1/2 · (0.5 · 2 + 0.03125 · 1) ln 2 = 0.515625 ln 2.
    let by_token = over(EntropyOver::Token);
    let slopes = [-0.25, -0.015_625];
    check("token", demonstration, &by_token, (column::SFT, &[0.357_404]), &slopes);
    check("token", demonstration, &by_token, (column::WEIGHT, &[0.265_625]), &slopes);
    // w = 0.5/8 for demonstrations, 0.1 · 2 for rollouts. L = 1/2 · 1/16 · 3 ln 2 = 0.09375 ln 2.
    let by_batch = over(EntropyOver::Batch {
        demonstrations_nats: (3.0 * LN_2) as f32,
        rollouts_nats: LN_2 as f32,
    });
    check("batch", demonstration, &by_batch, (column::SFT, &[0.064_983]), &[-0.03125; 2]);
    // The right rollout: L = −1/2 · 0.2 · (−1 − 1) ln 2 = 0.2 ln 2.
    let right: Sequences = &[(false, &RIGHT, signed(-0.5))];
    check("batch", right, &by_batch, (column::SELF, &[0.138_629]), &[-0.1; 2]);
}

#[test]
fn sft_weight_sign() {
    let demonstration: Sequences = &[(true, &DEMONSTRATION, sft(0.5))];
    let weighted = |sft_weight| Switches { sft_weight, ..Default::default() };
    // Plus: w = 0.5 · 4 = 2; L = 1/2 · 2 · 3 ln 2 = 3 ln 2.
    let plus = weighted(Some(Weight { scale: 0.5, sign: 1.0 }));
    check("plus", demonstration, &plus, (column::SFT, &[2.079_442]), &[-1.0; 2]);
    // Frozen at 1: L = 1/2 · 3 ln 2.
    check("frozen", demonstration, &weighted(None), (column::SFT, &[1.039_721]), &[-0.5; 2]);
}

#[test]
fn self_term_signed() {
    // N_r = 4. Right: w = 0.1 · 4; 1/4 · 0.4 · 2 ln 2 = 0.2 ln 2; slope −0.1.
    // Wrong: weight 1; 1/4 · (−2 − 3) ln 2 = −1.25 ln 2; slope +0.25.
    let rollouts: Sequences = &[(false, &RIGHT, signed(-0.25)), (false, &WRONG, signed(0.25))];
    let slopes = [-0.1, -0.1, 0.25, 0.25];
    let printed = Switches::default();
    check("signed", rollouts, &printed, (column::SELF, &[0.138_629, -0.866_434]), &slopes);
    // The weight that is reported: 0.1 · 4, and for the wrong one the 0.1 · 2 that it would have.
    check("signed", rollouts, &printed, (column::WEIGHT, &[0.4, 0.2]), &slopes);
    // Frozen at 1: 1/4 · 2 ln 2 for the right one.
    let frozen = Switches { self_weight: None, ..Default::default() };
    let slopes = [-0.25, -0.25, 0.25, 0.25];
    check("frozen", rollouts, &frozen, (column::SELF, &[0.346_574, -0.866_434]), &slopes);
}

#[test]
fn self_term_advantage() {
    // Â = +1 and −1, N_r = 4, clip to [0.8, 1.2].
    // Right: ρ = 2 is held at 1.2 (no slope), ρ = 1 is free: −1/4 · (1.2 + 1) = −0.55.
    // Wrong: min(−0.5, −0.8) = −0.8 is held, min(−2, −1.2) = −2 is free: 1/4 · 2.8 = 0.7.
    let rollouts: Sequences = &[(false, &RIGHT, ratio(-0.25)), (false, &WRONG, ratio(0.25))];
    let slopes = [0.0, -0.25, 0.0, 0.5];
    let ppo = Switches::default();
    check("ratio", rollouts, &ppo, (column::SELF, &[-0.55, 0.7]), &slopes);
    check("ratio", rollouts, &ppo, (column::CLIPPED, &[1.0, 1.0]), &slopes);
    // DAPO's ε_high = 0.28 moves only the first: −1/4 · (1.28 + 1) = −0.57.
    let dapo = Switches { clip: Clip { low: 0.2, high: 0.28 }, ..Default::default() };
    check("clip higher", rollouts, &dapo, (column::SELF, &[-0.57, 0.7]), &slopes);
    // As the authors' code has it: positives times w_RL = 0.1 · 4.
    let weighted = TermCoefficients { self_positive: true, ..ratio(-0.25) };
    let right: Sequences = &[(false, &RIGHT, weighted)];
    check("weighted ratio", right, &ppo, (column::SELF, &[-0.22]), &[0.0, -0.1]);
}

/// What other trainers' clips make of the same two rollouts.
#[test]
fn other_clips_and_ratios() {
    let rollouts: Sequences = &[(false, &RIGHT, ratio(-0.25)), (false, &WRONG, ratio(0.25))];
    let printed = Switches::default();
    // GSPO: the right one's ρ is √2 for both tokens, held at 1.2: −1/4 · 2.4. The wrong one's is 1: 1/4 · 2.
    let gspo = Switches { ratio: RatioOf::Sequence, ..printed };
    let slopes = [0.0, 0.0, 0.25, 0.25];
    check("gspo", rollouts, &gspo, (column::SELF, &[-0.6, 0.5]), &slopes);
    check("gspo", rollouts, &gspo, (column::CLIPPED, &[2.0, 0.0]), &slopes);
    // CISPO: weights 1.2, 1 of −ln p = ln 2, ln 2; 0.8, 1.2 of 2 ln 2, 3 ln 2: −1/4 · Â · weight is the slope.
    let cispo = Switches { clip_form: ClipOf::Weight, ..printed };
    let slopes = [-0.3, -0.25, 0.2, 0.3];
    let sums = [0.55 * LN_2, -(0.4 + 0.9) * LN_2];
    check("cispo", rollouts, &cispo, (column::SELF, &sums), &slopes);
    // The dual clip at 1.5 takes the wrong one's second token, ρ = 2: 1/4 · (0.8 + 1.5).
    let dual = Switches { dual_clip: Some(1.5), ..printed };
    let slopes = [0.0, -0.25, 0.0, 0.0];
    check("dual clip", rollouts, &dual, (column::SELF, &[-0.55, 0.575]), &slopes);
    // k1 with the sampler's numbers for the base's: 1/2 · (ln p − ln p_base) = 1/2 · (1 + 0) ln 2.
    let k1 = Switches { kl: KlForm::K1, ..printed };
    let held = TermCoefficients { kl: 0.5, ..Default::default() };
    check("k1", &[(false, &RIGHT, held)], &k1, (column::KL, &[0.5 * LN_2]), &[0.5, 0.5]);
    // k3: r = 1/2 and 1: 1/2 · (1/2 − 1 + ln 2), slope 1/2 · (1 − r).
    check("k3", &[(false, &RIGHT, held)], &printed, (column::KL, &[0.096_574]), &[0.25, 0.0]);
}

#[test]
fn max_prob() {
    // Above 0.3 the self term ends: of tokens with p = 1/2, 1/4 only the second acts, as before, and
    // N_r = 2 stays. Right: w = 0.1 · 4; −1/2 · 0.4 · (−2 ln 2) = 0.4 ln 2. Wrong: 1/2 · (−2 ln 2).
    let mixed = [(1.0, 1.0, 1.0), (2.0, 3.0, 1.0)];
    let most = Switches { max_logp: Some(0.3f32.ln()), ..Default::default() };
    let right: Sequences = &[(false, &mixed, signed(-0.5))];
    check("right", right, &most, (column::SELF, &[0.277_259]), &[0.0, -0.2]);
    check("right's weight", right, &most, (column::WEIGHT, &[0.4]), &[0.0, -0.2]);
    let wrong: Sequences = &[(false, &mixed, signed(0.5))];
    check("wrong", wrong, &most, (column::SELF, &[-LN_2]), &[0.0, 0.5]);
    // Â = −1: ρ = 1, 1/2 and min(−0.5, −0.8) is held; without the first token 1/2 · 0.8 is left.
    check("ratio", &[(false, &mixed, ratio(0.5))], &most, (column::SELF, &[0.4]), &[0.0; 2]);
    // It is about rollouts: a demonstration's p = 1/4, 1/2 both count.
    let demonstration: Sequences = &[(true, &DEMONSTRATION, rl_demo(-0.5))];
    check("demonstration", demonstration, &most, (column::RL_DEMO, &[-0.375]), &[-0.125, -0.25]);
}

#[test]
fn demo_shaping() {
    // Â_demo = 1, N_d = 2: −1/2 · (1/4 + 1/2); the slope of p by ln p is p.
    let demonstration: Sequences = &[(true, &DEMONSTRATION, rl_demo(-0.5))];
    let printed = Switches::default();
    check("p", demonstration, &printed, (column::RL_DEMO, &[-0.375]), &[-0.125, -0.25]);
    // −1/2 · (0.25/0.35 + 0.5/0.6); slopes −1/2 · 0.1p/(p + 0.1)²: 0.025/0.1225, 0.05/0.36.
    let shaped = Switches { shaping: Some(0.1), ..Default::default() };
    let slopes = [-0.102_040_8, -0.069_444_4];
    check("p/(p+γ)", demonstration, &shaped, (column::RL_DEMO, &[-0.773_809_5]), &slopes);
}

#[test]
fn entropy_coeff() {
    // 0.001, N = 2: −0.001/2 · (0 + 4) ln 2. No slope by ln p; the slope by H is the coefficient.
    let terms = TermCoefficients { entropy: -0.0005, ..Default::default() };
    let demonstration: Sequences = &[(true, &DEMONSTRATION, terms)];
    let expected = (column::BONUS, [-0.001_386_294].as_slice());
    check("bonus", demonstration, &Switches::default(), expected, &[0.0; 2]);
}

#[test]
fn sft_token_weight() {
    // φ = 3/16, 1/4, weight off: 1/2 · (3/16 · 2 + 1/4 · 1) ln 2 = 0.3125 ln 2; slopes −1/2 · φ.
    let demonstration: Sequences = &[(true, &DEMONSTRATION, sft(0.5))];
    let phi = Switches { sft_token: SftTokenWeight::Phi, sft_weight: None, ..Default::default() };
    let slopes = [-0.093_75, -0.125];
    check("phi", demonstration, &phi, (column::SFT, &[0.216_608_5]), &slopes);
    check("phi", demonstration, &phi, (column::WEIGHT, &[0.218_75]), &slopes);
    // H/3 of 0 and ln 16: 1/2 · (4 ln 2)/3 · ln 2. DFT: 1/2 · (1/4 · 2 + 1/2 · 1) ln 2. TrSFT: p is above 0.1.
    let weighs = |sft_token| Switches { sft_token, sft_weight: None, ..Default::default() };
    let eaft = [0.0, -2.0 * LN_2 / 3.0];
    let eaft_loss = [2.0 / 3.0 * LN_2 * LN_2];
    let entropy = weighs(SftTokenWeight::Entropy);
    check("eaft", demonstration, &entropy, (column::SFT, &eaft_loss), &eaft);
    let probability = weighs(SftTokenWeight::Probability);
    check("dft", demonstration, &probability, (column::SFT, &[LN_2 / 2.0]), &[-0.125, -0.25]);
    let trusted = weighs(SftTokenWeight::Trusted);
    check("trsft", demonstration, &trusted, (column::SFT, &[1.5 * LN_2]), &[-0.5, -0.5]);
    // Times w_SFT = 1/8.
    let both = Switches { sft_token: SftTokenWeight::Phi, ..Default::default() };
    let slopes = slopes.map(|slope| slope / 8.0);
    check("phi and weight", demonstration, &both, (column::SFT, &[0.027_076]), &slopes);
}

#[test]
fn kl_coeff() {
    // p = 1/4, 1/2 under a base of 1/2, 1/4: r = 2, 1/2; k3 = 1 − ln 2, ln 2 − 1/2, which is 1/2
    // together. λ = 0.2, N_d = 2: 0.1 · 1/2; slopes 0.1 · (1 − r).
    let moved: [Token; 2] = [(2.0, 0.0, 1.0), (1.0, 4.0, 2.0)];
    let terms = TermCoefficients { kl: 0.1, ..Default::default() };
    let printed = Switches::default();
    let expected = (column::KL, [0.05].as_slice());
    check("kl", &[(true, &moved, terms)], &printed, expected, &[-0.1, 0.05]);
    // At the base it is 0, and so is its slope.
    let still: [Token; 2] = [(2.0, 0.0, 2.0), (1.0, 4.0, 1.0)];
    let expected = (column::KL, [0.0].as_slice());
    check("kl at the base", &[(true, &still, terms)], &printed, expected, &[0.0; 2]);
}

/// `aggregate` and `sft_gate` live in the coefficients alone: this is what they put there.
#[test]
fn aggregate_and_gate() {
    let frozen = Switches { self_weight: None, ..Default::default() };
    let check = |name, coefficients: [f32; 2], expected: [f64; 2]| {
        let short = &RIGHT[..1];
        let [a, b] = coefficients;
        let rollouts: Sequences = &[(false, &WRONG, signed(-a)), (false, short, signed(-b))];
        let [a, b] = coefficients.map(f64::from);
        check(name, rollouts, &frozen, (column::SELF, &expected), &[-a, -a, -b]);
    };
    // NLL sums 5 ln 2 over two tokens and 1 ln 2 over one.
    check("token mean", [1.0 / 3.0; 2], [1.155_245, 0.231_049]); // 5/3, 1/3 of ln 2
    check("sequence mean", [0.25, 0.5], [0.866_434, 0.346_574]); // 5/4, 1/2 of ln 2
    check("sum / 8192", [1.0 / 8192.0; 2], [0.000_423_063, 0.000_084_613]);
    let gated: Sequences = &[(true, &DEMONSTRATION, sft(0.0))];
    self::check("gated", gated, &Switches::default(), (column::SFT, &[0.0]), &[0.0; 2]);
}

#[track_caller]
fn advantages_are(rewards: &[f64], divide_by_std: bool, expected: &[f64]) {
    let got = advantages(rewards, divide_by_std);
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() < 5e-7, "{got} is not {expected}");
    }
}

#[test]
fn advantage_std_reward_values_and_group() {
    // Two rollouts and a right demonstration, rewards ±1: mean 1/3, deviations 2/3, −4/3, 2/3;
    // variance (4 + 16 + 4)/9 / 2 = 4/3, std 1.1547005.
    advantages_are(&[1.0, -1.0, 1.0], true, &[0.577_349_8, -1.154_699_5, 0.577_349_8]);
    advantages_are(&[1.0, -1.0, 1.0], false, &[0.666_666_7, -1.333_333_3, 0.666_666_7]);
    // Rewards {1, 0}: half the deviations, half the std; only the 1e-6 beside it shows.
    advantages_are(&[1.0, 0.0, 1.0], true, &[0.577_349_3, -1.154_698_5, 0.577_349_3]);
    advantages_are(&[1.0, 0.0, 1.0], false, &[0.333_333_3, -0.666_666_7, 0.333_333_3]);
    // A group of (G−1) + 1 = 4: mean 0, variance 4/3.
    advantages_are(
        &[1.0, -1.0, -1.0, 1.0],
        true,
        &[0.866_024_7, -0.866_024_7, -0.866_024_7, 0.866_024_7],
    );
    // G + 1 = 5, the demonstration wrong: mean −0.6, deviations 1.6, −0.4 ×4; variance 3.2/4.
    advantages_are(
        &[1.0, -1.0, -1.0, -1.0, -1.0],
        true,
        &[1.788_852_4, -0.447_213_1, -0.447_213_1, -0.447_213_1, -0.447_213_1],
    );
}

#[test]
fn equal_rewards_give_exactly_zero() {
    for rewards in [&[1.0; 9][..], &[-1.0; 2], &[0.1; 7], &[0.3], &[]] {
        for divide_by_std in [true, false] {
            assert_eq!(advantages(rewards, divide_by_std), vec![0.0; rewards.len()]);
        }
    }
}
