//! The advantage form of the objective, from rewards to the gradient of each token, against what
//! TRL's and verl's own code make of the same rollouts (`tests/golden/losses`), on both backends.

use crate::backends::{compare, devices, floats};
use crate::common::{config, golden_json, numbers};
use burn::tensor::{Device, Tensor, TensorData};
use serde_json::{Value, json};
use srft::config::Objective;
use srft::objective::advantage::EPSILON;
use srft::objective::assemble;
use srft::objective::loss::{BatchEntropy, switches};
use srft::ops::objective::{COLUMNS, Row, column, objective};
use srft::records::{Episode, Group, Origin, Role};

/// Largest error, relative to the largest value of its kind; TRL's advantages are f32 like the kernel.
const TOLERANCE: f64 = 1e-5;
/// verl's default cap on a negative advantage's loss, which srft has not: the only configuration
/// without a counterpart.
const DUAL_CLIP: &str = "verl token-mean, std, dual clip";

/// What is compared, by its golden name.
const PARTS: [&str; 4] = ["advantages", "loss", "d_logprobs", "clip_fraction"];
/// The numbers of each part, group by group, response by response, token by token.
type Outcome = [Vec<f64>; PARTS.len()];

/// The rollouts that all configurations share.
struct Rollouts {
    groups: Vec<Group>,
    reward_stds: Vec<f64>, // one a group
    logprobs: Vec<f64>,    // [N], of the policy that trains
}

impl Rollouts {
    fn read(inputs: &Value) -> Self {
        let golden = list(&inputs["groups"]);
        let responses = golden.iter().flat_map(|group| list(&group["responses"]));
        Self {
            groups: golden.iter().enumerate().map(|(prompt, of)| group(prompt, of)).collect(),
            reward_stds: numbers(&inputs["reward_stds"]),
            logprobs: responses.flat_map(|response| numbers(&response["logprobs"])).collect(),
        }
    }

    /// srft's outcome, as if `epsilon` had been added to the standard deviations in place of
    /// [`EPSILON`].
    fn outcome(&self, settings: &Objective, epsilon: f64, device: &Device) -> Outcome {
        let update = assemble(&self.groups, settings);
        let (mut old, mut rows, mut factors) = (Vec::new(), Vec::new(), Vec::new());
        let mut sequences = update.sequences.iter();
        for (group, std) in self.groups.iter().zip(&self.reward_stds) {
            let rescaled = (std + EPSILON) / (std + epsilon);
            for sequence in sequences.by_ref().take(group.episodes.len()) {
                assert_eq!(sequence.role, Role::Rollout);
                let (start, len) = (old.len() as u32, sequence.loss_tokens() as u32);
                rows.push(Row { start, len, demonstration: false, terms: sequence.terms });
                old.extend_from_slice(&sequence.old_logprobs);
                factors.push(if settings.advantage_std { rescaled } else { 1.0 });
            }
        }
        assert!(sequences.next().is_none(), "rollouts only");

        let n = old.len();
        let stats = self.logprobs.iter().flat_map(|&logp| [logp as f32, 0.0]).collect();
        let stats = Tensor::from_data(TensorData::new::<f32, _>(stats, [n, 2]), device);
        let old = Tensor::from_data(TensorData::new(old, [n]), device);
        let got = objective(stats, old, &rows, &switches(settings, BatchEntropy::default()));
        let sums = floats(got.sums);
        let sums: Vec<&[f32]> = sums.chunks(COLUMNS).collect();
        let coefficients = floats(got.coefficients);

        let advantages = update.advantages.concat().into_iter().zip(&factors).map(|(a, f)| a * f);
        let loss = sums.iter().zip(&factors).map(|(sum, f)| f64::from(sum[column::SELF]) * f).sum();
        let factor_of_token =
            rows.iter().zip(&factors).flat_map(|(row, &f)| vec![f; row.len as usize]);
        let d_logprobs =
            coefficients.chunks(2).zip(factor_of_token).map(|(c, f)| f64::from(c[0]) * f);
        let clipped: f64 = sums.iter().map(|sum| f64::from(sum[column::CLIPPED])).sum();
        [advantages.collect(), vec![loss], d_logprobs.collect(), vec![clipped / n as f64]]
    }
}

