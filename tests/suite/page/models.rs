//! Published models in a lab: brought as files, looked at, trained over adapters side by side, saved.

use crate::common::golden_path;
use crate::program::Home;
use pollster::block_on;
use serde_json::json;
use srft::config::Config;
use srft::device::select;
use srft::metrics::StepReport;
use srft::model::ModelFolder;
use srft::run::{OnFile, Run};
use srft_page::archive;
use srft_page::lab::protocol::{
    Answer, Command, Complaint, Event, Facts, Look, Ready, RunRequest, Start,
};
use srft_page::lab::{Brought, Lab};
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

type Heard = Rc<RefCell<Vec<(Event, Option<Vec<u8>>)>>>;

/// A lab for published models whose events are kept.
struct Tab {
    lab: Lab,
    heard: Heard,
    home: Home,
}

/// Two prompts, three rollouts.
const SMALL: [&str; 8] = [
    "rollout.prompts=2",
    "rollout.group=3",
    "rollout.max_new_tokens=4",
    "lora.rank=2",
    "optimizer.lr=0.05",
    "data.verifier=exact",
    "train.steps=4",
    "eval.examples=2",
];

impl Tab {
    /// With `m.gguf`, whose matrices are quantised, and sums, brought under their paths.
    fn new() -> Self {
        let mut tab = Self::empty();
        let line = |n: u32| {
            let (prompt, text) = (format!("{n}+1="), format!("{n}"));
            json!({"prompt": prompt, "response": text, "answer": text}).to_string() + "\n"
        };
        tab.bring("m.gguf", std::fs::read(golden_path("gguf-read/mixed.gguf")).unwrap());
        tab.bring("sums.jsonl", (0..10).map(line).collect::<String>());
        tab
    }

    fn empty() -> Self {
        let (heard, home) = (Heard::default(), Home::new());
        let ear = heard.clone();
        let emit = Box::new(move |event, bytes| ear.borrow_mut().push((event, bytes)));
        let lab = Lab::with(home.path("runs"), Box::new(Brought::new()), emit);
        Self { lab, heard, home }
    }

    fn at(&self, name: &str) -> String {
        self.home.path(name).display().to_string()
    }

    fn send(&mut self, command: Command, bytes: Option<Vec<u8>>) -> Vec<Event> {
        block_on(self.lab.handle(command, bytes));
        while self.lab.is_busy() {
            block_on(self.lab.advance());
        }
        self.heard.borrow_mut().drain(..).map(|(event, _)| event).collect()
    }

    fn bring(&mut self, name: &str, contents: impl AsRef<[u8]>) {
        let path = self.home.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let command = Command::Bring { name: path.display().to_string() };
        assert_eq!(self.send(command, Some(contents.as_ref().to_vec())), []);
    }

