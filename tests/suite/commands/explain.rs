//! `explain` and `score` on given episodes against numpy in f64 (`tests/golden/make_explain.py`):
//! every switch of the objective, on both backends and through the program.

use std::process::Command;

use crate::backends::{compare, devices};
use crate::common::{config, golden_json, golden_path, numbers, trainer_of};
use burn::tensor::Device;
use pollster::block_on;
use serde_json::{Value, json};
use srft::explain::{explain, parse_episodes};
use srft::model::ModelFolder;
use srft::score::score;
use srft::trainer::Trainer;

fn trainer(device: &Device) -> Trainer {
    trainer_of(&ModelFolder::read(&golden_path("explain/model")).unwrap(), device, "")
}

/// A variant's settings: presets by their name alone, so that the preset itself is held to the
/// numbers; the others as switches over `srft`.
fn settings(variant: &str, switches: &Value) -> String {
    if !variant.contains(',') {
        return format!("[objective]\nmethod = \"{variant}\"\n");
    }
    let mut text = "[objective]\n".to_string();
    for (switch, value) in switches.as_object().unwrap() {
        let value = if value == "sum/8192" { json!("sum-constant") } else { value.clone() };
        text += &format!("{switch} = {value}\n");
    }
    text
}

/// Relative to the value, or to 1e-3 where it is smaller: small terms count as much as large ones.
fn check(what: &str, got: &Value, expected: &Value) {
    for key in ["sft", "rl_demo", "self", "entropy", "total"] {
        let (got, expected) = (got[key].as_f64().unwrap(), expected[key].as_f64().unwrap());
        let error = (got - expected).abs() / expected.abs().max(1e-3);
        assert!(error < 1e-4, "{what} of {key}: got {got}, expected {expected}, error {error:e}");
    }
}

fn check_lists(what: &str, got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let error = (got - expected).abs() / expected.abs().max(1e-3);
        assert!(error < tolerance, "{what}[{i}]: got {got}, expected {expected}");
    }
}

/// The lists of one prompt; advantages come from rewards alone, in f64.
fn check_prompt(what: &str, got: &Value, expected: &Value) {
    for (key, tolerance) in [("advantages", 1e-9), ("entropy", 1e-4), ("w_rl", 1e-4)] {
        let lists = [got, expected].map(|v| numbers(&v[key]));
        check_lists(&format!("{what}: {key}"), &lists[0], &lists[1], tolerance);
    }
    let w_sft = [got, expected].map(|v| [v["w_sft"].as_f64().unwrap()]);
    check_lists(&format!("{what}: w_sft"), &w_sft[0], &w_sft[1], 1e-4);
}

#[test]
fn every_switch_gives_the_numbers_of_numpy() {
    let text = std::fs::read_to_string(golden_path("explain/episodes.jsonl")).unwrap();
    let expected = golden_json("explain/expected.json");
    for (backend, device) in devices() {
        let mut trainer = trainer(&device);
        for (variant, expected) in expected["variants"].as_object().unwrap() {
            let what = format!("{variant} on {backend}");
            trainer.learner.config = config(&settings(variant, &expected["switches"]));
            let mut groups = parse_episodes(&text, "episodes.jsonl", &trainer.learner).unwrap();
            let explanation = block_on(explain(&trainer.learner, &mut groups)).unwrap();
            let got = serde_json::to_value(&explanation).unwrap();
            check(&format!("{what}: value"), &got["terms"], &expected["terms"]);
            check(&format!("{what}: gradient norm"), &got["grad_norm"], &expected["grad_norm"]);
            let prompts = expected["prompts"].as_array().unwrap();
            assert_eq!(explanation.prompts.len(), prompts.len(), "{what}");
            for (i, expected) in prompts.iter().enumerate() {
                check_prompt(&format!("{what}, prompt {i}"), &got["prompts"][i], expected);
            }
        }
    }
}

fn tokens(list: &Value) -> Vec<u32> {
    numbers(list).iter().map(|&t| t as u32).collect()
}

fn floats(list: &Value) -> Vec<f32> {
    numbers(list).iter().map(|&v| v as f32).collect()
}

#[test]
fn scores_are_those_of_numpy_however_the_batch_is_cut() {
    let expected = golden_json("explain/expected.json");
    let groups = expected["sequences"].as_array().unwrap();
    let members = || groups.iter().flat_map(|g| g["members"].as_array().unwrap());
    let pairs: Vec<_> = groups
        .iter()
        .flat_map(|g| g["members"].as_array().unwrap().iter().map(move |m| (g, m)))
        .map(|(g, m)| (tokens(&g["prompt_tokens"]), tokens(&m["tokens"])))
        .collect();
    for (backend, device) in devices() {
        let trainer = trainer(&device);
        for micro_batch_tokens in [1, 70, 4096] {
            let scored =
                block_on(score(&trainer.learner.policy, pairs.clone(), micro_batch_tokens))
                    .unwrap();
            for (i, (scored, member)) in scored.iter().zip(members()).enumerate() {
                let what =
                    format!("{backend}, {micro_batch_tokens} tokens at a time, response {i}");
                compare(&what, &scored.logprobs, &numbers(&member["logprobs"]), 1e-4).unwrap();
                compare(&what, &scored.entropies, &numbers(&member["entropies"]), 1e-4).unwrap();
            }
        }
    }
}

