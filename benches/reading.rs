//! Reading a file of conversations against the tokenizers library alone, on all cores:
//! `cargo bench --bench reading [-- MODEL_FOLDER [MEGABYTES]]`.
//!
//! Verifies that every example has the library's ids for its text, then times, in turn, the whole way
//! from the file's bytes to examples in tokens (parse, render, check, encode) and one pass of the library
//! over the same texts. The default folder is a golden one, whose tokenizer knows single characters; a
//! real model's says more.

#![allow(clippy::print_stdout, reason = "a bench is a program of its own")]

#[allow(dead_code, reason = "each bench uses a part")]
mod common;

use common::median;
use rayon::prelude::*;
use serde_json::json;
use srft::config::Config;
use srft::data::source::{Problem, Source};
use srft::run::{Reader, grader, model_folder};
use std::fmt::Write as _;
use std::time::Instant;

const ROUNDS: usize = 3;
const WORDS: [&str; 24] = [
    "the",
    "model",
    "reads",
    "a",
    "sum",
    "of",
    "numbers",
    "and",
    "then",
    "writes",
    "what",
    "it",
    "comes",
    "to",
    "step",
    "by",
    "because",
    "every",
    "term",
    "is",
    "carried",
    "over",
    "carefully",
    "answer",
];

/// Conversations of two to four turns, `megabytes` of them.
fn conversations(megabytes: usize) -> String {
    let (mut text, mut state) = (String::new(), 1u64);
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % below
    };
    while text.len() < megabytes * 1_000_000 {
        let turns = 2 * (1 + draw(2));
        let messages: Vec<_> = (0..turns)
            .map(|turn| {
                let mut content = String::new();
                for word in 0..20 + draw(200) {
                    match draw(9) {
                        0 => write!(content, " {} + {} =", draw(1000), draw(100)),
                        1 => write!(content, ", {}é.", WORDS[draw(24)]),
                        _ if word == 0 => write!(content, "{}", WORDS[draw(24)]),
                        _ => write!(content, " {}", WORDS[draw(24)]),
                    }
                    .expect("a string takes all");
                }
                json!({"role": if turn % 2 == 0 { "user" } else { "assistant" }, "content": content})
            })
            .collect();
        writeln!(text, "{}", json!({ "messages": messages })).expect("a string takes all");
    }
    text
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let folder = arguments.first().map_or("tests/golden/qwen2-sharded", String::as_str);
    let megabytes = arguments.get(1).map_or(100, |n| n.parse().expect("a number of megabytes"));
    let home = tempfile::tempdir().expect("a folder");
    let path = home.path().join("conversations.jsonl");
    std::fs::write(&path, conversations(megabytes)).expect("room for the file");
    let settings = [
        format!("model.path={folder:?}"),
        format!("data.train=[{path:?}]"),
        "objective.method=\"sft\"".into(),
        "data.too_long=\"cut\"".into(),
    ];
    let layers: Vec<_> = settings.iter().map(|s| Config::setting(s).expect(s)).collect();
    let config = Config::resolve(&layers).expect("a config");
    let folder = model_folder(folder).expect("a model folder");
    let ours = folder.tokenizer().expect("a tokenizer");
    let (_, shape) = folder.text_and_shape().expect("a model's config");
    let grader = grader(&config).expect("a grader");
    let read = || {
        let began = Instant::now();
        let mut reader = Reader::new(&config, &folder, &ours, &shape, &grader).expect("a reader");
        let (source, _) = reader.source_and_suites().expect("a file that can be read");
        (source, began.elapsed().as_secs_f64())
    };
    let Source::Examples(problems) = read().0 else { unreachable!("a file was given") };
    let text = |p: &Problem| {
        let demonstration = p.example.demonstration.as_deref().unwrap_or_default();
        [&p.example.prompt, demonstration].concat()
    };
    let texts: Vec<String> = problems.all.iter().map(text).collect();
    let theirs = tokenizers::Tokenizer::from_bytes(&folder.tokenizer).expect("a tokenizer");
    let encode = || {
        let began = Instant::now();
        let encoded = texts.par_iter().map(|t| theirs.encode(t.as_str(), false).expect("ids"));
        let ids: Vec<Vec<u32>> = encoded.map(|e| e.get_ids().to_vec()).collect();
        (ids, began.elapsed().as_secs_f64())
    };
    for (problem, ids) in problems.all.iter().zip(encode().0) {
        let encoded = problem.encoded.as_ref().expect("tokens are kept");
        let shown = encoded.demonstration.as_deref().unwrap_or_default();
        let all = [&encoded.prompt, &encoded.earlier, shown].concat();
        assert!(ids.starts_with(&all), "{:?}", problem.example.prompt);
    }
    let bytes: usize = texts.iter().map(String::len).sum();
    println!("{} conversations, {} MB of text, ids equal", texts.len(), bytes / 1_000_000);
    let (mut whole, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(encode().1);
        whole.push(read().1);
    }
    let (whole, alone) = (median(whole), median(alone));
    let speed = |secs: f64| bytes as f64 / 1e6 / secs;
    println!("the library alone: {alone:.1} s, {:.2} MB/s", speed(alone));
    println!("reading the file:  {whole:.1} s, {:.2} MB/s", speed(whole));
    println!("ratio: {:.2}", whole / alone);
}
