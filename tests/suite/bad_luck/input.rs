//! What the user gives: model folders, data, settings, episodes.

use super::{INPUT, NUMBERS};
use crate::program::{Home, TRAIN, stderr};
use serde_json::{Value, json};
use std::fs;

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
        ("vocab_size", json!(100_000), "[100000, 16]"),
        ("vocab_size", json!(1_000_000), "1 to 400000"),
        ("hidden_size", json!(1_000_000_000_000u64), "hidden_size"),
        ("num_hidden_layers", json!(2), "model.layers.1."),
        ("num_hidden_layers", json!(1_000_000), "model.layers.999999."),
        ("num_hidden_layers", json!(-1), "is not a whole number"),
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
    let whole = "not a complete safetensors file";
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
        let message = stderr(&output);
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

#[test]
fn a_report_on_what_is_no_run() {
    let home = Home::new();
    home.fails("report nowhere", INPUT, &["nowhere", "no such folder"]);
    home.fails("report model", INPUT, &["model", "config.toml is missing"]);
    home.succeeds(&format!("{TRAIN} --steps 2 --out runs/a"));
    home.fails("report runs", INPUT, &["give one of its runs: runs/a"]);
    let metrics = String::from_utf8(home.read("runs/a/metrics.jsonl")).unwrap();
    home.write("runs/a/metrics.jsonl", metrics.replacen("\"lr\"", "\"rate\"", 1));
    home.fails("report runs/a", INPUT, &["runs/a/metrics.jsonl:1", "rate"]);
    assert!(!home.path("runs/a/report.html").exists());
}