    fn look(&mut self, name: &str, settings: &[&str]) -> Result<Facts, Complaint> {
        let settings = settings.iter().map(|s| s.to_string()).collect();
        let look = Look { model: self.at(name), device: "cpu".into(), settings };
        match self.send(Command::Look(look), None).remove(0) {
            Event::Facts(facts) => Ok(facts),
            Event::Error(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    fn start(&mut self, model: &str, methods: &[&str], own: &[&str]) -> Result<Ready, Complaint> {
        let named = [
            format!("model.path={}", self.at(model)),
            format!("data.train={}", self.at("sums.jsonl")),
        ];
        let settings = SMALL.iter().chain(own).map(|s| s.to_string()).chain(named).collect();
        let run = |method: &&str| RunRequest { method: method.to_string(), settings: Vec::new() };
        let runs = methods.iter().map(run).collect();
        let start = Start { device: "cpu".into(), settings, runs };
        match self.send(Command::Start(start), None).remove(0) {
            Event::Ready(ready) => Ok(ready),
            Event::Error(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    /// A step of every run.
    fn step(&mut self) -> Vec<(u32, StepReport)> {
        let of = |event| match event {
            Event::Step { run, report } => Some((run, report.without_times())),
            Event::Error(error) => panic!("{error:?}"),
            _ => None,
        };
        self.send(Command::Step { to: None }, None).into_iter().filter_map(of).collect()
    }

    fn save(&mut self) -> Vec<u8> {
        block_on(self.lab.handle(Command::Save { adapters: true }, None));
        let (event, bytes) = self.heard.borrow_mut().pop().unwrap();
        assert!(matches!(event, Event::Saved { .. }), "{event:?}");
        bytes.expect("a file")
    }

    fn ask(&mut self, prompt: &str) -> Vec<Answer> {
        let ask = Command::Ask { prompt: prompt.into(), temperature: 0.0, tokens: Some(3) };
        match self.send(ask, None).remove(0) {
            Event::Sample { answers, .. } => answers,
            other => panic!("{other:?}"),
        }
    }
}

fn config_of(text: &str) -> Config {
    Config::resolve(&[Config::layer(text, "config.toml").unwrap()]).unwrap()
}

/// The native run opens the file for itself.
#[test]
fn runs_over_one_base_are_native_runs_bit_for_bit() {
    let mut tab = Tab::new();
    let whole = tab.home.read("m.gguf");
    let ready = tab.start("m.gguf", &["sft", "grpo", "srft"], &[]).unwrap();
    assert!(!tab.home.path("m.gguf").exists(), "its files are let go once it is loaded");
    let steps: Vec<(u32, StepReport)> = (0..3).flat_map(|_| tab.step()).collect();
    assert_eq!(steps.len(), 9);
    tab.home.write("m.gguf", whole);
    let selected = block_on(select("cpu")).unwrap();
    for (index, view) in (0..).zip(&ready.runs) {
        let path = tab.home.path(&format!("native-{}", view.method));
        let mut run = Run::create(config_of(&view.config), &selected, &path).unwrap();
        for (_, report) in steps.iter().filter(|(run, _)| *run == index) {
            block_on(run.advance(&mut ())).unwrap();
            let native = run.reports().unwrap().pop().unwrap();
            assert_eq!(&native.without_times(), report, "{}", view.method);
        }
    }
    assert!(steps.iter().any(|(_, report)| report.grad_norm > 0.0));
}

#[test]
fn saved_runs_go_on_natively_and_in_another_tab() {
    let mut tab = Tab::new();
    let whole = tab.home.read("m.gguf");
    tab.start("m.gguf", &["srft", "sft"], &[]).unwrap();
    tab.step();
    let file = tab.save();
    let expected = tab.step();

    // Another tab has the base under another path.
    let mut other = Tab::empty();
    let load = |tab: &mut Tab| {
        tab.send(Command::Load { device: "cpu".into(), settings: Vec::new() }, Some(file.clone()))
            .remove(0)
    };
    match load(&mut other) {
        Event::Error(error) => {
            assert!(error.what.contains("base of these runs is not here"), "{error:?}")
        }
        event => panic!("{event:?}"),
    }
    other.bring("elsewhere/m.gguf", &whole);
    let Event::Ready(ready) = load(&mut other) else { panic!("it has its base now") };
    assert_eq!(ready.step, 1);
    assert_eq!(other.step(), expected);

    tab.home.write("m.gguf", &whole);
    let home = tempfile::tempdir().unwrap();
    let unpacked = archive::unpack(&file, home.path()).unwrap();
    assert_eq!(unpacked.runs, ["srft", "sft"]);
    assert_eq!(unpacked.data, [], "data outside of a tab's one folder");
    let selected = block_on(select("cpu")).unwrap();
    for (index, name) in [(0, "srft"), (1, "sft")] {
        let path = home.path().join(name);
        let mut run = Run::resume(OnFile::of(&path).config().unwrap(), &selected, &path).unwrap();
        block_on(run.advance(&mut ())).unwrap();
        let native = run.reports().unwrap().pop().unwrap().without_times();
        assert_eq!(Some(&native), expected.iter().find(|(run, _)| *run == index).map(|(_, r)| r));
        let adapter = ModelFolder::read(&path.join("peft")).unwrap();
        assert!(adapter.is_adapted());
        adapter.load_frozen(srft::config::Frozen::Stored, &selected.device).unwrap();
        let lora = std::fs::read(path.join("llama.cpp/adapter.gguf")).unwrap();
        assert!(lora.starts_with(b"GGUF"));
    }
    // Another model of that name is noticed.
    std::fs::remove_file(tab.home.path("m.gguf")).unwrap();
    let mut other = Tab::empty();
    other.bring("m.gguf", std::fs::read(golden_path("gguf-read/llama-gqa.gguf")).unwrap());
    match load(&mut other) {
        Event::Error(error) => assert!(error.what.contains("model.path: m.gguf"), "{error:?}"),
        event => panic!("{event:?}"),
    }
}

#[test]
fn a_look_says_what_a_model_is_and_what_it_needs() {
    let mut tab = Tab::new();
    let facts = tab.look("m.gguf", &["lora.rank=2"]).unwrap();
    assert_eq!(facts.architecture, "LlamaForCausalLM");
    let kinds: Vec<&str> = facts.types.iter().map(|of| of.name.as_str()).collect();
    assert!(["Q8_0", "Q4_0", "F16"].iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
    assert!(!facts.chats && !facts.adapted && facts.peak_bytes > facts.bytes);
    assert!(facts.trained > 0.0 && facts.trained < facts.parameters);
    tab.start("m.gguf", &["sft"], &[]).unwrap();
    assert_eq!(tab.look("m.gguf", &["lora.rank=2"]).unwrap(), facts, "its files are gone by now");
}

#[test]
fn what_a_page_cannot_use_is_refused_in_a_sentence() {
    let mut tab = Tab::new();
    let whole = tab.home.read("m.gguf");
    tab.bring("cut.gguf", &whole[..whole.len() - 200]);
    tab.bring("text.gguf", "not one");
    tab.bring("empty.gguf", "");
    tab.bring("folder/config.json", "{}");
    tab.bring("folder/model.safetensors", [255; 64]);
    tab.bring("folder/tokenizer.json", "{\"model\": 3}");
    let refused = |error: Complaint, words: &[&str]| {
        let said = format!("{} {:?} {:?}", error.what, error.place, error.next);
        assert!(!error.fatal && error.next.is_some(), "{said}");
        words.iter().for_each(|word| assert!(said.contains(word), "{word} in {said}"));
    };
    for (name, words) in [
        ("cut.gguf", &["the file ends at"][..]),
        ("text.gguf", &["the four letters GGUF"]),
        ("empty.gguf", &["empty.gguf"]),
        ("folder", &["tokenizer.json"]),
        ("none.gguf", &["none.gguf"]),
    ] {
        refused(tab.look(name, &[]).unwrap_err(), words);
        refused(tab.start(name, &["sft"], &[]).unwrap_err(), &[name]);
    }
    refused(tab.look("m.gguf", &["lora.rank=0"]).unwrap_err(), &["Q8_0", "--lora-rank 16"]);
    refused(tab.start("m.gguf", &["sft"], &["lora.rank=0"]).unwrap_err(), &["Q8_0"]);
    let command = ["data.verifier=command", "reward.command=cat"];
    refused(tab.start("m.gguf", &["grpo"], &command).unwrap_err(), &["starts no programs"]);
    let task = ["data.eval=reasoning_gym:lcm"];
    refused(tab.start("m.gguf", &["grpo"], &task).unwrap_err(), &["starts no programs"]);
    tab.bring("sums.jsonl", "{\"prompt\": 3}\n");
    refused(tab.start("m.gguf", &["sft"], &[]).unwrap_err(), &["sums.jsonl:1"]);
    let nothing = Command::Bring { name: "x.gguf".into() };
    assert!(matches!(&tab.send(nothing, None)[..], [Event::Error(error)] if !error.fatal));
}

/// A model with a chat template is asked as a user would ask it; the folder's files are brought one by one.
#[test]
fn a_chat_template_writes_what_is_asked_and_what_is_trained_on() {
    let mut tab = Tab::empty();
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        let bytes = tab.home.read(&format!("model/{name}"));
        tab.bring(&format!("plain/{name}"), &bytes);
        tab.bring(&format!("chat/{name}"), &bytes);
    }
    let template =
        "^{% for m in messages %}{{ m.content }}{% if m.role == 'user' %}={% endif %}{% endfor %}";
    tab.bring("chat/chat_template.jinja", template);
    let row =
        |text: &str| json!({"prompt": text, "response": "3", "answer": "3"}).to_string() + "\n";
    tab.bring("sums.jsonl", row("1+2=") + &row("2+1="));
    assert!(!tab.look("plain", &[]).unwrap().chats);
    tab.start("plain", &["sft", "grpo"], &[]).unwrap();
    let plain = tab.ask("1+2=");
    assert_eq!(plain.len(), 3, "the base and both runs");

    let chat = |role: &str, text: &str| json!({"role": role, "content": text});
    let row = json!({"messages": [chat("user", "1+2"), chat("assistant", "3")], "answer": "3"});
    tab.bring("sums.jsonl", format!("{row}\n{row}\n"));
    assert!(tab.look("chat", &[]).unwrap().chats);
    let ready = tab.start("chat", &["sft", "grpo"], &[]).unwrap();
    assert_eq!(ready.suites[0].prompt, "^1+2=");
    assert_eq!(tab.ask("1+2"), plain);
    tab.step();
    assert_eq!(tab.ask("1+2")[0], plain[0], "the base stays as it was");
}

/// Ours is there by its name; the program reads the same rows.
#[test]
fn sums_in_words_are_a_file_like_any_other() {
    let mut tab = Tab::empty();
    let name = tab.at("sums-in-words.jsonl");
    assert_eq!(tab.send(Command::Bring { name: name.clone() }, None), []);
    let text = std::fs::read_to_string(Path::new(&name)).unwrap();
    assert_eq!(text.lines().count(), 400);
    for line in text.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(row["messages"][1]["content"], row["answer"], "{line}");
    }
}
