//! GGUF against the `gguf` package, transformers and SentencePiece (`tests/golden/make_gguf_read.py`).

use safetensors::SafeTensors;
use serde_json::Value;
use srft_formats::model::ModelConfig;
use srft_formats::model::gguf::{BlockType, Container, Files, Model, widen};
use srft_formats::model::tensors::{Shard, Tensors};
use srft_formats::text::Tokenizer;
use srft_formats::text::chat::ChatTemplate;
use std::path::PathBuf;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(golden(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// A golden file's parts, with the header checked.
fn shards(names: &[&str]) -> Vec<Shard> {
    let shard = |name: &&str| {
        let bytes = read(&format!("gguf-read/{name}.gguf"));
        Shard { name: format!("{name}.gguf"), bytes: bytes.into() }
    };
    let shards: Vec<Shard> = names.iter().map(shard).collect();
    let file = Container::open(&shards[0].bytes).unwrap();
    let header = file.metadata.text("srft.golden").unwrap().expect("a header");
    let header: Value = serde_json::from_str(header).unwrap();
    assert_eq!(
        (header["format"].as_str(), header["version"].as_i64()),
        (Some("srft-golden"), Some(1))
    );
    shards
}

fn files(name: &str) -> Files {
    let shards = shards(&[name]);
    Files::of(&Model::open(name, &shards).unwrap()).unwrap()
}

#[test]
fn blocks_are_widened_as_the_gguf_package_does() {
    let bytes = read("gguf-read/blocks.safetensors");
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    for number in 0..64 {
        let Some(kind) = BlockType::of_number(number) else { continue };
        let of = |part: &str| golden.tensor(&format!("{}.{part}", kind.name())).unwrap();
        let (blocks, values) = (of("blocks"), of("values"));
        let expected = values.data().chunks_exact(4);
        let expected: Vec<f32> =
            expected.map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        let mut got = vec![f32::NAN; expected.len()];
        widen(kind, blocks.data(), &mut got);
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert!(bits(&got) == bits(&expected), "{}", kind.name());
    }
    assert_eq!(golden.len(), 22, "two of each of the eleven types");
}

/// Names, shapes, order of rows and numbers, of weights in F32 to the last bit.
#[test]
fn tensors_are_those_of_the_folder_that_was_converted() {
    let split = ["1", "2", "3"].map(|n| format!("llama-linear-0000{n}-of-00003"));
    let split = split.each_ref().map(String::as_str);
    for (folder, names) in [
        ("llama-gqa", &["llama-gqa"][..]),
        ("llama3-rope", &["llama3-rope"]),
        ("mistral", &["mistral"]),
        ("qwen2", &["qwen2"]),
        ("qwen3", &["qwen3"]),
        ("gemma3", &["gemma3"]),
        ("llama-linear", &split),
    ] {
        let shards = shards(names);
        let model = Model::open(folder, &shards).unwrap();
        let bytes = read(&format!("{folder}/model.safetensors")).into();
        let given = [Shard { name: folder.into(), bytes }];
        let given = Tensors::open(folder, &given).unwrap();
        let spare = usize::from(folder == "llama3-rope");
        assert_eq!(model.count(), given.count() + spare, "{folder}");
        for name in given.names() {
            let shape =
                model.stored(name).unwrap_or_else(|| panic!("{folder}: {name}")).shape.clone();
            let view = given.get(name, &shape).unwrap();
            let rows = if shape.len() == 1 { 1 } else { shape[0] };
            let values = model.rows(name, 0..rows).unwrap();
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            if folder == "gemma3" && name.ends_with("norm.weight") {
                // The file has them plus 1, in which their last bits are lost.
                let given = view.data().chunks_exact(4);
                let given = given.map(|b| f32::from_le_bytes(b.try_into().unwrap()));
                assert!(values.iter().zip(given).all(|(v, w)| v + 1.0 == w + 1.0), "{name}");
            } else {
                assert!(bytes == view.data(), "{folder}: {name}");
                assert!(*model.blocks(name).unwrap() == bytes, "{folder}: blocks of {name}");
            }
            let last = model.rows(name, rows - 1..rows).unwrap();
            assert!(values.ends_with(&last), "{folder}: last row of {name}");
        }
    }
}

/// What changes the mathematics is what the folder's config says.
#[test]
fn shapes_are_those_of_the_folder_that_was_converted() {
    for (folder, name) in [
        ("llama-gqa", "llama-gqa"),
        ("llama3-rope", "llama3-rope"),
        ("llama-linear", "llama-linear-00001-of-00003"),
        ("mistral", "mistral"),
        ("qwen2", "qwen2"),
        ("qwen3", "qwen3"),
        ("gemma3", "gemma3"),
    ] {
        let split = ["1", "2", "3"].map(|n| format!("llama-linear-0000{n}-of-00003"));
        let names: Vec<&str> = match folder {
            "llama-linear" => split.iter().map(String::as_str).collect(),
            _ => vec![name],
        };
        let shards = shards(&names);
        let files = Files::of(&Model::open(name, &shards).unwrap()).unwrap();
        let mut got = ModelConfig::from_json(&files.config, name).unwrap();
        let given =
            ModelConfig::from_json(&read(&format!("{folder}/config.json")), folder).unwrap();
        assert_eq!(got.eos_tokens, [1], "{name}");
        got.eos_tokens.clone_from(&given.eos_tokens);
        assert_eq!(got, given, "{name}");
    }
}

/// Ids, text and templates are those of the tokenizer that was converted.
#[test]
fn byte_level_tokenizers_are_those_of_the_folder() {
    let expected: Value = serde_json::from_slice(&read("gguf-read/expected.json")).unwrap();
    let texts: Vec<&str> =
        expected["texts"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
    for kind in ["smollm2", "qwen3", "llama3"] {
        let files = files(&format!("text-{kind}"));
        let beside = |name: &str| {
            files.beside.iter().find(|(n, _)| n == name).map(|(_, bytes)| bytes.as_slice())
        };
        let got = Tokenizer::from_bytes(&files.tokenizer, kind).unwrap();
        let got = got.with_config(beside("tokenizer_config.json"), None, kind).unwrap();
        let of = |file: &str| read(&format!("text/{kind}/{file}"));
        let config = of("tokenizer_config.json");
        let given = Tokenizer::from_bytes(&of("tokenizer.json"), kind).unwrap();
        let given = given.with_config(Some(&config), None, kind).unwrap();
        let specials = ["<|im_start|>user\nhi<|im_end|>", "<think>4</think>", "<|eot_id|> a"];
        for text in texts.iter().chain(&specials) {
            let ids = given.encode(text).unwrap();
            assert_eq!(got.encode(text).unwrap(), ids, "{kind}: {text:?}");
            assert_eq!(got.decode(&ids), given.decode(&ids), "{kind}: {text:?}");
            assert_eq!(got.decode_spelled(&ids), given.decode_spelled(&ids), "{kind}: {text:?}");
        }
        assert_eq!((got.end(), got.vocab_size()), (given.end(), given.vocab_size()), "{kind}");
        let template = of("chat_template.jinja");
        assert_eq!(beside("chat_template.jinja").unwrap(), template, "{kind}");
        let template =
            ChatTemplate::from_files(Some(&template), beside("tokenizer_config.json"), None, kind);
        assert!(template.unwrap().is_some(), "{kind}");
    }
}

#[test]
fn sentence_piece_tokenizers_are_sentence_pieces() {
    let expected: Value = serde_json::from_slice(&read("gguf-read/expected.json")).unwrap();
    let files = files("text-spm");
    let tokenizer = Tokenizer::from_bytes(&files.tokenizer, "spm").unwrap();
    let config = files.beside.iter().find(|(n, _)| n == "tokenizer_config.json").unwrap();
    let tokenizer = tokenizer.with_config(Some(&config.1), None, "spm").unwrap();
    let cases = expected["spm"].as_array().unwrap();
    assert!(cases.len() > 8);
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        assert_eq!(tokenizer.pieces(text).unwrap().ids, ids, "{text:?}");
        assert_eq!(tokenizer.decode(&ids), case["decoded"].as_str().unwrap(), "{text:?}");
        assert_eq!(tokenizer.encode(text).unwrap(), [&[1], &*ids].concat(), "{text:?}");
    }
    assert_eq!(tokenizer.encode("<s>a</s>").unwrap().first(), Some(&1), "once");
}
