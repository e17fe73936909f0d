//! Bad input and bad luck, through the program: the exit code (2 input, 3 machine, 4 numbers), a
//! message with place, reason and next step, no panic, and nothing lost that was saved.

mod program;

use program::{Home, TRAIN, assert_error, assert_same_run};
use serde_json::{Value, json};
use std::fs;

const INPUT: i32 = 2;
const MACHINE: i32 = 3;
const NUMBERS: i32 = 4;

/// The header (JSON) and the data of a safetensors file.
fn parts(bytes: &[u8]) -> (Value, Vec<u8>) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + length]).unwrap(), bytes[8 + length..].to_vec())
}

fn joined(header: &Value, data: &[u8]) -> Vec<u8> {
    let text = header.to_string();
    let length = (text.len() as u64).to_le_bytes();
    [&length[..], text.as_bytes(), data].concat()
}

#[test]
fn a_model_folder_that_is_missing_or_malformed() {
    let home = Home::new();
    let config: Value = serde_json::from_slice(&home.read("model/config.json")).unwrap();
    let weights = home.read("model/model.safetensors");
    let refused = |file: &str, contents: Option<Vec<u8>>, code: i32, words: &[&str]| {
        let whole = home.read(&format!("model/{file}"));
        match contents {
            Some(bytes) => home.write(&format!("model/{file}"), bytes),
            None => fs::remove_file(home.path("model").join(file)).unwrap(),
        }
        let place = format!("model/{file}");
        let words: Vec<&str> = words.iter().copied().chain([place.as_str()]).collect();
        home.fails("generate --device cpu --model model 1+1=", code, &words);
        home.fails(&format!("{TRAIN} --out run"), code, &words);
        assert!(!home.path("run").exists(), "a run that cannot begin leaves no folder");
        home.write(&format!("model/{file}"), whole);
    };
    home.fails("generate --device cpu --model nowhere 1", INPUT, &["nowhere/config.json"]);
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        refused(file, None, INPUT, &["No such file"]);
    }

    refused("config.json", Some(b"{\"model_type\": ".to_vec()), INPUT, &["EOF"]);
    refused("config.json", Some(b"[]".to_vec()), INPUT, &["expected the config.json"]);
    for (key, value, word) in [
        ("model_type", json!("mamba"), "mamba"),
        ("hidden_size", json!(32), "model.embed_tokens.weight"),
        ("vocab_size", json!(9), "vocabulary of 9"),
        ("vocab_size", json!(1_000_000), "[1000000, 16]"),
        ("hidden_size", json!(1_000_000_000_000u64), "hidden_size"),
        ("num_hidden_layers", json!(2), "model.layers.1."),
        ("num_hidden_layers", json!(1_000_000), "model.layers.999999."),
        ("num_hidden_layers", json!(-1), "invalid value"),
        ("intermediate_size", json!(25), "mlp.down_proj"),
        ("num_key_value_heads", json!(2), "self_attn.k_proj"),
        ("tie_word_embeddings", json!(false), "lm_head.weight"),
        ("attention_bias", json!(true), "bias"),
        ("rope_scaling", json!({"rope_type": "yarn"}), "rope_scaling"),
        ("max_position_embeddings", json!(1u64 << 40), "max_position_embeddings"),
        ("eos_token_id", json!(400), "eos_token_id"),
    ] {
        let mut changed = config.clone();
        changed[key] = value;
        // Where the two files disagree, either may be named.
        let whole = home.read("model/config.json");
        home.write("model/config.json", changed.to_string());
        home.fails("generate --device cpu --model model 1+1=", INPUT, &["model", word]);
        home.write("model/config.json", whole);
    }

    let (header, data) = parts(&weights);
    let norm = "model.norm.weight";
    let altered = |change: &dyn Fn(&mut Value)| {
        let mut header = header.clone();
        change(&mut header);
        Some(joined(&header, &data))
    };
    let whole = "not a whole safetensors file";
    for cut in [0, 4, 8, 60, weights.len() - 1] {
        refused("model.safetensors", Some(weights[..cut].to_vec()), INPUT, &[whole]);
    }
    for length in [u64::MAX, weights.len() as u64, 3] {
        let lying = [&length.to_le_bytes()[..], &weights[8..]].concat();
        refused("model.safetensors", Some(lying), INPUT, &[whole]);
    }
    let beyond = altered(&|h| h[norm]["data_offsets"][1] = json!(1u64 << 60));
    refused("model.safetensors", beyond, INPUT, &[whole]);
    let longer = altered(&|h| h[norm]["shape"] = json!([17]));
    refused("model.safetensors", longer, INPUT, &[whole]);
    let flat = altered(&|h| h[norm]["shape"] = json!([4, 4]));
    refused("model.safetensors", flat, INPUT, &[norm, "[4, 4], expected [16]"]);
    let integers = altered(&|h| h[norm]["dtype"] = json!("I32"));
    refused("model.safetensors", integers, INPUT, &[norm, "I32", "supported"]);
    let renamed = altered(&|h| {
        let tensor = h.as_object_mut().unwrap().remove(norm).unwrap();
        h["model.norm.wait"] = tensor;
    });
    refused("model.safetensors", renamed, INPUT, &[norm, "is missing"]);
    let mut header = header.clone();
    let end = data.len();
    header["extra"] = json!({"dtype": "F32", "shape": [1], "data_offsets": [end, end + 4]});
    let extra = joined(&header, &[&data[..], &[0; 4]].concat());
    refused("model.safetensors", Some(extra), INPUT, &["`extra` is not part"]);

    for (value, word) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let mut bad = weights.clone();
        bad.splice(weights.len() - 4.., value.to_le_bytes());
        refused("model.safetensors", Some(bad), NUMBERS, &["tensor `model.", word]);
    }

    refused("tokenizer.json", Some(b"{}".to_vec()), INPUT, &["tokenizer.json that can be read"]);
    let tokenizer = String::from_utf8(home.read("model/tokenizer.json")).unwrap();
    let larger = tokenizer.replace(r#""s": 22"#, r#""s": 22, "t": 23"#);
    assert_ne!(larger, tokenizer);
    home.write("model/tokenizer.json", larger);
    let words = ["24 tokens", "vocabulary of 23", "belongs to this model"];
    home.fails("generate --device cpu --model model 1+1=", INPUT, &words);
}

