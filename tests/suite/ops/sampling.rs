//! The sampling kernel on both backends against its f64 reference.

use crate::backends::{compare, devices, floats, is_slow};
use burn::tensor::{Device, Int, Tensor, TensorData};
use srft::ops::sampling::{Draw, Draws, Sampled, Sampling, reference, sample};
use srft::random::{Stream, token_uniform};

/// Largest error against f64, relative to max(1, |value|).
const FORWARD: f64 = 6e-5;
/// How far rounding may move a token's edge in the cumulative distribution.
const EDGE: f64 = 1e-5;
const SEED: u64 = 0x0123_4567_89ab_cdef;
const STEP: u32 = 41;

fn draws(rows: usize) -> Vec<Draw> {
    (0..rows as u32).map(|i| Draw { prompt: i / 8, sample: i % 8, position: 3 * i }).collect()
}

fn uniform(draw: &Draw) -> f32 {
    token_uniform(SEED, STEP, draw.prompt, draw.sample, draw.position)
}

fn ints(tensor: Tensor<1, Int>) -> Vec<usize> {
    let ids: Vec<i32> = tensor.into_data().try_to_vec().expect("i32 ids");
    ids.into_iter().map(|id| usize::try_from(id).expect("an id is not negative")).collect()
}

/// (tokens, stats) of the kernel for `logits` `[B, V]`.
fn kernel(
    device: &Device,
    logits: &[f32],
    draws: &[Draw],
    settings: Sampling,
) -> (Vec<usize>, Vec<f32>) {
    let shape = [draws.len(), logits.len() / draws.len()];
    let logits = Tensor::<2>::from_data(TensorData::new(logits.to_vec(), shape), device);
    let mut draws = Draws::new(draws.iter().copied(), device);
    let Sampled { tokens, stats } = sample(logits, &mut draws, SEED, STEP, settings);
    (ints(tokens), floats(stats))
}

/// Each token is the reference's (to within rounding of an edge), and so are its statistics.
fn check(
    what: &str,
    logits: &[f32],
    draws: &[Draw],
    settings: Sampling,
    (tokens, stats): &(Vec<usize>, Vec<f32>),
) -> Result<(), String> {
    let vocabulary = logits.len() / draws.len();
    let mut exact = Vec::new();
    for (row, (logits, draw)) in logits.chunks(vocabulary).zip(draws).enumerate() {
        let (token, u) = (tokens[row], f64::from(uniform(draw)));
        let distribution = reference::distribution(logits, settings);
        let p = distribution.get(token).copied().unwrap_or(0.0);
        let below: f64 = distribution[..token.min(vocabulary)].iter().sum();
        let greedy = settings.temperature == 0.0;
        let near = greedy || (below - EDGE <= u && u <= below + p + EDGE);
        if p == 0.0 || !near {
            let expected = reference::draw(&distribution, u);
            return Err(format!("{what}[{row}]: got token {token} (p {p}), expected {expected}"));
        }
        exact.push(reference::log_probabilities(logits, settings.policy_temperature)[token]);
        exact.push(reference::entropy(logits, settings.policy_temperature));
    }
    compare(what, stats, &exact, FORWARD)
}

/// Rows of every difficult kind.
fn rows(vocabulary: usize) -> Vec<f32> {
    let mut random = Stream::new(7, 2, vocabulary as u32);
    let mut rows: Vec<f32> = Vec::new();
    rows.extend((0..vocabulary).map(|_| 3.0 * random.normal()));
    rows.extend((0..vocabulary).map(|_| 1e4 + random.normal()));
    rows.extend((0..vocabulary).map(|_| -1e4 + 10.0 * random.normal()));
    rows.extend((0..vocabulary).map(|_| 1e4 * random.normal().clamp(-1.0, 1.0)));
    rows.extend((0..vocabulary).map(|_| (2.0 * random.normal()).round() / 2.0)); // many ties
    rows.extend((0..vocabulary).map(|_| 0.25)); // all equal
    let hot = random.below(vocabulary as u32) as usize;
    rows.extend((0..vocabulary).map(|v| if v == hot { 1e4 } else { -1e4 })); // one-hot
    rows
}

fn all_settings() -> Vec<Sampling> {
    let policy = Sampling::default();
    let mut all = vec![policy];
    all.extend([0.0, 0.001, 0.6, 1.7].map(|temperature| Sampling { temperature, ..policy }));
    all.extend([1, 2, 20, 256, 1 << 20].map(|top_k| Sampling { top_k, ..policy }));
    all.extend([1e-6, 0.3, 0.9, 0.999].map(|top_p| Sampling { top_p, ..policy }));
    all.extend([1e-6, 0.05, 0.5, 1.0].map(|min_p| Sampling { min_p, ..policy }));
    all.push(Sampling { temperature: 0.8, top_k: 15, top_p: 0.7, ..policy });
    all.push(Sampling { temperature: 1.4, top_k: 15, top_p: 0.95, min_p: 0.1, ..policy });
    // As a step samples: ln π and H at the temperature of the draw. And at another.
    all.extend([0.6, 1.7].map(|t| Sampling { temperature: t, policy_temperature: t, ..policy }));
    all.push(Sampling { temperature: 0.0, top_p: 0.9, policy_temperature: 2.0, ..policy });
    all
}

