//! Files that are wrong, each in one place.

use super::{Files, Model};
use crate::error::Result;
use crate::model::tensors::Shard;

/// A value as the file has it: the number of its type, then its bytes.
type Value = (u32, Vec<u8>);

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn text(value: &str) -> Value {
    (8, string(value))
}

fn whole(number: u32) -> Value {
    (4, number.to_le_bytes().to_vec())
}

fn number(number: f32) -> Value {
    (6, number.to_le_bytes().to_vec())
}

fn list(kind: u32, values: &[Vec<u8>]) -> Value {
    let head = [&kind.to_le_bytes()[..], &(values.len() as u64).to_le_bytes()].concat();
    (9, [head, values.concat()].concat())
}

fn texts(values: &[&str]) -> Value {
    list(8, &values.iter().map(|text| string(text)).collect::<Vec<_>>())
}

fn wholes(values: &[u32]) -> Value {
    list(4, &values.iter().map(|value| value.to_le_bytes().to_vec()).collect::<Vec<_>>())
}

/// What is in a file: a name, columns and rows, the type's number, the offset.
type Tensor = (&'static str, Vec<u64>, u32, u64);

/// A file to be spoiled.
#[derive(Clone)]
struct File {
    version: [u8; 4],
    values: Vec<(&'static str, Value)>,
    tensors: Vec<Tensor>,
    data: Vec<u8>,
}

impl File {
    /// An embedding of four tokens.
    fn sound() -> Self {
        let values = vec![
            ("general.architecture", text("llama")),
            ("llama.block_count", whole(1)),
            ("llama.context_length", whole(16)),
            ("llama.embedding_length", whole(4)),
            ("llama.feed_forward_length", whole(4)),
            ("llama.attention.head_count", whole(2)),
            ("llama.attention.head_count_kv", wholes(&[1])),
            ("llama.attention.layer_norm_rms_epsilon", number(1e-5)),
            ("tokenizer.ggml.model", text("gpt2")),
            ("tokenizer.ggml.pre", text("gpt-2")),
            ("tokenizer.ggml.tokens", texts(&["</s>", "a", "b", "ab"])),
            ("tokenizer.ggml.token_type", wholes(&[3, 1, 1, 1])),
            ("tokenizer.ggml.scores", list(6, &[vec![0; 4], vec![0; 4], vec![0; 4], vec![0; 4]])),
            ("tokenizer.ggml.merges", texts(&["a b"])),
            ("tokenizer.ggml.eos_token_id", whole(0)),
        ];
        let tensors = vec![("token_embd.weight", vec![4, 4], 0, 0)];
        Self { version: [3, 0, 0, 0], values, tensors, data: vec![0; 64] }
    }

    /// The file with one value changed, or added.
    fn with(mut self, key: &'static str, value: Value) -> Self {
        match self.values.iter_mut().find(|(k, _)| *k == key) {
            Some(pair) => pair.1 = value,
            None => self.values.push((key, value)),
        }
        self
    }

    fn without(mut self, key: &str) -> Self {
        self.values.retain(|(k, _)| *k != key);
        self
    }

    fn tensor(mut self, tensor: Tensor) -> Self {
        self.tensors.push(tensor);
        self
    }

    fn header(&self) -> Vec<u8> {
        let counts = [self.tensors.len(), self.values.len()].map(|n| (n as u64).to_le_bytes());
        let mut bytes = [b"GGUF", &self.version, counts.concat().as_slice()].concat();
        for (key, (kind, value)) in &self.values {
            bytes.extend([string(key), kind.to_le_bytes().to_vec(), value.clone()].concat());
        }
        for (name, shape, kind, offset) in &self.tensors {
            bytes.extend(string(name));
            bytes.extend((shape.len() as u32).to_le_bytes());
            bytes.extend(shape.iter().flat_map(|size| size.to_le_bytes()));
            bytes.extend(kind.to_le_bytes());
            bytes.extend(offset.to_le_bytes());
        }
        bytes
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header();
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        [bytes, self.data.clone()].concat()
    }
}

fn read(bytes: Vec<u8>) -> Result<Files> {
    let shards = [Shard { name: "m.gguf".into(), bytes: bytes.into() }];
    let model = Model::open("m.gguf", &shards)?;
    Files::of(&model).map_err(|e| e.at("m.gguf"))
}

#[test]
fn a_sound_file_says_what_it_is() {
    let files = read(File::sound().bytes()).unwrap();
    let config = crate::model::ModelConfig::from_json(&files.config, "m").unwrap();
    assert_eq!((config.vocab_size, config.head_dim, config.kv_heads), (4, 2, 1));
    assert_eq!((config.rms_norm_eps, config.rope_theta, config.tied), (1e-5, 1e4, true));
    let tokenizer = crate::text::Tokenizer::from_bytes(&files.tokenizer, "m").unwrap();
    assert_eq!(tokenizer.encode("abb").unwrap(), [3, 2]);
    assert!(tokenizer.is_special(0));
}

#[test]
fn what_is_wrong_is_named() {
    let sound = File::sound;
    let deep = (0..6).fold(wholes(&[]).1, |inner, _| list(9, &[inner]).1);
    let endless = (9, [&4u32.to_le_bytes()[..], &u64::MAX.to_le_bytes()].concat());
    let rename = |from: &str, to: &'static str| {
        let mut file = sound();
        file.values.iter_mut().filter(|(key, _)| *key == from).for_each(|pair| pair.0 = to);
        file
    };
    let of_spm = || sound().with("tokenizer.ggml.model", text("llama"));
    for (file, names) in [
        (File { version: [1, 0, 0, 0], ..sound() }, &["version 1", "convert it anew"][..]),
        (File { version: [0, 0, 0, 3], ..sound() }, &["big-endian"]),
        (File { version: [9, 0, 0, 0], ..sound() }, &["version 9", "versions 2 and 3"]),
        (File { data: vec![0; 60], ..sound() }, &["`token_embd.weight` has 64 bytes", "cut short"]),
        (sound().with("x", (77, vec![])), &["x", "unknown type 77"]),
        (sound().with("x", (9, deep)), &["too deep"]),
        (sound().with("x", endless), &["the header ends"]),
        (sound().with("general.alignment", whole(0)), &["general.alignment = 0"]),
        (rename("llama.block_count", "llama.context_length"), &["llama.context_length", "twice"]),
        (sound().tensor(("token_embd.weight", vec![4], 0, 0)), &["token_embd.weight", "twice"]),
        (sound().tensor(("t", vec![4, 0], 0, 0)), &["`t`", "a dimension of 0"]),
        (sound().tensor(("t", vec![1; 5], 0, 0)), &["`t`", "5 dimensions"]),
        (sound().tensor(("t", vec![u64::MAX, 2], 0, 0)), &["`t`", "too large"]),
        (sound().tensor(("t", vec![4], 0, u64::MAX)), &["`t`", "the file ends at"]),
        (sound().tensor(("t", vec![16], 2, 0)), &["`t`", "rows of 16", "Q4_0 hold 32"]),
        (sound().tensor(("t", vec![256], 10, 0)), &["`t`", "Q2_K", "Q4_K, Q5_K, Q6_K"]),
        (sound().tensor(("t", vec![256], 99, 0)), &["`t`", "number 99"]),
        (sound().without("general.architecture"), &["general.architecture is missing"]),
        (sound().with("general.architecture", whole(1)), &["general.architecture is not a string"]),
        (
            sound().with("general.architecture", text("gemma2")),
            &["= gemma2", "llama, qwen2, qwen3, gemma3"],
        ),
        (sound().without("llama.block_count"), &["llama.block_count is missing"]),
        (sound().with("llama.attention.head_count", whole(0)), &["width of a head = 0"]),
        (sound().with("llama.attention.key_length", whole(3)), &["width of a head = 3"]),
        (sound().with("llama.attention.value_length", whole(4)), &["value_length = 4", "2"]),
        (sound().with("llama.rope.dimension_count", whole(1)), &["dimension_count = 1"]),
        (sound().with("llama.attention.head_count_kv", wholes(&[1, 2])), &["head_count_kv"]),
        (sound().with("llama.expert_count", whole(8)), &["llama.expert_count = 8"]),
        (
            sound().with("llama.rope.scaling.type", text("yarn")),
            &["rope.scaling.type = yarn", "linear"],
        ),
        (
            sound().tensor(("rope_freqs.weight", vec![3], 0, 0)),
            &["rope_freqs.weight", "[3]", "[1]"],
        ),
        (sound().without("tokenizer.ggml.model"), &["tokenizer.ggml.model", "gpt2", "llama"]),
        (sound().with("tokenizer.ggml.model", text("bert")), &["tokenizer.ggml.model = bert"]),
        (sound().without("tokenizer.ggml.pre"), &["tokenizer.ggml.pre is missing", "April 2024"]),
        (sound().with("tokenizer.ggml.pre", text("kimi-k2")), &["= kimi-k2", "llama-bpe", "qwen2"]),
        (sound().without("tokenizer.ggml.tokens"), &["tokenizer.ggml.tokens is missing"]),
        (sound().with("tokenizer.ggml.tokens", wholes(&[1])), &["tokens is not a list of strings"]),
        (sound().with("tokenizer.ggml.tokens", texts(&["a", "a", "b", "c"])), &["tokens 0 and 1"]),
        (
            sound().with("tokenizer.ggml.token_type", wholes(&[1])),
            &["token_type has 1 values for 4"],
        ),
        (sound().with("tokenizer.ggml.merges", texts(&["b a"])), &["merge 0", "b a"]),
        (sound().with("tokenizer.ggml.merges", texts(&["ab"])), &["merge 0", "ab"]),
        (sound().with("tokenizer.ggml.eos_token_id", whole(9)), &["token 9 is named", "4"]),
        (of_spm().without("tokenizer.ggml.scores"), &["tokenizer.ggml.scores is missing"]),
        (of_spm().with("tokenizer.ggml.unknown_token_id", whole(4)), &["token 4 is named"]),
        (sound().with("split.count", whole(3)), &["part 1 of 3", "NAME-00001-of-00003.gguf"]),
    ] {
        let error = read(file.bytes()).map(|_| ()).expect_err(&format!("{names:?}"));
        let shown = error.to_string();
        assert!(shown.starts_with("m.gguf") && error.next.is_some(), "{shown}");
        names.iter().for_each(|name| assert!(shown.contains(name), "{name}: {shown}"));
    }
}

/// Wherever the file ends, and whichever byte of its header is another.
#[test]
fn no_cut_and_no_byte_brings_it_down() {
    for model in ["gpt2", "llama"] {
        let file = File::sound().with("tokenizer.ggml.model", text(model));
        let (bytes, header) = (file.bytes(), file.header().len());
        (0..bytes.len()).for_each(|end| assert!(read(bytes[..end].to_vec()).is_err(), "{end}"));
        for (at, value) in (4..header).flat_map(|at| [(at, 0), (at, 1), (at, 0x80), (at, 0xff)]) {
            let mut altered = bytes.clone();
            altered[at] = value;
            let Ok(files) = read(altered) else { continue };
            let _ = crate::model::ModelConfig::from_json(&files.config, "m");
            let _ = crate::text::Tokenizer::from_bytes(&files.tokenizer, "m");
        }
    }
}
