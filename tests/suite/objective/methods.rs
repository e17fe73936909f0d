//! Every method from rewards to the slope of each token: worked out by hand, and against what its
//! authors' own code makes of the same sequences (`tests/golden/methods`), on the f64 reference and on
//! both backends.

use std::f64::consts::LN_2;

use crate::backends::{compare, devices, floats};
use crate::common::{config, golden_json, numbers};
use burn::tensor::{Tensor, TensorData};
use serde_json::Value;
use srft::config::Objective;
use srft::objective::loss::{BatchEntropy, switches};
use srft::objective::{assemble, reference};
use srft::ops::objective::{COLUMNS, Row, column, objective};
use srft::records::{Demonstration, Episode, Group, Origin, Role, Unscored};

/// A token: ln p, entropy, and ln p of the sampler (of the base, for a demonstration).
type Token = [f64; 3];

/// A response: its tokens, its reward, whether it is right.
struct Response {
    tokens: Vec<Token>,
    reward: f64,
    right: bool,
}

/// A prompt's responses, the demonstration last.
type Responses = Vec<Response>;

fn group(responses: &Responses) -> Group {
    let (demonstration, rollouts) = responses.split_last().unwrap();
    let episode = |(sample, r): (usize, &Response)| Episode {
        sample,
        tokens: vec![7; r.tokens.len()],
        logprobs: r.tokens.iter().map(|t| t[2] as f32).collect(),
        entropies: vec![0.0; r.tokens.len()],
        reward: r.reward as f32,
        right: r.right,
        ..Episode::default()
    };
    Group {
        origin: Origin::Drawn,
        prompt_tokens: vec![1],
        episodes: rollouts.iter().enumerate().map(episode).collect(),
        demonstration: Some(Demonstration {
            tokens: vec![8; demonstration.tokens.len()],
            reward: Some(demonstration.reward as f32),
            right: demonstration.right,
            ..Demonstration::default()
        }),
        ..Group::default()
    }
}

/// A loss, and its slope by ln p of each token of each response of each group.
struct Outcome {
    loss: f64,
    slopes: Vec<f64>,
}

/// The loss of an objective by the reference and by both backends; a sequence that is not in the
/// update has slopes of 0.
fn outcomes(groups: &[Responses], objective_of: &Objective) -> Vec<(&'static str, Outcome)> {
    let records: Vec<Group> = groups.iter().map(group).collect();
    outcomes_of(groups, &records, objective_of)
}

fn outcomes_of(
    groups: &[Responses],
    records: &[Group],
    objective_of: &Objective,
) -> Vec<(&'static str, Outcome)> {
    let update = assemble(records, objective_of);
    let (mut tokens, mut rows, mut places) = (Vec::new(), Vec::new(), Vec::new());
    let mut sequences = update.sequences.iter();
    let mut place = 0;
    for (responses, record) in groups.iter().zip(records) {
        for (index, response) in responses.iter().enumerate() {
            let is_demonstration = index == responses.len() - 1;
            let length = response.tokens.len();
            let is_used = match is_demonstration {
                true => objective_of.has_demonstrations(),
                false => !record.episodes.is_empty(),
            };
            if is_used {
                let sequence = sequences.next().unwrap();
                assert_eq!(sequence.role == Role::Demonstration, is_demonstration);
                let (start, len) = (tokens.len() as u32, length as u32);
                rows.push(Row {
                    start,
                    len,
                    demonstration: is_demonstration,
                    terms: sequence.terms,
                });
                places.extend(place..place + length);
                tokens.extend_from_slice(&response.tokens);
            }
            place += length;
        }
    }
    assert!(sequences.next().is_none());

    let stats: Vec<[f64; 2]> = tokens.iter().map(|t| [t[0], t[1]]).collect();
    // The sampler's number stands for the base's, too.
    let given: Vec<[f64; 3]> = tokens.iter().map(|t| [t[2], t[2], 1.0]).collect();
    let switches = switches(objective_of, BatchEntropy::default());
    let outcome = |sums: Vec<f64>, slopes: Vec<f64>| {
        let mut all = vec![0.0; place];
        for (&place, slope) in places.iter().zip(slopes) {
            all[place] = slope;
        }
        let loss = sums.chunks(COLUMNS).flat_map(|s| &s[..column::LOSSES]).sum();
        Outcome { loss, slopes: all }
    };
    let exact = reference::objective(&stats, &given, &rows, &switches);
    let slopes = exact.coefficients.iter().map(|c| c[0]).collect();
    let mut all = vec![("reference", outcome(exact.sums.concat(), slopes))];
    for (backend, device) in devices() {
        let single = |values: &[f64]| values.iter().map(|&x| x as f32).collect::<Vec<_>>();
        let n = tokens.len();
        let stats = TensorData::new(single(stats.as_flattened()), [n, 2]);
        let given = TensorData::new(single(given.as_flattened()), [n, 3]);
        let given = Tensor::from_data(given, &device);
        let got = objective(Tensor::from_data(stats, &device), given, &rows, &switches);
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
        let slopes = wide(floats(got.coefficients)).chunks(2).map(|c| c[0]).collect();
        all.push((backend, outcome(wide(floats(got.sums)), slopes)));
    }
    all
}