fn srft(arguments: &[&str]) -> String {
    let model = golden_path("explain/model");
    let output = Command::new(env!("CARGO_BIN_EXE_srft"))
        .args(arguments)
        .args(["--device", "cpu", "--model"])
        .arg(model)
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_program_explains_a_file_as_one_batch() {
    let file = golden_path("explain/episodes.jsonl");
    let printed = srft(&["explain", "--json", "--episodes", file.to_str().unwrap()]);
    let got: Value = serde_json::from_str(&printed).expect("nothing but JSON on stdout");
    let expected = golden_json("explain/expected.json")["variants"]["srft"].take();
    check("value", &got["terms"], &expected["terms"]);
    check("gradient norm", &got["grad_norm"], &expected["grad_norm"]);
    let prompts = expected["prompts"].as_array().unwrap();
    for (i, expected) in prompts.iter().enumerate() {
        check_prompt(&format!("prompt {i}"), &got["prompts"][i], expected);
    }
    for key in ["advantages", "entropy", "w_rl"] {
        let flat: Vec<f64> = prompts.iter().flat_map(|p| numbers(&p[key])).collect();
        check_lists(key, &numbers(&got[key]), &flat, 1e-4);
    }
    let w_sft: Vec<f64> = prompts.iter().map(|p| p["w_sft"].as_f64().unwrap()).collect();
    check_lists("w_sft", &numbers(&got["w_sft"]), &w_sft, 1e-4);
}

#[test]
fn the_program_scores_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data.jsonl"), folder.path().join("out.jsonl"));
    let episodes = std::fs::read_to_string(golden_path("explain/episodes.jsonl")).unwrap();
    let expected = golden_json("explain/expected.json");
    let (mut lines, mut members) = (String::new(), Vec::new());
    for (line, group) in episodes.lines().zip(expected["sequences"].as_array().unwrap()) {
        let line: Value = serde_json::from_str(line).unwrap();
        let texts = line["episodes"].as_array().unwrap().iter().map(|e| &e["response"]);
        let all = texts.chain([&line["demonstration"]]).zip(group["members"].as_array().unwrap());
        // A data file has no empty responses.
        for (response, member) in all.filter(|(response, _)| *response != "") {
            lines += &format!("{}\n", json!({"prompt": line["prompt"], "response": response}));
            members.push(member);
        }
    }
    assert_eq!(members.len(), 14);
    std::fs::write(&data, lines).unwrap();
    srft(&["score", "--data", data.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    let scored = std::fs::read_to_string(&out).unwrap();
    assert_eq!(scored.lines().count(), members.len());
    for (i, (line, member)) in scored.lines().zip(members).enumerate() {
        let got: Value = serde_json::from_str(line).unwrap();
        assert_eq!(tokens(&got["tokens"]), tokens(&member["tokens"]));
        for key in ["logprobs", "entropies"] {
            let what = format!("{key} of response {i}");
            compare(&what, &floats(&got[key]), &numbers(&member[key]), 1e-4).unwrap();
        }
    }
}

/// A response that goes on from the demonstration's beginning: what was given is told apart, and carries no loss.
#[test]
fn what_was_given_is_told_apart() {
    let device = devices().remove(0).1;
    let mut trainer = trainer(&device);
    trainer.learner.config = config("[objective]\nmethod = \"bread\"");
    let parsed = |given: usize, response: &str| {
        let episodes = json!([
            {"response": response, "reward": 1.0, "given": given},
            {"response": ">9", "reward": -1.0},
        ]);
        let line = json!({"prompt": "1+1=", "demonstration": "1+1=2,>2", "episodes": episodes});
        parse_episodes(&line.to_string(), "e.jsonl", &trainer.learner)
    };
    let mut groups = parsed(5, "1+1=2>2").unwrap();
    let episode = &groups[0].episodes[0];
    assert_eq!((episode.given, &*episode.given_text, episode.tokens.len()), (5, "1+1=2", 3));
    assert_eq!(groups[0].read_before(episode).len(), groups[0].prompt_tokens.len() + 5);
    let explained = block_on(explain(&trainer.learner, &mut groups)).unwrap();
    assert_eq!(explained.prompts[0].given, ["1+1=2", ""]);
    assert_eq!(groups[0].episodes[0].logprobs.len(), 3);
    // Of the ratio form at ρ = 1, a mean over responses: −(Â − Â)/2.
    assert!(explained.terms.self_term.abs() < 1e-6 && explained.grad_norm.self_term > 0.0);
    for (given, response, complaint) in [
        (9, "1+1=2,>2", "9 tokens are given of a demonstration of 9"),
        (500, "1+1=2,>2", "500 tokens are given of a demonstration of 9"),
        (5, "1+1=3>3", "does not go on from the demonstration's first 5 tokens"),
        (5, "1+1", "does not go on from the demonstration's first 5 tokens"),
    ] {
        let error = parsed(given, response).unwrap_err();
        assert!(error.what.contains(complaint) && error.next.is_some(), "{error}");
        assert_eq!(error.place.as_deref(), Some("e.jsonl:1"));
    }
}
