//! Files are read once, on all cores, and nobody can tell from what comes of it.

use crate::program::{Home, TRAIN};
use serde_json::json;
use srft::config::Config;
use srft::data::encode::encode;
use srft::data::source::{Problem, Source};
use srft::run::{Given, Reader, Watch, grader, model_folder};
use std::sync::{Arc, Mutex};

const INPUT: i32 = 2;

/// More rows than are read side by side.
const ROWS: usize = 5000;

/// What was told of the reading.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<(usize, usize)>>);

impl Watch for Told {
    fn reading(&self, _: &str, rows: usize, of: usize) {
        self.0.lock().unwrap().push((rows, of));
    }
}

fn rows(of: impl Fn(usize) -> serde_json::Value) -> String {
    (1..=ROWS).map(|line| format!("{}\n", of(line))).collect()
}

/// Tokens are those of an example encoded by itself, in the file's order, and they are kept.
#[test]
fn a_large_file_is_read_once_and_in_order() {
    let home = Home::new();
    let row =
        |n| json!({"prompt": format!("{n}="), "response": format!("{}", 2 * n), "answer": "1"});
    home.write("rows.jsonl", rows(row));
    let path = home.path("rows.jsonl");
    let settings = [format!("data.train=[{path:?}]"), format!("data.eval=[{path:?}]")];
    let layers: Vec<_> = settings.iter().map(|s| Config::setting(s).unwrap()).collect();
    let config = Config::resolve(&layers).unwrap();
    let folder = model_folder("tiny").unwrap();
    let tokenizer = folder.tokenizer().unwrap();
    let (_, model) = folder.text_and_shape().unwrap();
    let (grader, told) = (grader(&config).unwrap(), Arc::new(Told::default()));
    let given = Given { watch: Some(told.clone()), ..Given::default() };
    let mut reader = Reader::of(&config, &given, &folder, &tokenizer, &model, &grader).unwrap();
    let (source, suites) = reader.source_and_suites().unwrap();
    let Source::Examples(problems) = source else { panic!("a file was given") };
    assert_eq!((problems.all.len(), suites[0].problems.len()), (ROWS, ROWS));
    for (index, (problem, asked)) in problems.all.iter().zip(&suites[0].problems).enumerate() {
        assert_eq!(problem.example.prompt, format!("{}=", index + 1));
        let kept = |problem: &Problem| problem.encoded.as_ref().map(|e| e.prompt.clone());
        assert_eq!(kept(asked), kept(problem), "evaluation keeps its tokens too");
        if index % 500 == 0 {
            let alone = encode(&tokenizer, &model.eos_tokens, &problem.example).unwrap();
            assert_eq!(problem.encoded.as_ref(), Some(&alone));
        }
    }
    // `5000=` with a begin-of-text, and the longest response that may be sampled.
    assert_eq!(reader.longest(), Some(6 + config.rollout.max_new_tokens));
    let told = told.0.lock().unwrap();
    assert_eq!((told.first(), told.last()), (Some(&(0, ROWS)), Some(&(ROWS, ROWS))));
    assert!(told.len() > 4, "each file begins, goes on and ends: {told:?}");
}

/// Of several bad rows the first is named, whichever core came first.
#[test]
fn the_first_bad_row_is_named() {
    let home = Home::new();
    let answer = |line: usize| if line.is_multiple_of(1500) { "none" } else { "1" };
    home.write(
        "rows.jsonl",
        rows(|n| json!({"prompt": "1=", "response": "1", "answer": answer(n)})),
    );
    for _ in 0..3 {
        let train = format!("{TRAIN} --data rows.jsonl --verifier numeric --out run");
        home.fails(&train, INPUT, &["rows.jsonl:1500: ", "not a number"]);
    }
}
