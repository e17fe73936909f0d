//! A model and data by their names on the hub, through the program.

use crate::program::Home;
use crate::server::{Repo, Server};
use std::process::Command;

const SETTINGS: &str =
    "--set rollout.prompts=2 --set rollout.group=3 --set rollout.max_new_tokens=4";

/// A repository of a home's files.
fn repo(home: &Home, commit: char, files: &[(&str, &str)]) -> Repo {
    let read: Vec<(&str, Vec<u8>)> =
        files.iter().map(|(to, from)| (*to, home.read(from))).collect();
    Repo::new(commit, &read.iter().map(|(to, bytes)| (*to, &bytes[..])).collect::<Vec<_>>())
}

#[test]
fn a_run_keeps_the_commits_that_it_began_with() {
    let (home, server) = (Home::with_sums(), Server::new());
    let names = ["config.json", "model.safetensors", "tokenizer.json"];
    let model = names.map(|name| (name, format!("model/{name}")));
    let model: Vec<(&str, &str)> = model.iter().map(|(to, from)| (*to, &**from)).collect();
    server.put("models/org/m", repo(&home, 'a', &model));
    let data = [("train.jsonl", "sums.jsonl"), ("test.jsonl", "sums.jsonl")];
    server.put("datasets/org/d", repo(&home, 'b', &data));
    let run = |arguments: &str| {
        let mut command: Command = home.command(arguments);
        command
            .env("HF_ENDPOINT", &server.address)
            .env("HF_HOME", home.path("hf"))
            .env_remove("HF_TOKEN");
        command.env_remove("HF_HUB_CACHE").env_remove("HF_HUB_OFFLINE");
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap(), error)
    };
    let train = format!("train --device cpu {SETTINGS}");
    let from = "--model org/m --data org/d --eval-data org/d --lora-rank 2 --steps 1 --out run";
    let (code, error) = run(&format!("{train} {from} --offline"));
    assert!(code == 2 && error.contains("nothing is downloaded"), "{error}");
    let (code, error) = run(&format!("{train} {from}"));
    assert_eq!(code, 0, "{error}");
    assert!(error.contains("downloading model.safetensors"), "{error}");
    let config = String::from_utf8(home.read("run/config.toml")).unwrap();
    let (a, b) = ("a".repeat(40), "b".repeat(40));
    for pinned in
        [format!("org/m@{a}"), format!("org/d:train.jsonl@{b}"), format!("org/d:test.jsonl@{b}")]
    {
        assert!(config.contains(&format!("\"{pinned}\"")), "{pinned}: {config}");
    }
    let adapter: serde_json::Value =
        serde_json::from_slice(&home.read("run/best/adapter_config.json")).unwrap();
    assert_eq!(adapter["base_model_name_or_path"], "org/m");
    assert_eq!(adapter["revision"], a.as_str());
    // The branches move; nobody is asked about the commits.
    server.put("models/org/m", Repo::new('c', &[("config.json", b"{}")]));
    server.put("datasets/org/d", Repo::new('d', &[("train.jsonl", b"{}")]));
    server.asked();
    let eval = format!(
        "eval --device cpu {SETTINGS} --set eval.examples=2 --model run/best --data org/d:test.jsonl@{b}"
    );
    for again in [format!("{train} --resume run"), eval] {
        let (code, error) = run(&again);
        assert_eq!(code, 0, "{again}: {error}");
    }
    assert_eq!(server.asked(), [""; 0]);
    let (code, error) = run("generate --device cpu --model org/none 1+1=");
    assert!(
        code == 2 && error.contains("org/none: no model of this path is here, and none"),
        "{error}"
    );
}
