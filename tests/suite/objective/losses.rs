//! The advantage form of the objective, from rewards to the gradient of each token, against what
//! TRL's and verl's own code make of the same rollouts (`tests/golden/losses`), on both backends.

use crate::backends::{compare, devices, floats};
use crate::common::{config, golden_json, numbers};
use burn::tensor::{Device, Tensor, TensorData};
use serde_json::{Value, json};
use srft::config::{KlForm, KlIn, Objective, Truncated};
use srft::objective::advantage::EPSILON;
use srft::objective::assemble;
use srft::objective::loss::{BatchEntropy, switches};
use srft::ops::objective::{COLUMNS, Row, column, objective};
use srft::records::{Episode, Group, Origin, Role};

/// Largest error, relative to the largest value of its kind; TRL's advantages are f32 like the kernel.
const TOLERANCE: f64 = 1e-5;

/// What is compared, by its golden name.
const PARTS: [&str; 4] = ["advantages", "loss", "d_logprobs", "clip_fraction"];
/// The numbers of each part, group by group, response by response, token by token.
type Outcome = [Vec<f64>; PARTS.len()];

/// The rollouts that all configurations share.
struct Rollouts {
    groups: Vec<Group>,
    reward_stds: Vec<f64>, // one a group
    logprobs: Vec<f64>,    // [N], of the policy that trains
    base: Vec<f64>,        // [N], of the base
}

impl Rollouts {
    fn read(inputs: &Value) -> Self {
        let golden = list(&inputs["groups"]);
        let responses = golden.iter().flat_map(|group| list(&group["responses"]));
        let all = |key: &str| responses.clone().flat_map(|r| numbers(&r[key])).collect();
        Self {
            groups: golden.iter().enumerate().map(|(prompt, of)| group(prompt, of)).collect(),
            reward_stds: numbers(&inputs["reward_stds"]),
            logprobs: all("logprobs"),
            base: all("base_logprobs"),
        }
    }

    /// The groups with what a KL penalty in the reward takes off, as `Trainer::groups` does.
    fn penalised(&self, settings: &Objective) -> Vec<Group> {
        let mut groups = self.groups.clone();
        let mut base = self.base.iter();
        for episode in groups.iter_mut().flat_map(|group| &mut group.episodes) {
            let log_ratios = episode.logprobs.iter().zip(base.by_ref());
            let k1: f64 = log_ratios.map(|(&old, base)| f64::from(old) - base).sum();
            if settings.rollout_kl_in == KlIn::Reward {
                assert_eq!(settings.kl_form, KlForm::K1);
                episode.kl = (settings.rollout_kl * k1) as f32;
            }
        }
        groups
    }

