//! What is written as GGUF, against the `gguf` package of llama.cpp (`tests/golden/make_gguf.py`) and
//! against the tokenizers that it describes.

use serde_json::Value as Json;
use srft_formats::model::ModelConfig;
use srft_formats::model::gguf::BlockType;
use srft_formats::model::gguf::quantise::append;
use srft_formats::model::gguf::write::{
    Described, Tensor, TextFiles, Value, Vocabulary, header, is_ours, padding,
};
use srft_formats::text::Tokenizer;
use std::path::PathBuf;

/// A file of `tests/golden`.
fn golden(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn blocks() -> Json {
    let blocks: Json = serde_json::from_slice(&golden("gguf/blocks.json")).unwrap();
    assert_eq!((&blocks["format"], &blocks["version"]), (&"srft-golden".into(), &1.into()));
    blocks
}

fn bytes(hex: &Json) -> Vec<u8> {
    let pairs = hex.as_str().unwrap().as_bytes().chunks_exact(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The numbers of the golden file.
fn numbers() -> Vec<f32> {
    let bytes = bytes(&blocks()["values"]);
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

#[test]
fn blocks_are_those_of_the_gguf_package() {
    let (blocks, numbers) = (blocks(), numbers());
    for kind in [BlockType::F16, BlockType::Bf16, BlockType::Q8_0] {
        let mut written = Vec::new();
        append(&numbers, kind, &mut written).unwrap();
        assert!(written == bytes(&blocks[kind.name()]), "{}", kind.name());
    }
}

#[test]
fn a_file_is_that_of_the_gguf_package() {
    let text = |text: &str| Value::Text(text.into());
    let metadata = [
        ("general.architecture", text("llama")),
        ("general.name", text("naïve")),
        ("llama.block_count", Value::U32(2)),
        ("llama.rope.freq_base", Value::F32(10_000.5)),
        ("tokenizer.ggml.add_bos_token", Value::Bool(true)),
        ("tokenizer.ggml.tokens", Value::Texts(["a", "▁b", "<|end|>"].map(String::from).into())),
        ("tokenizer.ggml.token_type", Value::I32s(vec![1, 4, -3])),
        ("tokenizer.ggml.scores", Value::F32s(vec![0.0, -1.5, 2.25])),
    ];
    let metadata = metadata.map(|(key, value)| (key.to_string(), value)).into();
    let kinds = [
        ("norm", 0, BlockType::Q8_0), // a vector stays in F32
        ("f32", 2, BlockType::F32),
        ("f16", 3, BlockType::F16),
        ("bf16", 1, BlockType::Bf16),
        ("q8", 4, BlockType::Q8_0),
    ];
    let tensors = kinds.map(|(name, rows, kind)| {
        let shape = if rows == 0 { vec![32] } else { vec![rows, 32] };
        Tensor::new(format!("{name}.weight"), &shape, kind)
    });
    let mut file = header(&metadata, &tensors);
    for tensor in &tensors {
        let count: usize = tensor.shape.iter().product();
        append(&numbers()[4 * 32..][..count], tensor.kind, &mut file).unwrap();
        file.resize(file.len() + padding(tensor.bytes()), 0);
    }
    assert!(file == golden("gguf/written.gguf"));
    assert!(is_ours(&file));
    file.extend([0; 32]);
    assert!(!is_ours(&file), "of another length, as what is made of ours by another program");
    assert!(!is_ours(b"GGUF") && !is_ours(b""));
}

#[test]
fn a_matrix_whose_rows_are_no_whole_blocks_is_stored_in_f16() {
    for (shape, kind, stored) in [
        (vec![4, 48], BlockType::Q8_0, BlockType::F16),
        (vec![4, 64], BlockType::Q8_0, BlockType::Q8_0),
        (vec![4, 48], BlockType::Bf16, BlockType::Bf16),
        (vec![64], BlockType::Bf16, BlockType::F32),
    ] {
        assert_eq!(Tensor::new("a".into(), &shape, kind).kind, stored, "{shape:?}");
    }
}

/// (key, value) of a tokenizer of `tests/golden/text`, changed by `change`, in llama.cpp's words.
fn described(
    kind: &str,
    pre: Option<&str>,
    change: impl FnOnce(&mut Json),
) -> srft_formats::error::Result<Vec<(String, Value)>> {
    let file = |name: &str| golden(&format!("text/{kind}/{name}"));
    let mut json: Json = serde_json::from_slice(&file("tokenizer.json")).unwrap();
    change(&mut json);
    let template = file("chat_template.jinja");
    let (json, config) = (json.to_string().into_bytes(), file("tokenizer_config.json"));
    let tokenizer = Tokenizer::from_bytes(&json, kind)?.with_config(Some(&config), None, kind)?;
    let model = serde_json::json!({"model_type": "llama", "vocab_size": tokenizer.vocab_size() + 2,
        "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
        "rms_norm_eps": 1e-5, "max_position_embeddings": 64, "eos_token_id": tokenizer.end()});
    let model = model.to_string().into_bytes();
    let files = TextFiles {
        model: &model,
        tokenizer: &json,
        config: Some(&config),
        special: None,
        template: Some(&template),
        place: kind,
    };
    let config = ModelConfig::from_json(&model, kind)?;
    Ok(Vocabulary::of(&tokenizer, files, &config, pre)?.into_metadata())
}

fn value<'a>(metadata: &'a [(String, Value)], key: &str) -> Option<&'a Value> {
    let key = format!("tokenizer.{key}");
    metadata.iter().find(|(k, _)| *k == key).map(|(_, value)| value)
}

#[test]
fn tokenizers_of_published_kinds_have_their_names() {
    for (kind, model, pre, begins) in [
        ("smollm2", "gpt2", "smollm", false),
        ("qwen3", "gpt2", "qwen2", false),
        ("llama3", "gpt2", "llama-bpe", true),
    ] {
        let metadata = described(kind, None, |_| ()).unwrap();
        let is =
            |key, expected: Value| assert_eq!(value(&metadata, key), Some(&expected), "{kind}");
        is("ggml.model", Value::Text(model.into()));
        is("ggml.pre", Value::Text(pre.into()));
        is("ggml.add_bos_token", Value::Bool(begins));
        is("ggml.add_eos_token", Value::Bool(false));
        let Some(Value::Texts(tokens)) = value(&metadata, "ggml.tokens") else { panic!("{kind}") };
        let Some(Value::I32s(kinds)) = value(&metadata, "ggml.token_type") else {
            panic!("{kind}")
        };
        assert_eq!(tokens.len(), kinds.len());
        let last = tokens.len() - 1;
        assert_eq!((&*tokens[last], kinds[last]), (&*format!("[PAD{last}]"), 5), "{kind}");
        assert_eq!(kinds[0], 3, "{kind}: a control token");
        assert!(value(&metadata, "chat_template").is_some(), "{kind}");
    }
}

#[test]
fn a_tokenizer_that_llama_cpp_would_read_otherwise_is_refused() {
    type Change = fn(&mut Json);
    let cases: [(&str, Change, &str); 6] = [
        ("qwen3", |t| t["normalizer"] = serde_json::json!({"type": "Lowercase"}), "normalizer"),
        ("qwen3", |t| t["model"]["ignore_merges"] = true.into(), "--gguf-pre"),
        (
            "smollm2",
            |t| t["pre_tokenizer"]["pretokenizers"][0]["individual_digits"] = false.into(),
            "--gguf-pre",
        ),
        // Trained as BPE, not converted from SentencePiece: a token can be made in ways that are no merges.
        ("llama2", |_| (), "merges"),
        ("mistral", |_| (), "merges"),
        ("zephyr", |t| t["model"]["byte_fallback"] = false.into(), "--gguf-pre"),
    ];
    for (kind, change, word) in cases {
        let error = described(kind, None, change).unwrap_err();
        assert!(error.to_string().contains(word) && error.next.is_some(), "{kind}: {error}");
    }
    let named =
        described("smollm2", Some("starcoder"), |t| t["pre_tokenizer"] = Json::Null).unwrap();
    assert_eq!(value(&named, "ggml.pre"), Some(&Value::Text("starcoder".into())));
}

/// llama.cpp's Gemma 3 has less freedom than transformers'.
#[test]
fn a_gemma_that_llama_cpp_would_compute_otherwise_is_refused() {
    let of = |changes: Json| {
        let mut config: Json = serde_json::from_slice(&golden("gemma3/config.json")).unwrap();
        config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let config = ModelConfig::from_json(config.to_string().as_bytes(), "m").unwrap();
        Described::of(&config, "m").map(|described| described.architecture)
    };
    let (local, global) = ("sliding_attention", "full_attention");
    let kinds = |kinds: [&str; 3]| serde_json::json!({"layer_types": kinds});
    for known in [serde_json::json!({}), kinds([local; 3]), kinds([local, local, global])] {
        assert_eq!(of(known).unwrap(), "gemma3");
    }
    for (changes, word) in [
        (kinds([global, local, global]), "no regular order"),
        (kinds([global; 3]), "without local layers"),
        (serde_json::json!({"attention_bias": true}), "attention_bias"),
        (serde_json::json!({"query_pre_attn_scalar": 24}), "query_pre_attn_scalar"),
    ] {
        let error = of(changes).unwrap_err();
        assert!(error.what.contains(word) && error.next.is_some(), "{word}: {error}");
    }
}

/// A SentencePiece model's merges are all the ways to make a token of two, in the order of its scores.
#[test]
fn merges_of_sentence_piece_become_scores() {
    let metadata = described("llama2", None, |t| {
        let vocab = serde_json::json!({"<unk>": 0, "<s>": 1, "</s>": 2, "<0x41>": 3, "▁": 4, "a": 5,
            "b": 6, "ab": 7, "▁a": 8, "▁ab": 9});
        let merges = serde_json::json!([["a", "b"], ["▁", "a"], ["▁", "ab"], ["▁a", "b"]]);
        t["model"]["vocab"] = vocab;
        t["model"]["merges"] = merges;
    })
    .unwrap();
    let scores = vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, -2.0, 0.0, 0.0];
    assert_eq!(value(&metadata, "ggml.scores"), Some(&Value::F32s(scores)));
    let kinds = vec![2, 3, 3, 6, 1, 1, 1, 1, 1, 1, 5, 5];
    assert_eq!(value(&metadata, "ggml.token_type"), Some(&Value::I32s(kinds)));
    assert_eq!(value(&metadata, "ggml.add_space_prefix"), Some(&Value::Bool(true)));
    assert_eq!(value(&metadata, "ggml.bos_token_id"), Some(&Value::U32(1)));
    assert_eq!(value(&metadata, "ggml.unknown_token_id"), Some(&Value::U32(0)));
}

/// Gemma's splits at spaces, of which there are none left, and makes runs of them before anything else.
#[test]
fn merges_of_added_tokens_come_first_or_are_refused() {
    let of = |merges: Json| {
        described("llama2", None, |t| {
            t["normalizer"] =
                serde_json::json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
            t["pre_tokenizer"] = serde_json::json!({"type": "Split", "pattern": {"String": " "},
                "behavior": "MergedWithPrevious", "invert": false});
            t["model"]["vocab"] = serde_json::json!({"<unk>": 0, "<s>": 1, "</s>": 2, "▁": 3, "a": 4, "▁▁": 5,
                "▁▁▁": 6, "▁a": 7});
            for (id, run) in [(5, "▁▁"), (6, "▁▁▁")] {
                t["added_tokens"].as_array_mut().unwrap().push(serde_json::json!({"id": id, "content": run,
                    "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": false}));
            }
            t["model"]["merges"] = merges;
        })
    };
    let metadata =
        of(serde_json::json!([["▁▁", "▁"], ["▁", "▁▁"], ["▁", "▁"], ["▁", "a"]])).unwrap();
    let Some(Value::Texts(texts)) = value(&metadata, "ggml.tokens") else { panic!("no tokens") };
    assert_eq!(texts[3..8], ["▁", "a", "  ", "   ", "▁a"]);
    let Some(Value::I32s(kinds)) = value(&metadata, "ggml.token_type") else { panic!("no kinds") };
    assert_eq!(kinds[3..8], [1, 1, 4, 4, 1]);
    let scores = value(&metadata, "ggml.scores");
    assert!(
        matches!(scores, Some(Value::F32s(scores)) if scores.iter().all(|s| *s == 0.0)),
        "{scores:?}"
    );
    assert_eq!(value(&metadata, "ggml.add_space_prefix"), Some(&Value::Bool(false)));
    let error = of(serde_json::json!([["▁", "a"], ["▁", "▁"]])).unwrap_err();
    assert!(error.what.contains("merges"), "{error}");
}