/// A scored group; what its tokens say makes no difference.
fn group(prompt: usize, golden: &Value) -> Group {
    let rewards = numbers(&golden["rewards"]);
    let responses = list(&golden["responses"]);
    assert_eq!(rewards.len(), responses.len());
    let episode = |(sample, (response, reward)): (usize, (&Value, f64))| {
        let logprobs = numbers(&response["old_logprobs"]);
        Episode {
            prompt,
            sample,
            tokens: vec![7; logprobs.len()],
            entropies: vec![0.0; logprobs.len()],
            logprobs: logprobs.into_iter().map(|logp| logp as f32).collect(),
            reward: reward as f32,
            right: reward > 0.0,
            ..Episode::default()
        }
    };
    Group {
        origin: Origin::Drawn,
        prompt_tokens: vec![1],
        episodes: responses.iter().zip(rewards).enumerate().map(episode).collect(),
        ..Group::default()
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

/// The numbers of a list of lists, however deep, in order.
fn leaves(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(leaves).collect(),
        number => vec![number.as_f64().expect("a number")],
    }
}

fn library(configuration: &Value) -> Outcome {
    PARTS.map(|part| leaves(&configuration[part]))
}

/// GRPO with the `[objective]` settings of a configuration; `None` where srft has none that mean it.
fn settings(objective: &Value) -> Option<Objective> {
    let settings = objective.as_object()?.iter().map(|(key, value)| format!("{key} = {value}\n"));
    let settings = settings.collect::<String>();
    Some(config(&format!("[objective]\nmethod = \"grpo\"\n{settings}")).objective.clone())
}

/// The parts that differ, each with where.
fn differences(got: &Outcome, want: &Outcome) -> Vec<(&'static str, String)> {
    let differs = |((part, got), want): ((&'static str, &Vec<f64>), &Vec<f64>)| {
        let largest = want.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
        assert!(largest > 0.0, "{part}: nothing to compare with");
        let got: Vec<f32> = got.iter().map(|x| (x / largest) as f32).collect();
        let want: Vec<f64> = want.iter().map(|x| x / largest).collect();
        compare(part, &got, &want, TOLERANCE).err().map(|error| (part, error))
    };
    PARTS.into_iter().zip(got).zip(want).filter_map(differs).collect()
}

#[test]
fn matches_trl_and_verl() {
    let golden = golden_json("losses/golden.json");
    let rollouts = Rollouts::read(&golden["inputs"]);
    let (mut trl, mut verl, mut without) = (0, 0, Vec::new());
    for (name, configuration) in golden["configurations"].as_object().unwrap() {
        let Some(settings) = settings(&configuration["objective"]) else {
            without.push(name);
            continue;
        };
        match configuration["library"].as_str() {
            Some("trl") => trl += 1,
            Some("verl") => verl += 1,
            other => panic!("{name}: {other:?}"),
        }
        let epsilon = configuration["advantage_epsilon"].as_f64().unwrap();
        for (backend, device) in devices() {
            let got = rollouts.outcome(&settings, epsilon, &device);
            assert_eq!(differences(&got, &library(configuration)), [], "{name}, {backend}");
        }
    }
    assert_eq!((trl, verl), (8, 10), "four losses of TRL and five of verl, with std and without");
    assert_eq!(without, [DUAL_CLIP]);
}

/// The dual clip takes the gradient of tokens with ρ > 3 and a negative advantage: there srft pushes
/// on, and nowhere else does it differ.
#[test]
fn differs_from_the_dual_clip_where_documented() {
    let golden = golden_json("losses/golden.json");
    let rollouts = Rollouts::read(&golden["inputs"]);
    let configurations = &golden["configurations"];
    let settings = settings(&configurations["verl token-mean, std"]["objective"]).unwrap();
    let [advantages, _, theirs, _] = library(&configurations[DUAL_CLIP]);
    let cap = configurations[DUAL_CLIP]["settings"]["clip_ratio_c"].as_f64().unwrap();
    let episodes = rollouts.groups.iter().flat_map(|g| &g.episodes).zip(&advantages);
    let old = episodes.flat_map(|(e, &a)| e.logprobs.iter().map(move |&old| (f64::from(old), a)));
    let capped = rollouts.logprobs.iter().zip(old).map(|(new, (old, a))| (a, (new - old).exp()));
    let capped: Vec<bool> = capped.map(|(a, ratio)| a < 0.0 && ratio > cap).collect();
    assert_eq!(capped.iter().filter(|&&c| c).count(), 11);
    for (backend, device) in devices() {
        let [_, _, ours, _] = rollouts.outcome(&settings, EPSILON, &device);
        for (t, &capped) in capped.iter().enumerate() {
            let (ours, theirs) = (ours[t], theirs[t]);
            if capped {
                assert!(theirs == 0.0 && ours > 0.01, "{backend}, token {t}: {ours}, {theirs}");
            } else {
                assert!((ours - theirs).abs() < 1e-7, "{backend}, token {t}: {ours}, {theirs}");
            }
        }
    }
}

/// The comparison can fail: each setting moved by itself shows in the parts that it acts on.
#[test]
fn the_comparison_can_fail() {
    let golden = golden_json("losses/golden.json");
    let rollouts = Rollouts::read(&golden["inputs"]);
    let configuration = &golden["configurations"]["trl dapo, std"];
    let device = Device::flex();
    let differing = |objective: &Value, epsilon| -> Vec<&str> {
        let got = rollouts.outcome(&settings(objective).unwrap(), epsilon, &device);
        differences(&got, &library(configuration)).into_iter().map(|(part, _)| part).collect()
    };
    let cases = [
        ("clip_low", json!(0.3), &PARTS[1..]),
        ("clip_high", json!(0.2), &PARTS[1..]),
        ("aggregate", json!("sequence-mean"), &PARTS[1..3]),
        ("advantage_std", json!(false), &PARTS[..3]),
    ];
    assert_eq!(differing(&configuration["objective"], 1e-4), [""; 0]);
    for (key, value, parts) in cases {
        let mut moved = configuration["objective"].clone();
        moved[key] = value;
        assert_eq!(differing(&moved, 1e-4), parts, "{key}");
    }
    assert_eq!(differing(&configuration["objective"], EPSILON), PARTS[..3], "not rescaled");
}
