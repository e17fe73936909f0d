//! What several runs of a lab hold of the base that they share, counted on the CPU backend.

use super::{COUNTED, MODEL};
use crate::alone::alone;
use burn::tensor::Device;
use pollster::block_on;
use srft::config::Storage;
use srft::model::{Llama, ModelConfig, ModelFolder};
use srft_page::lab::protocol::{Command, Event, RunRequest, Start};
use srft_page::lab::{Brought, Lab};
use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

/// The base in halves, which is how it is stored.
const BASE_BYTES: usize = 10 << 20;

#[test]
fn runs_side_by_side_hold_one_base() {
    alone("memory::base::runs_side_by_side_hold_one_base", held_once);
}

fn held_once() {
    let home = tempfile::tempdir().unwrap();
    let shape = ModelConfig::from_json(MODEL.as_bytes(), "test").unwrap();
    let (model, path) = (Llama::random(shape, 1, &Device::flex()), home.path().join("base"));
    let tokenizer = ModelFolder::tiny().tokenizer;
    let folder = ModelFolder::of_parts("test", MODEL.into(), Vec::new(), tokenizer);
    block_on(folder.save(&path, &model, Storage::Bf16)).unwrap();
    drop((model, folder));
    let one = held(&path, 1);
    let four = held(&path, 4);
    assert!(one > BASE_BYTES, "{one} bytes: the base is in memory");
    assert!(four < one + BASE_BYTES / 2, "{four} bytes of four runs, {one} of one");
}

/// Bytes that a lab holds with so many runs over the model in `path`, each after a step.
fn held(path: &Path, count: usize) -> usize {
    let home = tempfile::tempdir().unwrap();
    let before = COUNTED.current_usage();
    let ready = Rc::new(Cell::new(false));
    let told = ready.clone();
    let emit = Box::new(move |event, _| match event {
        Event::Ready(_) => told.set(true),
        Event::Error(error) => panic!("{error:?}"),
        _ => {}
    });
    let mut lab = Lab::with(home.path().join("runs"), Box::new(Brought::new()), emit);
    let settings = [
        &format!("model.path={}", path.display()),
        "lora.rank=1",
        "rollout.prompts=1",
        "rollout.group=2",
        "rollout.max_new_tokens=4",
        "eval.every=0",
        "data.verifier=exact",
    ];
    let run = RunRequest { method: "sft".into(), settings: Vec::new() };
    let start = Start {
        device: "cpu".into(),
        settings: settings.map(String::from).to_vec(),
        runs: vec![run; count],
    };
    block_on(lab.handle(Command::Start(start), None));
    assert!(ready.get());
    block_on(lab.handle(Command::Step { to: None }, None));
    while lab.is_busy() {
        block_on(lab.advance());
    }
    COUNTED.current_usage() - before
}