    /// srft's outcome, as if `epsilon` had been added to the standard deviations in place of
    /// [`EPSILON`].
    fn outcome(&self, settings: &Objective, epsilon: f64, device: &Device) -> Outcome {
        let groups = self.penalised(settings);
        let update = assemble(&groups, settings);
        let (mut given, mut rows, mut factors) = (Vec::new(), Vec::new(), Vec::new());
        let mut kept = 0;
        let mut sequences = update.sequences.iter();
        for (group, std) in groups.iter().zip(&self.reward_stds) {
            let rescaled = (std + EPSILON) / (std + epsilon);
            let factor = if settings.advantage_std { rescaled } else { 1.0 };
            for (episode, sequence) in group.episodes.iter().zip(sequences.by_ref()) {
                assert_eq!(sequence.role, Role::Rollout);
                let (start, len) = (given.len() as u32, sequence.loss_tokens() as u32);
                let mut terms = sequence.terms;
                terms.self_ratio = (f64::from(terms.self_ratio) * factor) as f32;
                rows.push(Row { start, len, demonstration: false, terms });
                for (t, &old) in sequence.old_logprobs.iter().enumerate() {
                    let acts = sequence.factors.get(t).map_or(1.0, |&acts| acts);
                    given.push([old, self.base[given.len()] as f32, acts]);
                }
                factors.push(factor);
                let masked = settings.truncated == Truncated::Masked && episode.truncated;
                kept += if masked { 0 } else { len };
            }
        }
        assert!(sequences.next().is_none(), "rollouts only");

        let n = given.len();
        let sampled = given.iter().map(|&[old, ..]| f64::from(old)).collect();
        // A configuration of Clip-Cov is of a step's first update.
        let logprobs = if settings.clip_cov > 0.0 { &sampled } else { &self.logprobs };
        let stats = logprobs.iter().flat_map(|&logp| [logp as f32, 0.0]).collect();
        let stats = Tensor::from_data(TensorData::new::<f32, _>(stats, [n, 2]), device);
        let given = Tensor::from_data(TensorData::new(given.concat(), [n, 3]), device);
        let got = objective(stats, given, &rows, &switches(settings, BatchEntropy::default()));
        let sums = floats(got.sums);
        let sum =
            |column: usize| sums.chunks(COLUMNS).map(|row| f64::from(row[column])).sum::<f64>();
        let advantages = update.advantages.concat().into_iter().zip(&factors).map(|(a, f)| a * f);
        let d_logprobs = floats(got.coefficients).chunks(2).map(|c| f64::from(c[0])).collect();
        let loss = sum(column::SELF) + sum(column::KL);
        [advantages.collect(), vec![loss], d_logprobs, vec![sum(column::CLIPPED) / f64::from(kept)]]
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
            entropies: numbers(&response["entropies"]).into_iter().map(|h| h as f32).collect(),
            truncated: response["truncated"] == true,
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

/// The numbers of a list of lists, however deep, in order; of null none.
fn leaves(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(leaves).collect(),
        Value::Null => Vec::new(),
        number => vec![number.as_f64().expect("a number")],
    }
}

fn library(configuration: &Value) -> Outcome {
    PARTS.map(|part| leaves(&configuration[part]))
}

/// GRPO with the `[objective]` settings of a configuration.
fn settings(objective: &Value) -> Objective {
    let settings = objective.as_object().expect("settings").iter();
    let settings = settings.map(|(key, value)| format!("{key} = {value}\n")).collect::<String>();
    config(&format!("[objective]\nmethod = \"grpo\"\n{settings}")).objective.clone()
}

/// The parts that differ, each with where.
fn differences(got: &Outcome, want: &Outcome) -> Vec<(&'static str, String)> {
    let differs = |((part, got), want): ((&'static str, &Vec<f64>), &Vec<f64>)| {
        if part == "clip_fraction" && want.is_empty() {
            return None; // the library counts otherwise
        }
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
    let (mut trl, mut verl) = (0, 0);
    for (name, configuration) in golden["configurations"].as_object().unwrap() {
        let settings = settings(&configuration["objective"]);
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
    assert_eq!(
        (trl, verl),
        (8 + 13, 10 + 6),
        "four losses of TRL and five of verl, with std and without"
    );
}

/// The comparison can fail: each setting moved by itself shows in the parts that it acts on.
#[test]
fn the_comparison_can_fail() {
    let golden = golden_json("losses/golden.json");
    let rollouts = Rollouts::read(&golden["inputs"]);
    let configuration = &golden["configurations"]["trl dapo, std"];
    let device = Device::flex();
    let differing = |objective: &Value, epsilon| -> Vec<&str> {
        let got = rollouts.outcome(&settings(objective), epsilon, &device);
        differences(&got, &library(configuration)).into_iter().map(|(part, _)| part).collect()
    };
    let cases = [
        ("clip_low", json!(0.3), &PARTS[1..]),
        ("clip_high", json!(0.2), &PARTS[1..]),
        ("aggregate", json!("sequence-mean"), &PARTS[1..3]),
        ("advantage_std", json!(false), &PARTS[..3]),
        ("ratio", json!("sequence"), &PARTS[1..]),
        ("clip", json!("weight"), &PARTS[1..]),
        ("dual_clip", json!(3.0), &PARTS[1..3]),
        ("rollout_kl", json!(0.1), &PARTS[1..3]),
        ("truncated", json!("masked"), &PARTS[1..]),
        ("top_entropy", json!(0.2), &PARTS[1..]),
        ("clip_cov", json!(1.0), &PARTS[1..]),
    ];
    assert_eq!(differing(&configuration["objective"], 1e-4), [""; 0]);
    for (key, value, parts) in cases {
        let mut moved = configuration["objective"].clone();
        moved[key] = value;
        assert_eq!(differing(&moved, 1e-4), parts, "{key}");
    }
    assert_eq!(differing(&configuration["objective"], EPSILON), PARTS[..3], "not rescaled");
}