fn check(what: &str, got: Vec<(&'static str, Outcome)>, loss: f64, slopes: &[f64]) {
    for (backend, Outcome { loss: got_loss, slopes: got_slopes }) in got {
        let single: Vec<f32> = got_slopes.iter().map(|&s| s as f32).collect();
        compare(&format!("{what}, {backend}: loss"), &[got_loss as f32], &[loss], 2e-6).unwrap();
        compare(&format!("{what}, {backend}: slopes"), &single, slopes, 2e-6).unwrap();
    }
}

/// The objective of update `step`, from lines of `[objective]`.
fn objective_at(step: u32, settings: &str) -> Objective {
    config(&format!("[rollout]\nmax_new_tokens = 10\n[objective]\n{settings}")).objective_at(step)
}

/// Tokens as −log2 of p and of the sampler's (or the base's) p; no entropy.
fn response(tokens: &[(i32, i32)], right: bool) -> Response {
    let token = |&(p, old): &(i32, i32)| [-LN_2 * f64::from(p), 0.0, -LN_2 * f64::from(old)];
    let reward = if right { 1.0 } else { -1.0 };
    Response { tokens: tokens.iter().map(token).collect(), reward, right }
}

/// A prompt with a right and a wrong rollout, and one with two wrong ones; two right demonstrations.
/// Ratios: 2, 1 of the right one, 1/2, 2 of the wrong one, 1 of the others. r = base/p is 2, 1/2 for
/// the first demonstration, 1 for the second.
fn two_prompts() -> Vec<Responses> {
    let right = response(&[(1, 2), (1, 1)], true);
    let wrong = response(&[(2, 1), (3, 4)], false);
    let taught = response(&[(2, 1), (1, 2)], true);
    let (short, long) = (response(&[(1, 1)], false), response(&[(1, 1); 3], false));
    vec![vec![right, wrong, taught], vec![short, long, response(&[(1, 1); 3], true)]]
}

/// 1/(√2 + 1e-6), the advantage of rewards 1 and −1.
const A: f64 = 0.707_106_281;

/// What length and cutting do to a group: rewards 1, 1, −1 of responses of 4, 8 and 10 tokens, the last cut.
#[test]
fn long_and_cut_responses() {
    let group = || {
        let episode = |(sample, (tokens, reward)): (usize, (usize, f32))| Episode {
            sample,
            tokens: vec![7; tokens],
            logprobs: vec![-1.0; tokens],
            entropies: vec![0.0; tokens],
            reward,
            right: reward > 0.0,
            truncated: tokens == 10,
            ..Episode::default()
        };
        let episodes = [(4, 1.0), (8, 1.0), (10, -1.0)].into_iter().enumerate().map(episode);
        vec![Group {
            origin: Origin::Drawn,
            prompt_tokens: vec![1],
            episodes: episodes.collect(),
            ..Group::default()
        }]
    };
    let of = |settings: &str| {
        let objective =
            objective_at(0, &format!("method = \"grpo\"\nadvantage_std = false\n{settings}"));
        let update = assemble(&group(), &objective);
        let factors = update.sequences.iter().map(|s| f64::from(s.terms.self_ratio));
        (update.advantages[0].clone(), factors.collect::<Vec<_>>())
    };
    let near = |got: &[f64], want: &[f64]| {
        let single: Vec<f32> = got.iter().map(|&x| x as f32).collect();
        compare("factors", &single, want, 1e-6).unwrap();
    };
    // Advantages 2/3, 2/3, −4/3; a mean over tokens divides by 22, of responses by 3 and their lengths.
    let (advantages, factors) = of("aggregate = \"token-mean\"");
    near(&advantages, &[2.0 / 3.0, 2.0 / 3.0, -4.0 / 3.0]);
    near(&factors, &[-2.0 / 66.0, -2.0 / 66.0, 4.0 / 66.0]);
    // Masked, the cut one keeps the others' advantages, and its tokens count in no mean; as a response it does.
    let masked = "truncated = \"masked\"";
    let (advantages, factors) = of(&format!("{masked}\naggregate = \"token-mean\""));
    near(&advantages, &[2.0 / 3.0, 2.0 / 3.0, -4.0 / 3.0]);
    near(&factors, &[-2.0 / 36.0, -2.0 / 36.0, 0.0]);
    let (_, factors) = of(masked);
    near(&factors, &[-2.0 / 36.0, -2.0 / 72.0, 0.0]);
    // From 6 tokens on 1/4 a token: rewards 1, 1/2, −2, whose mean is −1/6.
    let (advantages, _) = of("truncated = \"soft\"\nsoft_tokens = 4");
    near(&advantages, &[7.0 / 6.0, 4.0 / 6.0, -11.0 / 6.0]);
    // A limit of its own: beyond 8 tokens all of it.
    let (advantages, _) = of("truncated = \"soft\"\nsoft_tokens = 2\nsoft_limit = 8");
    near(&advantages, &[4.0 / 3.0, 1.0 / 3.0, -5.0 / 3.0]);
}

#[test]
fn by_hand() {
    // N_d = 5, B = 4 rollouts, N_r = 8; the second prompt's rewards are equal. Slopes in the order
    // right, wrong, demonstration; short, long, demonstration.
    // SFT: 6 ln 2 / 5.
    let sft = 0.831_776_617;
    let sft_slopes = [0.0, 0.0, 0.0, 0.0, -0.2, -0.2, 0.0, 0.0, 0.0, 0.0, -0.2, -0.2, -0.2];
    // GRPO, divided by B · 2: right min(2, 1.2) + 1 = 2.2, wrong max(0.5, 0.8) + 2 = 2.8, so 0.6/8 A.
    let grpo = 0.6 / 8.0 * A;
    let mut grpo_slopes = [0.0; 13];
    grpo_slopes[1] = -A / 8.0;
    grpo_slopes[3] = 2.0 * A / 8.0;
    let rl = |scale: f64| grpo_slopes.map(|slope| slope * scale);
    let sum = |a: [f64; 13], b: [f64; 13], scale: [f64; 2]| {
        std::array::from_fn::<f64, 13, _>(|t| scale[0] * a[t] + scale[1] * b[t])
    };
    let one_third = 1.0 / 3.0;
    let cases: Vec<(&str, u32, &str, f64, [f64; 13])> = vec![
        ("sft", 0, "", sft, sft_slopes),
        // k3 = 1 − ln 2 and ln 2 − 1/2 (together 1/2) and 0: 0.2/5 · 1/2 more. Slopes 0.2/5 · (1 − r).
        ("sft-kl", 0, "", sft + 0.02, {
            let mut slopes = sft_slopes;
            slopes[4] = -0.24;
            slopes[5] = -0.18;
            slopes
        }),
        ("grpo", 0, "", grpo, grpo_slopes),
        // Â = ±1, divided by B · 10.
        ("dr-grpo", 0, "", 0.6 / 40.0, rl(1.0 / A / 5.0)),
        // Where nothing is given, they are these; KL by k3 is ln 2 of eight tokens here, and nothing is imitated.
        ("bread", 0, "", grpo, grpo_slopes),
        ("prefix-rft", 0, "", 0.6 / 40.0, rl(1.0 / A / 5.0)),
        ("uft", 0, "", grpo + 0.001 / 8.0 * LN_2, {
            let mut slopes = grpo_slopes;
            for (t, slope) in [(0, 0.5), (2, -1.0), (3, 0.5)] {
                slopes[t] += 0.001 / 8.0 * slope;
            }
            slopes
        }),
        // The first prompt alone, N_r = 4, clipped at 1.28: (−2.28 + 2.8)/4 A.
        ("dapo", 0, "", 0.13 * A, rl(2.0)),
        // φ = p: 1/4 · 2 + 1/2 · 1 + 3 · 1/2 · 1 = 5/2 of ln 2 / 5.
        ("dft", 0, "", 0.5 * LN_2, {
            let mut slopes = [0.0; 13];
            slopes[4] = -0.05;
            [5, 10, 11, 12].into_iter().for_each(|t| slopes[t] = -0.1);
            slopes
        }),
        // Every p is above 0.1, and no token has an entropy.
        ("trsft", 0, "", sft, sft_slopes),
        ("eaft", 0, "", 0.0, [0.0; 13]),
        // The right one's s = √2 is held at 1.0004, the wrong one's is 1: (1 − 1.0004)/4 A.
        ("gspo", 0, "", -1e-4 * A, {
            let mut slopes = [0.0; 13];
            slopes[2..4].copy_from_slice(&[A / 8.0; 2]);
            slopes
        }),
        // Weights 2, 1 of −ln 2, −ln 2 and 1/2, 2 of −2 ln 2, −3 ln 2, over N_r = 8: (3 − 7)/8 ln 2 A.
        ("cispo", 0, "", -0.5 * LN_2 * A, {
            let mut slopes = [0.0; 13];
            slopes[..4].copy_from_slice(&[-A / 4.0, -A / 8.0, A / 16.0, A / 4.0]);
            slopes
        }),
        ("sft+grpo", 0, "", sft + grpo, sum(sft_slopes, grpo_slopes, [1.0, 1.0])),
        // μ = 0.05 + 0.85/2 halfway through its decay; GRPO's token mean over 8 is here the same.
        (
            "chord",
            100,
            "",
            0.475 * sft + 0.525 * grpo,
            sum(sft_slopes, grpo_slopes, [0.475, 0.525]),
        ),
        // A straight line, a quarter down: μ = 0.9 − 0.85/4.
        ("chord", 50, "mu_schedule = \"linear\"", 0.687_5 * sft + 0.312_5 * grpo, {
            sum(sft_slopes, grpo_slopes, [0.687_5, 0.312_5])
        }),
        // Half of the warm-up: μ = 0.45.
        ("chord", 5, "mu_warmup_steps = 10", 0.45 * sft + 0.55 * grpo, {
            sum(sft_slopes, grpo_slopes, [0.45, 0.55])
        }),
        // φ = 3/16, 1/4; 1/4: (3/8 + 1/4 + 3/4) ln 2 / 5 = 0.275 ln 2.
        (
            "chord",
            7,
            "mu = 0.1\nmu_end = 0.1\nsft_token_weight = \"p(1-p)\"",
            0.1 * 0.190_615_475 + 0.9 * grpo,
            {
                let mut phi = [0.0; 13];
                phi[4] = -0.2 * 3.0 / 16.0;
                [5, 10, 11, 12].into_iter().for_each(|t| phi[t] = -0.2 / 4.0);
                sum(phi, grpo_slopes, [0.1, 0.9])
            },
        ),
        // The first prompt has P = 1/2: Â = ±1, no clip, over 8: (−2 − 1 + 0.5 + 2)/8. The second has
        // P = 0: 3 ln 2 / 3.
        ("hpt", 0, "aggregate_constant = 8", LN_2 - 0.5 / 8.0, {
            let mut slopes = [0.0; 13];
            slopes[..4].copy_from_slice(&[-0.25, -0.125, 0.062_5, 0.25]);
            slopes[10..].copy_from_slice(&[-one_third; 3]);
            slopes
        }),
        // γ = 1/2: both prompts are imitated.
        ("hpt", 0, "aggregate_constant = 8\ngate_share = 0.5", sft, sft_slopes),
        // RL alone as long as fewer than 32 are held.
        ("relift", 0, "aggregate_constant = 8", -0.5 / 8.0, {
            let mut slopes = [0.0; 13];
            slopes[..4].copy_from_slice(&[-0.25, -0.125, 0.062_5, 0.25]);
            slopes
        }),
        // Over G_aug, without std: ±2/3, −4/3 and −2/3, −2/3, 4/3. Rollouts: −2/3 · 3 + 4/3 · 2.5
        // + 2/3 · 4; f(p) = 5/7, 5/6 and 5/6: −2/3 · 65/42 − 4/3 · 5/2; f'(p)p = 10/49, 5/36.
        (
            "luffy",
            0,
            "aggregate_constant = 8",
            (-2.0 + 10.0 / 3.0 + 8.0 / 3.0 - 2.0 / 3.0 * 65.0 / 42.0 - 10.0 / 3.0) / 8.0,
            {
                let twelfth = 1.0 / 12.0;
                let (far, near) = (-10.0 / 49.0 * twelfth, -5.0 / 36.0 * twelfth);
                [
                    -2.0 * twelfth,
                    -twelfth,
                    twelfth,
                    4.0 * twelfth,
                    far,
                    near,
                    twelfth,
                    twelfth,
                    twelfth,
                    twelfth,
                    2.0 * near,
                    2.0 * near,
                    2.0 * near,
                ]
            },
        ),
        // w_SFT = 0.5, w_RL = 0.1 at H = 0. Â_demo = (2/3, 4/3)/(√(4/3) + 1e-6) = 0.5773498,
        // 1.1546995. L_SFT = 3 ln 2 / 5; L_demo = −(0.75 · 0.5773498 + 1.5 · 1.1546995)/5;
        // L_self = (0.2 − 9)/8 ln 2.
        ("srft", 0, "", 0.6 * LN_2 - 0.433_012_3 - 1.1 * LN_2, {
            let (first, second) = (0.577_349_77 / 5.0, 1.154_699_54 / 5.0);
            let mut slopes = [0.125; 13];
            slopes[..2].copy_from_slice(&[-0.012_5; 2]);
            slopes[4] = -0.1 - first / 4.0;
            slopes[5] = -0.1 - first / 2.0;
            slopes[10..].copy_from_slice(&[-0.1 - second / 2.0; 3]);
            slopes
        }),
    ];
    for (method, step, settings, loss, slopes) in cases {
        let objective = objective_at(step, &format!("method = \"{method}\"\n{settings}"));
        let what = format!("{method} at step {step} {settings}");
        check(&what, outcomes(&two_prompts(), &objective), loss, &slopes);
    }
}

/// TRL #5352: the reward that is reported is the one that is trained. A rollout between right and wrong
/// acts in the signed self term by its sign and size, whatever values its rewards have.
#[test]
fn trl_5352_a_partial_score_acts_by_its_sign_and_size() {
    // N_r = 8; v = 1/2, −1/4; 0, −1. w_RL = 0.1: (0.1 − 1.25 − 3) ln 2 / 8.
    let loss = -4.15 / 8.0 * LN_2;
    let mut slopes = [0.0; 13];
    slopes[..4].copy_from_slice(&[-0.006_25, -0.006_25, 0.031_25, 0.031_25]);
    slopes[7..10].copy_from_slice(&[0.125; 3]);
    for (values, rewards) in
        [("signed", [0.5, -0.25, 0.0, -1.0]), ("binary", [0.75, 0.375, 0.5, 0.0])]
    {
        let mut groups = two_prompts();
        let rollouts = groups.iter_mut().flat_map(|g| &mut g[..2]);
        rollouts.zip(rewards).for_each(|(rollout, reward)| rollout.reward = reward);
        let settings = format!("sft = false\nrl_demo = false\nreward_values = \"{values}\"");
        let objective = objective_at(0, &settings);
        check(values, outcomes(&groups, &objective), loss, &slopes);
    }
    // Given rewards that are no values of the objective's count as the nearest.
    let mut given = two_prompts();
    given[0][0].reward = 5.0;
    let own = "sft = false\nrl_demo = false\nreward_values = \"binary\"";
    let [plain, beyond] =
        [two_prompts(), given].map(|groups| outcomes(&groups, &objective_at(0, own))[0].1.loss);
    assert_eq!(plain, beyond);
}

/// A verifier that failed on all of a prompt's rollouts says nothing of the prompt: HPT does not imitate
/// it, ReLIFT does not take it for one that it held, and SFT goes on. Without a reward, a demonstration
/// is imitated and not reinforced.
#[test]
fn what_could_not_be_judged_is_neither_solved_nor_unsolved() {
    for (method, imitates) in
        [("hpt", false), ("relift", false), ("srft", true), ("srft-hpt", true)]
    {
        let mut records: Vec<Group> = two_prompts().iter().map(group).collect();
        let failed = |e: Episode| Unscored { why: "broken".into(), tokens: e.tokens.len() };
        records[1].unscored = records[1].episodes.drain(..).map(failed).collect();
        let objective = objective_at(0, &format!("method = \"{method}\""));
        let update = assemble(&records, &objective);
        let last = update.sequences.last().unwrap();
        assert_eq!((last.role, last.terms.sft > 0.0), (Role::Demonstration, imitates), "{method}");
    }
    let mut records: Vec<Group> = two_prompts().iter().map(group).collect();
    let all = |records: &[Group]| {
        let update = assemble(records, &objective_at(0, "method = \"srft\""));
        let demos: Vec<_> =
            update.sequences.iter().filter(|s| s.role == Role::Demonstration).cloned().collect();
        (update.advantages, demos[0].terms, demos[1].terms)
    };
    let (before, first, second) = all(&records);
    records[0].demonstration.as_mut().unwrap().reward = None;
    let (advantages, unjudged, other) = all(&records);
    // Its group is that of its rollouts, and the mean of the RL term that of the other's three tokens.
    assert_eq!((advantages[0][2], &advantages[1]), (0.0, &before[1]));
    assert!((advantages[0][0] - A).abs() < 1e-6 && (advantages[0][1] + A).abs() < 1e-6);
    assert_eq!((unjudged.sft, unjudged.rl_demo), (first.sft, 0.0));
    assert!((other.rl_demo / second.rl_demo - 5.0 / 3.0).abs() < 1e-6);
}

/// What ReLIFT held comes back without rollouts, and is imitated as SFT would.
#[test]
fn relift_imitates_what_it_held() {
    let groups = two_prompts();
    let mut held: Vec<Group> = groups.iter().map(group).collect();
    held.iter_mut().for_each(|g| {
        g.episodes.clear();
        g.origin = Origin::Held;
    });
    let objective = objective_at(0, "method = \"relift\"");
    let mut slopes = [0.0; 13];
    [4, 5, 10, 11, 12].into_iter().for_each(|t| slopes[t] = -0.2);
    check("relift", outcomes_of(&groups, &held, &objective), 1.2 * LN_2, &slopes);
}

/// An advantage comes from rewards alone, and a gate from verdicts: no number of the policy, of which
/// they could have a gradient, is in them.
#[test]
fn no_gradient_flows_through_advantages_and_gates() {
    let mut moved = two_prompts();
    for token in moved.iter_mut().flatten().flat_map(|r| &mut r.tokens) {
        token[0] *= 1.7;
        token[1] += 0.3;
    }
    for method in srft::config::Method::ALL {
        let objective = objective_at(0, &format!("method = \"{}\"", method.name()));
        let [before, after] = [two_prompts(), std::mem::take(&mut moved)].map(|groups| {
            let records: Vec<Group> = groups.iter().map(group).collect();
            let update = assemble(&records, &objective);
            let terms: Vec<_> = update.sequences.iter().map(|s| s.terms).collect();
            (update.advantages, terms, groups)
        });
        assert_eq!((before.0, before.1), (after.0, after.1), "{}", method.name());
        moved = after.2;
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn golden_groups(inputs: &Value) -> Vec<Responses> {
    let response = |(member, reward): (&Value, f64)| {
        let part = |key: &str| numbers(&member[key]);
        let tokens = part("logprobs").into_iter().zip(part("entropies")).zip(part("old_logprobs"));
        let tokens = tokens.map(|((logp, entropy), old)| [logp, entropy, old]).collect();
        Response { tokens, reward, right: reward > 0.0 }
    };
    let group =
        |g: &Value| list(&g["members"]).iter().zip(numbers(&g["rewards"])).map(response).collect();
    list(&inputs["groups"]).iter().map(group).collect()
}

/// The outcome of a configuration of the golden file with further settings.
fn golden_outcomes(
    groups: &[Responses],
    name: &str,
    configuration: &Value,
    further: &str,
) -> Vec<(&'static str, Outcome)> {
    let method = configuration["method"].as_str().unwrap();
    let own = configuration["objective"].as_object().unwrap();
    let own: String = own.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    let step = configuration["step"].as_u64().unwrap() as u32;
    let objective = objective_at(step, &format!("method = \"{method}\"\n{own}{further}"));
    let mut records: Vec<Group> = groups.iter().map(group).collect();
    if name == "relift, SFT step" {
        records.iter_mut().for_each(|g| {
            g.episodes.clear();
            g.origin = Origin::Held;
        });
    }
    outcomes_of(groups, &records, &objective)
}

/// Errors relative to the largest slope, and to the loss.
fn apart(got: &Outcome, configuration: &Value) -> [f64; 2] {
    let members = list(&configuration["d_logprobs"]).iter().flat_map(list);
    let want: Vec<f64> = members.flat_map(numbers).collect();
    assert_eq!(got.slopes.len(), want.len());
    let largest = want.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    let off = got.slopes.iter().zip(&want).map(|(a, b)| (a - b).abs() / largest);
    let loss = configuration["loss"].as_f64().unwrap();
    [off.fold(0.0, f64::max), (got.loss - loss).abs() / loss.abs()]
}

#[test]
fn matches_the_authors_code() {
    let golden = golden_json("methods/golden.json");
    let groups = golden_groups(&golden["inputs"]);
    let configurations = golden["configurations"].as_object().unwrap();
    assert_eq!(configurations.len(), 14);
    for (name, configuration) in configurations {
        for (backend, got) in golden_outcomes(&groups, name, configuration, "") {
            let [slopes, loss] = apart(&got, configuration);
            assert!(slopes < 1e-5 && loss < 1e-5, "{name}, {backend}: {slopes:e}, {loss:e}");
        }
    }
}

/// The comparison can fail: each switch of a method, moved by itself, shows.
#[test]
fn the_comparison_can_fail() {
    let golden = golden_json("methods/golden.json");
    let groups = golden_groups(&golden["inputs"]);
    for (name, settings) in [
        ("sft-kl", &["kl_coeff = 0.201"][..]),
        ("dr-grpo", &["advantage_std = true", "aggregate = \"sequence-mean\""]),
        ("dapo", &["drop_equal_groups = false", "clip_high = 0.2"]),
        ("sft+grpo", &["sft_aggregate = \"same\"", "group_of = \"extra\""]),
        ("luffy", &["demo_shaping = \"none\"", "group_of = \"apart\"\nrl_demo = false"]),
        ("chord-mu", &["mu_schedule = \"linear\"", "mix = \"sum\""]),
        ("chord-phi", &["sft_token_weight = \"none\""]),
        ("hpt", &["sft_gate = \"none\"", "gate_share = 0.5"]),
        ("hpt, a half", &["rl_gate = \"none\""]),
        ("srft-hpt", &["sft_aggregate = \"same\"", "sft_weight_sign = \"plus\""]),
        ("relift, RL step", &["buffer = 0"]),
    ] {
        for &moved in settings {
            // A key may be moved that the configuration sets already.
            let mut configuration = golden["configurations"][name].clone();
            let own = configuration["objective"].as_object_mut().unwrap();
            own.retain(|key, _| !moved.contains(&format!("{key} = ")));
            let got = golden_outcomes(&groups, name, &configuration, moved);
            let [slopes, _] = apart(&got[0].1, &configuration);
            assert!(slopes > 1e-4, "{name}: {moved} does not show, {slopes:e}");
        }
    }
}
