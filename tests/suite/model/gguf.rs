//! Models in GGUF against the folders that they were made from, and training over them
//! (`tests/golden/make_gguf_read.py`).

use crate::backends::devices;
use crate::common::golden_path;
use crate::models::{Golden, each, uncached_logits};
use crate::program::{Home, stderr};
use serde_json::Value;
use srft::config::Frozen;
use srft::model::{Llama, ModelFolder};

const INPUT: i32 = 2;
const TRAIN: &str = "train --device cpu --data sums.jsonl --eval-data sums.jsonl --verifier exact \
     --set rollout.prompts=2 --set rollout.group=2 --set rollout.max_new_tokens=4";
const SCORE: &str = "score --device cpu --data sums.jsonl --out scores.jsonl --overwrite --model";

fn gguf(name: &str) -> ModelFolder {
    ModelFolder::read(&golden_path(&format!("gguf-read/{name}.gguf"))).unwrap()
}

#[test]
fn logits_are_those_of_the_folder_to_the_last_bit() {
    for (name, file) in [
        ("llama-gqa", "llama-gqa"),
        ("llama3-rope", "llama3-rope"),
        ("llama-linear", "llama-linear-00002-of-00003"), // any of the parts
        ("mistral", "mistral"),
        ("qwen2", "qwen2"),
        ("qwen3", "qwen3"),
        ("gemma3", "gemma3"),
        ("qwen2-sharded", "qwen2-bf16"),
    ] {
        each(&[name], |what, golden, device| {
            let logits = |model: &Llama| uncached_logits(model, &golden.rows, golden.positions);
            for frozen in [Frozen::F32, Frozen::Stored] {
                let (given, _) = golden.folder.load_frozen(frozen, device).unwrap();
                let (model, _) = gguf(file).load_frozen(frozen, device).unwrap();
                assert_eq!(logits(&model), logits(&given), "{what}, {frozen:?}");
            }
        });
    }
}

/// Against transformers over the same numbers.
#[test]
fn quantised_matrices_are_the_numbers_that_they_stand_for() {
    let golden = Golden::of("gguf-read/mixed", "llama-gqa");
    for (backend, device) in devices() {
        golden.check_scores(backend, &gguf("mixed").load(&device).unwrap().0);
    }
}

/// A home with `m.gguf`, quantised, and sums.
fn home() -> Home {
    let home = Home::new();
    home.write("m.gguf", std::fs::read(golden_path("gguf-read/mixed.gguf")).unwrap());
    let line =
        |n: u32| format!(r#"{{"prompt": "{n}+1=", "response": "{n}", "answer": "{n}"}}"#) + "\n";
    home.write("sums.jsonl", (0..10).map(line).collect::<String>());
    home
}

fn scores(home: &Home, model: &str) -> Vec<Value> {
    home.succeeds(&format!("{SCORE} {model}"));
    home.lines("scores.jsonl")
}

/// Adapters train over it; they and the folder that it is widened to are read by themselves.
#[test]
fn a_run_over_a_gguf_file_is_resumed_and_saved() {
    let home = home();
    let train = format!("{TRAIN} --model m.gguf --lora-rank 2 --set optimizer.lr=0.1");
    home.succeeds(&format!(
        "{train} --steps 2 --set checkpoint.every=1 --set checkpoint.keep=9 --out whole"
    ));
    let last = "whole/checkpoints/step-000002";
    let weights = || home.read(&format!("{last}/adapter_model.safetensors"));
    let whole = weights();
    std::fs::remove_dir_all(home.path(last)).unwrap();
    home.succeeds("train --resume whole");
    assert!(weights() == whole, "resumed bit for bit");
    let base = scores(&home, "m.gguf");
    let adapted = scores(&home, "whole/best");
    assert_ne!(base, adapted);
    home.succeeds("merge --model m.gguf --out wide");
    let names = [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(home.names("wide"), names);
    assert_eq!(scores(&home, "wide"), base);
    home.succeeds("merge --model whole/best --out merged");
    assert_eq!(scores(&home, "merged").len(), adapted.len());
    home.succeeds(&format!("{TRAIN} --steps 1 --model wide --out of-wide"));
    // Another file of that name is noticed.
    home.write("m.gguf", std::fs::read(golden_path("gguf-read/llama-gqa.gguf")).unwrap());
    std::fs::remove_dir_all(home.path(last)).unwrap();
    home.fails("train --resume whole", INPUT, &["model.path: m.gguf", "--accept-changes"]);
}

#[test]
fn what_cannot_be_done_with_a_gguf_file_is_said() {
    let home = home();
    let words = ["m.gguf", "Q8_0", "--lora-rank 16", "srft merge --model m.gguf"];
    home.fails(&format!("{TRAIN} --model m.gguf --out run"), INPUT, &words);
    assert!(!home.path("run/config.toml").exists());
    let whole = home.read("m.gguf");
    home.write("cut.gguf", &whole[..whole.len() - 200]);
    home.fails(&format!("{SCORE} cut.gguf"), INPUT, &["cut.gguf", "the file ends at", "cut short"]);
    home.write("text.gguf", "not one");
    home.fails(&format!("{SCORE} text.gguf"), INPUT, &["text.gguf", "the four letters GGUF"]);
    home.fails(&format!("{SCORE} none.gguf"), INPUT, &["none.gguf", "check the path"]);
    for part in ["1", "2"] {
        let name = format!("llama-linear-0000{part}-of-00003.gguf");
        home.write(&name, std::fs::read(golden_path(&format!("gguf-read/{name}"))).unwrap());
    }
    let words = ["llama-linear-00003-of-00003.gguf", "copy them all here"];
    home.fails(&format!("{SCORE} llama-linear-00001-of-00003.gguf"), INPUT, &words);
    let output = home.command("plan --device cpu --model m.gguf --lora-rank 2").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    // Ollama keeps files under names without an ending.
    home.write("sha256-0123", &whole);
    assert_eq!(scores(&home, "sha256-0123"), scores(&home, "m.gguf"));
}