#[test]
fn matches_the_reference() {
    for vocabulary in [1, 2, 23, 255, 256, 257, 1000] {
        let logits = rows(vocabulary);
        let draws = draws(logits.len() / vocabulary);
        for settings in all_settings() {
            for (backend, device) in devices() {
                let what = format!("{backend}, V {vocabulary}, {settings:?}");
                let got = kernel(&device, &logits, &draws, settings);
                check(&what, &logits, &draws, settings, &got).unwrap();
                assert_eq!(kernel(&device, &logits, &draws, settings), got, "{what}: same bits");
            }
        }
    }
}

/// The vocabularies of Qwen and Gemma.
#[test]
fn large_vocabularies() {
    let combined =
        Sampling { temperature: 0.8, top_k: 500, top_p: 0.9, min_p: 0.01, policy_temperature: 0.8 };
    for vocabulary in [151_936, 262_144] {
        let logits = rows(vocabulary);
        let draws = draws(7);
        for settings in [Sampling::default(), combined] {
            for (backend, device) in devices() {
                let got = kernel(&device, &logits, &draws, settings);
                let what = format!("{backend}, V {vocabulary}, {settings:?}");
                check(&what, &logits, &draws, settings, &got).unwrap();
            }
        }
    }
}

/// More rows than a grid dimension holds: the grid folds and overshoots.
#[test]
fn many_rows() {
    let mut random = Stream::new(9, 2, 0);
    let draws = draws(65_600);
    let logits: Vec<f32> = (0..3 * draws.len()).map(|_| random.normal()).collect();
    for (backend, device) in devices() {
        let got = kernel(&device, &logits, &draws, Sampling::default());
        check(backend, &logits, &draws, Sampling::default(), &got).unwrap();
    }
}

/// Pearson's chi-square of many draws from one distribution, and exactly its support.
#[test]
fn frequencies() {
    let mut random = Stream::new(8, 2, 0);
    let logits: Vec<f32> = (0..23).map(|_| 1.5 * random.normal()).collect();
    let policy = Sampling::default();
    let all = [
        policy,
        Sampling { temperature: 1.6, ..policy },
        Sampling { top_k: 6, ..policy },
        Sampling { top_p: 0.8, ..policy },
        Sampling { min_p: 0.2, ..policy },
        Sampling { temperature: 1.2, top_k: 9, top_p: 0.9, min_p: 0.01, ..policy },
    ];
    for (settings, (backend, device)) in
        all.iter().flat_map(|&s| devices().into_iter().map(move |d| (s, d)))
    {
        let draws = draws(if is_slow(backend) { 512 } else { 4096 });
        let repeated = logits.repeat(draws.len());
        let (tokens, _) = kernel(&device, &repeated, &draws, settings);
        let mut counts = [0.0; 23];
        tokens.iter().for_each(|&t| counts[t] += 1.0);
        let (mut chi_square, mut kept) = (0.0, 0.0);
        for (p, count) in reference::distribution(&logits, settings).iter().zip(counts) {
            let expected = p * draws.len() as f64;
            if expected == 0.0 {
                assert_eq!(count, 0.0, "{backend}, {settings:?}: a token outside the support");
            } else {
                assert!(count > 0.0 || expected < 30.0, "{backend}, {settings:?}: never drawn");
                chi_square += (count - expected) * (count - expected) / expected;
                kept += 1.0;
            }
        }
        // Mean k − 1 and variance 2(k − 1): five standard deviations. The draws are fixed by the
        // seed, so this either always passes or never.
        let limit: f64 = kept - 1.0 + 5.0 * f64::sqrt(2.0 * (kept - 1.0));
        assert!(chi_square < limit, "{backend}, {settings:?}: {chi_square} ≥ {limit}");
    }
}

/// Over V = 2^b equal logits every sum is an exact integer and the token is the first b of the uniform
/// number's 24 bits. A wrong round would show in all of them; 2^18 tokens are allowed, 2^24 not.
#[test]
fn the_uniform_numbers_bits() {
    for (bits, rows) in [(12, 512), (18, 4)] {
        let logits = vec![0.0; rows << bits];
        for (first, (backend, device)) in
            (0..2u32).flat_map(|i| devices().into_iter().map(move |d| (7 * i, d)))
        {
            let shifted = |draw: Draw| Draw { position: draw.position + first, ..draw };
            let draws: Vec<Draw> = draws(rows).into_iter().map(shifted).collect();
            let (tokens, _) = kernel(&device, &logits, &draws, Sampling::default());
            let expected = draws.iter().map(|d| (uniform(d) * (1 << bits) as f32) as usize);
            assert_eq!(tokens, expected.collect::<Vec<_>>(), "{backend}, {bits} bits");
        }
    }
}

