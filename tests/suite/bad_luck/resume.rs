//! What is found on disk when a run is taken up again.

use super::INPUT;
use crate::program::{Home, TRAIN, assert_same_run, leftovers};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// A finished run of four steps with two checkpoints, in `run`.
fn home_with_run() -> Home {
    let home = Home::new();
    let run = "--steps 4 --set checkpoint.every=2 --set eval.every=2 --out run";
    home.succeeds(&format!("{TRAIN} {run}"));
    assert_eq!(home.names("run/checkpoints"), ["step-000002", "step-000004"]);
    home
}

#[test]
fn what_is_no_run_cannot_be_resumed() {
    let home = Home::new();
    for folder in ["nowhere", "model", "model/config.json"] {
        home.fails(&format!("train --resume {folder}"), INPUT, &[folder, "no run is here"]);
    }
    home.write("model/config.toml", "this is no TOML");
    home.fails("train --resume model", INPUT, &["model/config.toml:1"]);
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_still_serves() {
    let home = home_with_run();
    home.succeeds(&format!("{TRAIN} --config run/config.toml --out whole"));
    let last = "run/checkpoints/step-000004";
    for file in home.names(last) {
        let path = format!("{last}/{file}");
        let whole = home.read(&path);
        let mut altered = whole.clone();
        altered[whole.len() / 2] ^= 1;
        for damaged in [Some(altered), Some(whole[..whole.len() / 2].to_vec()), Some(vec![]), None]
        {
            match damaged {
                Some(bytes) => home.write(&path, bytes),
                None => fs::remove_file(home.path(&path)).unwrap(),
            }
            let metrics = home.read("run/metrics.jsonl");
            home.fails("train --resume run", INPUT, &["step-000004", &file]);
            assert_eq!(
                home.read("run/metrics.jsonl"),
                metrics,
                "nothing is cut before all is well"
            );
        }
        home.write(&path, whole);
    }
    // As each of those messages says:
    fs::remove_dir_all(home.path(last)).unwrap();
    home.succeeds("train --resume run");
    assert_same_run(&home, "whole", "run");
}

#[test]
fn a_changed_state_is_noticed_whatever_was_changed() {
    let home = home_with_run();
    let path = "run/checkpoints/step-000004/state.json";
    let state: Value = serde_json::from_slice(&home.read(path)).unwrap();
    for (key, value) in [("step", json!(3)), ("best_accuracy", json!(0.5)), ("run", json!(1))] {
        let mut changed = state.clone();
        changed[key] = value;
        home.write(path, changed.to_string());
        home.fails("train --resume run", INPUT, &["step-000004: state.json", "checksum"]);
    }
    let mut newer = state.clone();
    newer["format"] = json!("srft-checkpoint-2");
    newer["more"] = json!(true);
    home.write(path, newer.to_string());
    let words = ["srft-checkpoint-2", "expected `srft-checkpoint-1`", "version of srft"];
    home.fails("train --resume run", INPUT, &words);
}

#[test]
fn a_checkpoint_of_another_model_or_run_is_refused() {
    let home = home_with_run();
    home.write_model("wide", json!({"hidden_size": 32}));
    let run = "--steps 4 --set checkpoint.every=2 --set eval.every=2";
    home.succeeds(&format!("{TRAIN} --model wide {run} --out other"));
    home.succeeds(&format!("{TRAIN} --seed 5 {run} --out seed"));
    for other in ["other", "seed"] {
        fs::remove_dir_all(home.path("run/checkpoints/step-000004")).unwrap();
        fs::rename(
            home.path(other).join("checkpoints/step-000004"),
            home.path("run/checkpoints/step-000004"),
        )
        .unwrap();
        let words = ["run/checkpoints/step-000004", "a run with other settings"];
        home.fails("train --resume run", INPUT, &words);
    }
}

#[test]
fn a_setting_that_would_make_it_another_run_is_refused_on_resume() {
    let home = home_with_run();
    for (flag, key) in [
        ("--seed 1", "run.seed"),
        ("--method grpo", "objective.method"),
        ("--steps 9", "train.steps"),
        ("--set optimizer.lr=2e-5", "optimizer.lr"),
        ("--set rollout.temperature=0.5", "rollout.temperature"),
        ("--set eval.examples=9", "eval.examples"),
        ("--set rollout.slots=2", "rollout.slots"),
        ("--model elsewhere", "model.path"),
    ] {
        let words = [key, "when the run began", "srft train --model"];
        home.fails(&format!("train --resume run {flag}"), INPUT, &words);
    }
    home.succeeds("train --resume run --set eval.every=1 --set checkpoint.keep=1 --device cpu");
}

#[test]
fn leftovers_of_a_crash_are_mended() {
    let home = home_with_run();
    home.succeeds(&format!("{TRAIN} --config run/config.toml --out whole"));
    // Killed between the two renames that replace `best`, and while writing and removing others.
    let rename = |from: &str, to: &str| fs::rename(home.path(from), home.path(to)).unwrap();
    rename("run/best", "run/.best.srft-old");
    fs::create_dir(home.path("run/.best.srft-partial")).unwrap();
    home.write("run/.best.srft-partial/model.safetensors", "half");
    let removed = "run/checkpoints/.step-000004.srft-partial";
    rename("run/checkpoints/step-000004", removed);
    fs::remove_file(home.path(removed).join("state.json")).unwrap();
    // A line cut short, as a crash of the whole machine can leave it.
    let mut metrics = home.read("run/metrics.jsonl");
    metrics.truncate(metrics.len() - 9);
    home.write("run/metrics.jsonl", metrics);
    home.succeeds("train --resume run");
    assert_same_run(&home, "whole", "run");
    assert_eq!(leftovers(&home.path("run")), Vec::<PathBuf>::new());
}

/// A study's base was refused for good when its process was killed in this moment.
#[test]
fn a_pretraining_that_was_killed_before_its_run_began_is_taken_up() {
    let home = home_with_run();
    for folder in ["base/.start.srft-partial", "base/run", "other/run"] {
        fs::create_dir_all(home.path(folder)).unwrap();
    }
    home.write("base/.start.srft-partial/model.safetensors", "half");
    home.write("base/run/.lock", "");
    home.succeeds(
        "pretrain --device cpu --shape model --steps 1 --set rollout.prompts=1 \
         --set eval.examples=1 --set rollout.max_new_tokens=2 --out base",
    );
    assert_eq!(leftovers(&home.path("base")), Vec::<PathBuf>::new());
    home.write("other/run/notes.txt", "mine");
    home.fails(
        "pretrain --device cpu --shape model --steps 1 --out other",
        INPUT,
        &["`run` is here"],
    );
}

#[test]
fn altered_metrics_are_not_gone_on_with() {
    let home = home_with_run();
    let text = String::from_utf8(home.read("run/metrics.jsonl")).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for altered in [lines[1..].concat(), [lines[0], lines[0], lines[1], lines[2]].concat()] {
        home.write("run/metrics.jsonl", altered);
        let words = ["run/metrics.jsonl", "steps 1 to 4"];
        home.fails("train --resume run", INPUT, &words);
    }
}

#[test]
fn a_run_is_not_overwritten() {
    let home = home_with_run();
    let words = ["run", "a run is already here", "srft train --resume run"];
    home.fails(&format!("{TRAIN} --out run"), INPUT, &words);
    home.fails(&format!("{TRAIN} --out model/config.json"), INPUT, &["model/config.json"]);
}