const GOOD: &str = r#"{"prompt": "2+2=", "response": "2+2=4", "answer": "4"}"#;

#[test]
fn data_that_cannot_be_used() {
    let home = Home::new();
    home.fails(&format!("{TRAIN} --data no.jsonl"), INPUT, &["no.jsonl", "No such file"]);
    home.fails("score --device cpu --model model --out o", INPUT, &["--data F.jsonl"]);
    let long = format!(r#"{{"prompt": "{}", "response": "4", "answer": "4"}}"#, "1".repeat(70));
    let winded = format!(r#"{{"prompt": "1", "response": "{}", "answer": "4"}}"#, "1".repeat(70));
    for (line, words) in [
        ("{\"prompt\": ", "column"),
        ("[1, 2]", "expected an object"),
        ("", "blank line"),
        (r#"{"prompt": "1", "response": "1", "answr": "1"}"#, "known one is `answer`"),
        (r#"{"prompt": "1", "prompt": "2"}"#, "twice"),
        (r#"{"prompt": 1}"#, "expected a string"),
        (r#"{"prompt": "", "response": "1", "answer": "1"}"#, "`prompt` is empty"),
        (r#"{"prompt": "1", "answer": "1"}"#, "no `response`"),
        (r#"{"prompt": "1", "response": "1"}"#, "no `answer`"),
        (r#"{"prompt": "1+x=", "response": "1", "answer": "1"}"#, "no token for 'x'"),
        (r#"{"prompt": "1", "response": "1 + 1", "answer": "1"}"#, "no token for ' '"),
        (r#"{"prompt": "1", "response": "1", "answer": "one"}"#, "is not a number"),
        (long.as_str(), "71 prompt and 2 response tokens; the model takes 64"),
        (winded.as_str(), "2 prompt and 71 response tokens; the model takes 64"),
    ] {
        home.write("bad.jsonl", format!("{GOOD}\n{GOOD}\n{line}\n{GOOD}\n"));
        home.write("good.jsonl", GOOD);
        let data = "--data bad.jsonl --eval-data good.jsonl --verifier numeric";
        home.fails(&format!("{TRAIN} {data} --out run"), INPUT, &["bad.jsonl:3: ", words]);
    }
    // Evaluation needs no response; everything else it needs as well.
    home.write("bad.jsonl", format!("{GOOD}\n{}\n", r#"{"prompt": "1+x=", "answer": "1"}"#));
    for command in
        ["eval --device cpu --model model", &format!("{TRAIN} --data good.jsonl --out run")]
    {
        let words = ["bad.jsonl:2: ", "no token for 'x'"];
        home.fails(&format!("{command} --eval-data bad.jsonl"), INPUT, &words);
    }
    let score = "score --device cpu --model model --out o.jsonl --data bad.jsonl";
    home.fails(score, INPUT, &["bad.jsonl:2: ", "no `response`"]);
    assert!(!home.path("o.jsonl").exists());

    for contents in [&b""[..], b"\n\n"] {
        home.write("empty.jsonl", contents);
        home.fails(&format!("{TRAIN} --data empty.jsonl"), INPUT, &["empty.jsonl", "no examples"]);
    }
    home.write("latin.jsonl", b"{\"prompt\": \"1\"}\n{\"prompt\": \"\xE9\"}\n");
    home.fails(&format!("{TRAIN} --data latin.jsonl"), INPUT, &["latin.jsonl:2", "UTF-8"]);
    let few = ["good.jsonl", "leave none to evaluate on", "--eval-data"];
    home.fails(&format!("{TRAIN} --data good.jsonl"), INPUT, &few);
    home.fails(&format!("{TRAIN} --eval-data good.jsonl"), INPUT, &["add --data"]);
    assert!(!home.path("run").exists() && !home.path("runs").exists());
}

#[test]
fn settings_that_cannot_be_used() {
    let home = Home::new();
    for (text, words) in [
        ("[optimizer]\nlr = = 1\n", ["c.toml:2", "TOML"]),
        ("[optimizer]\nlearnrate = 1\n", ["c.toml", "did you mean `optimizer."]),
        ("[optimiser]\nlr = 1\n", ["c.toml", "did you mean `optimizer`"]),
        ("[train]\nlr = 1\n", ["c.toml", "did you mean `optimizer.lr`"]),
        ("lr = 1\n", ["c.toml", "unknown section `lr`"]),
        ("[optimizer]\nlr = \"fast\"\n", ["c.toml: optimizer.lr", "expected float"]),
        ("[rollout]\ngroup = 2.5\n", ["c.toml: rollout.group", "expected integer"]),
        ("[rollout]\ngroup = -1\n", ["c.toml", "rollout.group"]),
        ("[rollout]\ngroup = 0\n", ["rollout.group", "at least 1"]),
        ("[rollout]\ngroup = 100000000\n", ["rollout.prompts", "million"]),
        ("[optimizer]\nlr = inf\n", ["optimizer.lr", "finite"]),
        ("[train]\nsteps = 0\n", ["train.steps", "at least 1"]),
        ("[objective]\nmethod = \"ppo\"\n", ["c.toml", "one of: srft"]),
        ("[objective]\nself_term = \"both\"\n", ["objective.self_term", "`signed`"]),
        ("[data]\ntask = \"chess\"\n", ["chess", "arithmetic"]),
        ("[run]\ndevice = \"abacus\"\n", ["abacus", "srft devices"]),
    ] {
        home.write("c.toml", text);
        home.fails("train --model model --config c.toml", INPUT, &words);
    }
    home.fails("config --config none.toml", INPUT, &["none.toml", "No such file"]);
    home.fails("config --set lr=1", INPUT, &["section.key=value", "--set optimizer.lr"]);
    home.fails("config --set optimizer.lr=", INPUT, &["--set optimizer.lr=", "expected float"]);
    home.fails("config --verifier fuzzy", INPUT, &["--verifier", "`exact`"]);
    home.fails("config --method ppo", INPUT, &["--method", "srft-official"]);
    home.fails("generate --device cpu --model model --temperature -1 1", INPUT, &["temperature"]);
    home.fails("generate --device cpu --model model 1+x=", INPUT, &["no token for 'x'"]);
    let prompt = "1".repeat(64);
    let long = format!("generate --device cpu --model model {prompt}");
    home.fails(&long, INPUT, &["65 tokens", "1 to 63"]);
    assert!(!home.path("runs").exists());

    // What clap refuses has its own form: the flag, and a usage line for the next step.
    for (arguments, word) in [
        ("train --stepps 3", "--steps"),
        ("train --steps many", "--steps"),
        ("train --steps -1", "--steps"),
        ("train --seed -1", "--seed"),
        ("train --seed 9223372036854775808", "--seed"),
        ("train --out a --resume b", "--resume"),
        ("tarin", "train"),
        ("score --data x", "--out"),
    ] {
        let output = home.command(arguments).output().unwrap();
        let message = program::stderr(&output);
        assert_eq!(output.status.code(), Some(INPUT), "{arguments}: {message}");
        assert!(message.contains(word) && message.contains("error:"), "{arguments}: {message}");
    }
}

#[test]
fn episodes_that_cannot_be_explained() {
    let home = Home::new();
    let long = "1".repeat(70);
    home.write("e.jsonl", "\n");
    let explain = "explain --device cpu --model model --episodes e.jsonl";
    home.fails(explain, INPUT, &["e.jsonl: ", "no episodes"]);
    for (line, word) in [
        ("{}".to_string(), "missing field"),
        (r#"{"prompt": "1", "episodes": [{"response": "1"}]}"#.into(), "reward"),
        (r#"{"prompt": "x", "episodes": []}"#.into(), "no token for 'x'"),
        (format!(r#"{{"prompt": "1", "demonstration": "{long}", "episodes": []}}"#), "takes 64"),
    ] {
        home.write("e.jsonl", format!("{line}\n"));
        home.fails(explain, INPUT, &["e.jsonl:1: ", word]);
    }
}

#[test]
fn a_task_longer_than_the_model_is_refused() {
    let home = Home::new();
    home.write_model("short", json!({"max_position_embeddings": 16}));
    home.fails(&format!("{TRAIN} --model short --out run"), INPUT, &["the model takes 16"]);
}

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
        ("--set optimizer.lr=1e-5", "optimizer.lr"),
        ("--set rollout.temperature=0.5", "rollout.temperature"),
        ("--set eval.examples=9", "eval.examples"),
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
    rename("run/best", "run/best.old");
    fs::create_dir(home.path("run/best.partial")).unwrap();
    home.write("run/best.partial/model.safetensors", "half");
    rename("run/checkpoints/step-000004", "run/checkpoints/step-000004.partial");
    fs::remove_file(home.path("run/checkpoints/step-000004.partial/state.json")).unwrap();
    // A line cut short, as a crash of the whole machine can leave it.
    let mut metrics = home.read("run/metrics.jsonl");
    metrics.truncate(metrics.len() - 9);
    home.write("run/metrics.jsonl", metrics);
    home.succeeds("train --resume run");
    assert_same_run(&home, "whole", "run");
    assert_eq!(program::leftovers(&home.path("run")), Vec::<std::path::PathBuf>::new());
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

/// With no loss at all (GRPO, all rewards equal) the policy's entropy alone shows that it broke.
#[test]
fn a_broken_policy_without_any_loss_is_noticed_too() {
    let home = Home::new();
    // Right is whatever starts the very first response: rewards differ once, and the step is wild.
    let wild = "--set optimizer.lr=1e38 --set optimizer.warmup_steps=0 --set optimizer.clip_norm=0";
    let line = |a: u32| format!(r#"{{"prompt": "{a}+1=", "response": "1", "answer": "1"}}"#) + "\n";
    home.write("ones.jsonl", (0..9).map(line).collect::<String>());
    let data = "--data ones.jsonl --eval-data ones.jsonl --set rollout.max_new_tokens=2";
    let run = format!("{TRAIN} {data} {wild} --method grpo --set rollout.group=200 --steps 9");
    home.fails(&format!("{run} --out run"), NUMBERS, &["step 2: ", "not applied"]);
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_keeps_the_weights() {
    let home = Home::new();
    let run = "--steps 9 --set optimizer.lr=1e30 --set optimizer.warmup_steps=0 --out run";
    let message = home.fails(&format!("{TRAIN} {run}"), NUMBERS, &["step 2: ", "not applied"]);
    let next = "srft train --model run/checkpoints/step-000001 --set optimizer.lr=";
    assert!(message.contains(next), "{message}");
    assert_eq!(home.lines("run/metrics.jsonl").len(), 1);
    home.succeeds("generate --device cpu --model run/checkpoints/step-000001 1+1=");
}

/// Every rollout gets the same reward: advantages are 0, and nothing is divided by it.
#[test]
fn equal_rewards_everywhere_are_no_reason_to_stop() {
    let home = Home::new();
    for method in ["srft", "grpo", "luffy"] {
        home.succeeds(&format!("{TRAIN} --method {method} --steps 2 --out {method}"));
        for line in home.lines(&format!("{method}/metrics.jsonl")) {
            assert_eq!(line["groups_all_wrong"], 1.0);
            assert!(line["loss"].as_f64().unwrap().is_finite(), "{line}");
        }
    }
    let last = home.lines("grpo/metrics.jsonl").pop().unwrap();
    assert_eq!(last["grad_norm"], 0.0, "GRPO has nothing to learn from it");
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    /// The disk fills up between two checkpoints. A limit on file sizes stands for it, with the
    /// signal for that switched off: the write fails, as on a full disk.
    #[test]
    fn a_full_disk_loses_nothing_that_was_saved() {
        let home = Home::new();
        let run = format!(
            "{TRAIN} --set optimizer.schedule=constant --set eval.every=2 \
             --set checkpoint.every=2 --set checkpoint.samples_every=0"
        );
        home.succeeds(&format!("{run} --steps 6 --out whole"));
        home.succeeds(&format!("{run} --steps 2 --out run"));
        let program = env!("CARGO_BIN_EXE_srft");
        let script =
            format!("trap '' XFSZ; ulimit -f 12; exec {program} train --resume run --steps 6");
        let output =
            Command::new("sh").args(["-c", &script]).current_dir(home.path("")).output().unwrap();
        let words = ["run/", "File too large", "free some space", "--resume"];
        assert_error(&output, &script, MACHINE, &words);
        assert_eq!(home.names("run/checkpoints"), ["step-000002"]);
        assert_eq!(program::leftovers(&home.path("run")), Vec::<std::path::PathBuf>::new());
        home.succeeds("generate --device cpu --model run/checkpoints/step-000002 1+1=");
        home.succeeds("train --resume run");
        assert_same_run_but_for_samples(&home);
    }

    fn assert_same_run_but_for_samples(home: &Home) {
        for run in ["whole", "run"] {
            home.write(&format!("{run}/samples.jsonl"), "");
        }
        assert_same_run(home, "whole", "run");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn no_space_left_for_the_summary_or_for_what_is_printed() {
        let home = Home::new();
        fs::create_dir(home.path("run")).unwrap();
        symlink("/dev/full", home.path("run/summary.json.partial")).unwrap();
        let run = format!("{TRAIN} --steps 2 --out run");
        home.fails(&run, MACHINE, &["run/summary.json", "No space left", "--resume"]);
        home.succeeds("train --resume run");
        assert!(home.path("run/summary.json").exists());

        let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = home.command("config").stdout(full()).output().unwrap();
        assert_error(&output, "config", MACHINE, &["standard output", "No space left"]);
        // A run does not stop for what it cannot say.
        let mut command = home.command(&format!("{TRAIN} --steps 2 --json --out quiet"));
        assert_eq!(command.stdout(full()).stderr(full()).status().unwrap().code(), Some(MACHINE));
        assert!(home.path("quiet/summary.json").exists());
    }

    #[test]
    fn a_reader_that_goes_away_stops_neither_listing_nor_run() {
        let home = Home::new();
        for arguments in ["config", &format!("{TRAIN} --steps 2 --json --out run")] {
            let mut child = home.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
            drop(child.stdout.take());
            assert!(child.wait().unwrap().success(), "{arguments}");
        }
        assert!(home.path("run/summary.json").exists());
    }

    #[test]
    fn a_folder_that_may_not_be_written_is_named() {
        let home = Home::new();
        let allow = |name: &str, mode| {
            fs::set_permissions(home.path(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        fs::create_dir(home.path("sealed")).unwrap();
        allow("", 0o755);
        allow("sealed", 0o555);
        let arguments = format!("{TRAIN} --out sealed/run");
        let mut command = home.command(&arguments);
        if fs::metadata(home.path("")).unwrap().uid() == 0 {
            // Root may write anywhere: run a copy that everyone can reach as nobody.
            fs::copy(env!("CARGO_BIN_EXE_srft"), home.path("srft")).unwrap();
            command = Command::new(home.path("srft"));
            command.args(arguments.split_whitespace()).current_dir(home.path("")).uid(65534);
        }
        let output = command.output().unwrap();
        allow("sealed", 0o755);
        assert_error(&output, &arguments, MACHINE, &["sealed/run", "ermission", "another folder"]);
    }

    #[test]
    fn two_processes_do_not_train_in_one_folder() {
        let home = Home::new();
        let run = format!("{TRAIN} --steps 400 --json --out run");
        let mut first = home.command(&run).stdout(Stdio::piped()).spawn().unwrap();
        let metrics = home.path("run/metrics.jsonl");
        while !metrics.exists() {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        // Nobody reads the pipe, so the first cannot end before it is killed.
        home.fails("train --resume run", INPUT, &["run", "another process"]);
        first.kill().unwrap();
        first.wait().unwrap();
        home.succeeds("train --resume run");
        assert_eq!(home.lines("run/metrics.jsonl").len(), 400);
    }
}