/// A draw depends on its counter alone, not on its row or its neighbours.
#[test]
fn batching_changes_nothing() {
    let mut random = Stream::new(10, 2, 0);
    let draws = draws(40);
    let logits: Vec<f32> = (0..40 * 31).map(|_| 2.0 * random.normal()).collect();
    for (backend, device) in devices() {
        let (together, _) = kernel(&device, &logits, &draws, Sampling::default());
        for row in [0, 17, 39] {
            let alone = &logits[row * 31..(row + 1) * 31];
            let (token, _) = kernel(&device, alone, &draws[row..=row], Sampling::default());
            assert_eq!(token[0], together[row], "{backend}, row {row}");
        }
    }
}

#[test]
fn ties() {
    let logits = [1.0, -0.0, 3.0, 0.0, 3.0, -2.0, 3.0];
    let greedy = Sampling { temperature: 0.0, ..Default::default() };
    let draws = draws(200);
    let repeated = logits.repeat(draws.len());
    for (backend, device) in devices() {
        let (tokens, _) = kernel(&device, &repeated, &draws, greedy);
        assert!(tokens.iter().all(|&t| t == 2), "{backend}: greedy takes the lowest index");
        // k = 1 keeps the three largest, k = 5 the two zeros (−0 equals 0) with them and 1.
        for (top_k, expected) in [(1, vec![2, 4, 6]), (5, vec![0, 1, 2, 3, 4, 6])] {
            let settings = Sampling { temperature: 3.0, top_k, ..Default::default() };
            let (mut tokens, _) = kernel(&device, &repeated, &draws, settings);
            tokens.sort_unstable();
            tokens.dedup();
            assert_eq!(tokens, expected, "{backend}, k {top_k}");
        }
    }
}

/// Logits that are a view of another tensor, and outputs over buffers full of NaN.
#[test]
fn views_and_poisoned_buffers() {
    let mut random = Stream::new(11, 2, 0);
    let (draws, vocabulary) = (draws(300), 23);
    let by_token: Vec<f32> = (0..300 * vocabulary).map(|_| random.normal()).collect(); // [V, B]
    for (backend, device) in devices() {
        let data = TensorData::new(by_token.clone(), [vocabulary, 300]);
        let view = Tensor::<2>::from_data(data, &device).transpose();
        let logits = floats(view.clone());
        drop(floats(Tensor::<2>::full([300, 2], f32::NAN, &device)));
        drop(Tensor::<1, Int>::full([300], -1, &device).into_data());
        let mut counters = Draws::new(draws.iter().copied(), &device);
        let Sampled { tokens, stats } =
            sample(view, &mut counters, SEED, STEP, Sampling::default());
        let got = (ints(tokens), floats(stats));
        check(backend, &logits, &draws, Sampling::default(), &got).unwrap();
    }
}

/// The check can fail: a wrong token, a wrong statistic, a token outside the support.
#[test]
fn the_check_can_fail() {
    let (logits, draws, settings) =
        (rows(23), draws(7), Sampling { top_k: 20, ..Default::default() });
    let right = kernel(&Device::flex(), &logits, &draws, settings);
    check("right", &logits, &draws, settings, &right).unwrap();
    let mut wrong = right.clone();
    wrong.0[0] = (wrong.0[0] + 1) % 23;
    assert!(check("token", &logits, &draws, settings, &wrong).unwrap_err().contains("[0]"));
    let mut wrong = right.clone();
    wrong.1[3] += 2e-4;
    assert!(check("stats", &logits, &draws, settings, &wrong).unwrap_err().contains("[3]"));
    let mut wrong = right;
    let least = logits[..23].iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
    wrong.0[0] = least;
    assert!(check("support", &logits, &draws, settings, &wrong).unwrap_err().contains("(p 0)"));
}

#[test]
fn settings_are_checked() {
    let policy = Sampling::default();
    assert!(all_settings().into_iter().all(|s| s.checked().is_ok()));
    for temperature in [-1.0, 1e-4, 1e4, f32::NAN, f32::INFINITY] {
        let error = Sampling { temperature, ..policy }.checked().unwrap_err();
        assert!(error.to_string().starts_with("temperature: temperature"), "{error}");
    }
    for top_p in [0.0, -0.1, 1.1, f32::NAN] {
        let error = Sampling { top_p, ..policy }.checked().unwrap_err();
        assert!(error.to_string().starts_with("top_p: top_p"), "{error}");
    }
}
