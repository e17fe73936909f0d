//! Running the program itself, in a folder of its own with a very small model.

use burn::tensor::Device;
use serde_json::{Value, json};
use srft::config::Storage;
use srft::model::{Llama, ModelConfig, ModelFolder};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A short run of the very small model; its tests add what they are about.
pub const TRAIN: &str = "train --device cpu --set model.path=model --set rollout.prompts=2 \
     --set rollout.group=3 --set rollout.max_new_tokens=12 --set eval.examples=3";

/// A run in a home with sums, which learns within a few steps.
pub const RUN: &str = "train --device cpu --model model --data sums.jsonl --eval-data sums.jsonl \
     --set rollout.prompts=4 --set rollout.group=3 --set rollout.max_new_tokens=4 \
     --set optimizer.lr=1e-2 --set checkpoint.samples_every=1 --set eval.every=3";

/// A folder with `model/` in it, where commands are run.
pub struct Home(tempfile::TempDir);

impl Home {
    /// With a model of hidden size 16, one layer, 64 positions, random weights.
    pub fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        home.write_model("model", json!({}));
        home
    }

    /// The same with `sums.jsonl`; prompts, responses and answers are not ASCII.
    pub fn with_sums() -> Self {
        let home = Self::new();
        home.write_arabic_sums(0);
        home
    }

    /// Writes a model folder of random weights; `changes` go over the small `config.json`.
    pub fn write_model(&self, name: &str, changes: Value) {
        let mut config = json!({
            "model_type": "llama", "vocab_size": 23, "hidden_size": 16, "intermediate_size": 24,
            "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
            "rms_norm_eps": 1e-5, "max_position_embeddings": 64, "tie_word_embeddings": true,
            "bos_token_id": 1, "eos_token_id": 2
        });
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        let text = config.to_string().into_bytes();
        let config = ModelConfig::from_json(&text, name).unwrap();
        let folder = ModelFolder::of_parts(name, text, Vec::new(), ModelFolder::tiny().tokenizer);
        let model = Llama::random(config, 7, &Device::flex());
        pollster::block_on(folder.save(&self.path(name), &model, Storage::F32)).unwrap();
    }

    /// Gives `model/` digits of two bytes each, so that its texts are not ASCII, and `sums.jsonl`: sums
    /// of one digit, answered by one digit, within reach of a few steps.
    pub fn write_arabic_sums(&self, shift: u32) {
        let digit = |n: u32| char::from_u32('٠' as u32 + n).expect("a digit");
        let text = String::from_utf8(self.read("model/tokenizer.json")).unwrap();
        let spell = |text: String, n: u32| {
            text.replace(&format!("\"{n}\":"), &format!("\"{}\":", digit(n)))
        };
        self.write("model/tokenizer.json", (0..10).fold(text, spell));
        let line = |a: u32| {
            let (a, b) = ((a + shift) % 5, a % 4);
            let (x, y, sum) = (digit(a), digit(b), digit(a + b));
            format!(r#"{{"prompt": "{x}+{y}=", "response": "{sum}", "answer": "{sum}"}}"#) + "\n"
        };
        self.write("sums.jsonl", (0..20).map(line).collect::<String>());
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.path(name), contents).unwrap();
    }

    /// Reads a file.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// The objects of a JSONL file.
    pub fn lines(&self, name: &str) -> Vec<Value> {
        parse_lines(std::str::from_utf8(&self.read(name)).unwrap())
    }

    /// The names in a folder, sorted; hidden ones aside.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<String> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|n| !n.starts_with('.'));
        names.sort();
        names
    }

    /// Steps that a run has reported so far.
    pub fn steps(&self, run: &str) -> usize {
        let lines = |bytes: Vec<u8>| bytes.split(|&b| b == b'\n').count() - 1;
        fs::read(self.path(run).join("metrics.jsonl")).map_or(0, lines)
    }

    /// The program with arguments, which white space parts, to be run in the folder, without a network.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_srft"));
        command.args(arguments.split_whitespace()).current_dir(self.0.path());
        command.env("HF_HUB_OFFLINE", "1");
        command
    }

    /// Runs to a good end; gives back what was printed.
    pub fn succeeds(&self, arguments: &str) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "srft {arguments}\n{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs into an error of that exit code, whose message says all of `words` and what to do
    /// next; gives back the message.
    pub fn fails(&self, arguments: &str, code: i32, words: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert_error(&output, arguments, code, words)
    }
}

/// An error as the program promises it: exit code, place, reason, next step, never a panic.
pub fn assert_error(output: &Output, what: &str, code: i32, words: &[&str]) -> String {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(code), "srft {what}\n{message}");
    assert!(!message.contains("panicked"), "srft {what}\n{message}");
    for word in ["error: ", "next: "].iter().chain(words) {
        assert!(message.contains(word), "srft {what}\nshould say `{word}`, but says\n{message}");
    }
    message
}

/// What a program said on standard error.
pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The objects of JSONL text.
pub fn parse_lines(text: &str) -> Vec<Value> {
    text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{l}: {e}"))).collect()
}

/// The objects without their wall times, which alone may differ between equal runs.
pub fn without_secs(lines: Vec<Value>) -> Vec<Value> {
    let strip = |mut line: Value| {
        line.as_object_mut().unwrap().retain(|key, _| !key.ends_with("_secs"));
        line
    };
    lines.into_iter().map(strip).collect()
}

/// Asserts that two finished runs are the same run: numbers, evaluations, samples, the bytes of
/// every kept model.
pub fn assert_same_run(home: &Home, one: &str, other: &str) {
    let both = |name: &str| [one, other].map(|run| format!("{run}/{name}"));
    for name in ["metrics.jsonl", "evaluations.jsonl"] {
        let [a, b] = both(name).map(|path| without_secs(home.lines(&path)));
        assert_eq!(a, b, "{name} of {one} and {other}");
    }
    let [a, b] = both("checkpoints").map(|path| home.names(&path));
    assert_eq!(a, b, "checkpoints of {one} and {other}");
    let folders = a.iter().map(|n| format!("checkpoints/{n}")).chain(["best".into()]);
    let weights = folders.flat_map(|folder| {
        let names = home.names(&format!("{one}/{folder}")).into_iter();
        let names: Vec<_> = names.filter(|name| name.ends_with(".safetensors")).collect();
        assert!(!names.is_empty(), "{one}/{folder} has no weights");
        names.into_iter().map(move |name| format!("{folder}/{name}"))
    });
    for name in weights.chain(["samples.jsonl".into()]) {
        let [a, b] = both(&name).map(|path| home.read(&path));
        assert!(a == b, "{name} of {one} and {other} differ");
    }
    let suites = |run: &str| -> Value {
        let text = home.read(&format!("{run}/summary.json"));
        serde_json::from_slice::<Value>(&text).unwrap()["suites"].clone()
    };
    assert_eq!(suites(one), suites(other));
}

/// Whether a folder holds anything that a crash left half done.
pub fn leftovers(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "srft-partial" || e == "srft-old") {
            found.push(path);
        } else if path.is_dir() {
            found.extend(leftovers(&path));
        }
    }
    found
}
