//! Model and adapter folders as they come.

use crate::program::{Home, TRAIN, stderr};
use burn::tensor::Device;
use pollster::block_on;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use srft::config::{Config, Storage};
use srft::device::select;
use srft::model::ModelFolder;
use srft::run::Run;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const INPUT: i32 = 2;
const GENERATE: &str =
    "generate --device cpu --temperature 0 --max-new-tokens 6 --json 1+1= --model";
const HEAD: &str = "lm_head.weight";
const EMBEDDING: &str = "model.embed_tokens.weight";

/// Tensors by name: type, shape, bytes.
type Weights = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn weights(file: &Path) -> Weights {
    let bytes = fs::read(file).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let held = |view: TensorView| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
    file.tensors().into_iter().map(|(name, view)| (name, held(view))).collect()
}

fn write_weights(file: &Path, weights: &Weights) {
    let view = |(dtype, shape, bytes)| TensorView::new(dtype, shape, bytes).unwrap();
    let views = weights.iter().map(|(name, (d, s, b))| (name, view((*d, s.clone(), b))));
    let about = [("format".to_string(), "pt".to_string())].into();
    fs::write(file, safetensors::serialize(views, Some(about)).unwrap()).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

fn change_json(file: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    change(&mut value);
    fs::write(file, value.to_string()).unwrap();
}

/// A copy of `model` with other weights and another config.
fn variant(home: &Home, name: &str, weigh: impl FnOnce(&mut Weights), config: Value) {
    copy(&home.path("model"), &home.path(name));
    let file = home.path(name).join("model.safetensors");
    let mut all = weights(&file);
    weigh(&mut all);
    write_weights(&file, &all);
    change_json(&home.path(name).join("config.json"), |value| {
        value.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    });
}

/// What the model thinks of a response, and what it said of itself.
fn score(home: &Home, model: &str) -> (Vec<Value>, String) {
    home.write("given.jsonl", r#"{"prompt": "2+2=", "response": "2+2>4"}"#);
    let score = format!("score --device cpu --model {model} --data given.jsonl --out scores.jsonl");
    let output = home.command(&score).output().unwrap();
    assert!(output.status.success(), "{model}: {}", stderr(&output));
    (home.lines("scores.jsonl"), stderr(&output))
}

/// A home with an adapter of two steps in `run/best` over `model`.
fn adapted() -> Home {
    let home = Home::new();
    let targets = ["--set", r#"lora.targets=["q_proj", "v_proj", "up_proj"]"#];
    let train = format!("{TRAIN} --steps 2 --lora-rank 2 --set optimizer.lr=0.1 --out run");
    let output = home.command(&train).args(targets).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    home
}

/// transformers #45127, #42612; QwenLM/Qwen3-VL-Embedding #89; transformers #38870.
#[test]
fn transformers_45127_a_stored_head_counts() {
    let home = Home::new();
    let other = |all: &mut Weights| {
        let mut head = all[EMBEDDING].clone();
        head.2.rotate_left(16 * 4 * 5); // rows of 16 numbers
        all.insert(HEAD.into(), head);
    };
    let twice = |all: &mut Weights| drop(all.insert(HEAD.into(), all[EMBEDDING].clone()));
    let alone = |all: &mut Weights| {
        let head = all.remove(EMBEDDING).unwrap();
        all.insert(HEAD.into(), head);
    };
    variant(&home, "differs", other, json!({}));
    variant(&home, "untied", other, json!({"tie_word_embeddings": false}));
    variant(&home, "equal", twice, json!({}));
    variant(&home, "alone", alone, json!({}));
    variant(&home, "headless", |_| {}, json!({"tie_word_embeddings": false}));
    let [(base, _), (differs, told), (untied, said), (equal, _), (alone, _)] =
        ["model", "differs", "untied", "equal", "alone"].map(|model| score(&home, model));
    assert_eq!(differs, untied);
    assert_ne!(differs, base);
    assert!(equal == base && alone == base);
    assert!(told.contains("lm_head.weight is stored and differs"), "{told}");
    assert!(!said.contains("differs"), "{said}");
    home.fails(&format!("{GENERATE} headless"), INPUT, &[HEAD, "is missing"]);

    // What is written says what it is, and is read so by those who take the config at its word.
    home.succeeds(&format!("{TRAIN} --model differs --steps 1 --out run"));
    let written = weights(&home.path("run/best/model.safetensors"));
    assert!(written.contains_key(HEAD) && written.contains_key(EMBEDDING));
    let config: Value = serde_json::from_slice(&home.read("run/best/config.json")).unwrap();
    assert_eq!(config["tie_word_embeddings"], false);
}

#[test]
fn torchtitan_3764_an_index_may_list_a_tied_head() {
    let home = Home::new();
    let (base, _) = score(&home, "model");
    let all = weights(&home.path("model/model.safetensors"));
    let shard = "model-00001-of-00001.safetensors";
    for (name, head_in) in [("same", shard), ("gone", "model-00002-of-00002.safetensors")] {
        copy(&home.path("model"), &home.path(name));
        fs::rename(home.path(name).join("model.safetensors"), home.path(name).join(shard)).unwrap();
        let mut map: BTreeMap<&str, &str> = all.keys().map(|t| (t.as_str(), shard)).collect();
        map.insert(HEAD, head_in);
        let index = home.path(name).join("model.safetensors.index.json");
        fs::write(&index, json!({"weight_map": map}).to_string()).unwrap();
        assert_eq!(score(&home, name).0, base, "{name}");
        // Of an untied model it is missed.
        change_json(&home.path(name).join("config.json"), |c| {
            c["tie_word_embeddings"] = false.into()
        });
        home.fails(&format!("{GENERATE} {name}"), INPUT, &[HEAD]);
    }
    let index = "same/model.safetensors.index.json";
    change_json(&home.path(index), |v| {
        v["weight_map"]["model.norm.weight"] = "b.safetensors".into()
    });
    home.fails(&format!("{GENERATE} same"), INPUT, &["b.safetensors", "lists this file"]);
}

/// hf-lin/ChatMusician #23: added tokens that the model has no row for.
#[test]
fn chatmusician_23_a_pad_token_beyond_the_vocabulary() {
    let home = Home::new();
    let (base, _) = score(&home, "model");
    change_json(&home.path("model/tokenizer.json"), |tokenizer| {
        let added = tokenizer["added_tokens"].as_array_mut().unwrap();
        for (id, name) in [(23, "<pad>"), (24, "<mask>")] {
            added.push(json!({"id": id, "content": name, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true}));
        }
    });
    assert_eq!(score(&home, "model").0, base);
    home.succeeds(&format!("{TRAIN} --steps 1 --out run"));
    let prompt = "generate --device cpu --model run/best 1+<pad>";
    home.fails(prompt, INPUT, &["`<pad>` has the id 23", "not to the model"]);
}

/// PEFT writes whole names for `all-linear` on small models; crates/formats/src/model/targets.rs has the other forms.
#[test]
fn peft_all_linear_lists_whole_names() {
    let home = adapted();
    let expected = home.succeeds(&format!("{GENERATE} run/best"));
    let config = home.path("run/best/adapter_config.json");
    let whole = |name: &str| format!("model.layers.0.{name}");
    let blocks = ["self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj"];
    for (targets, excluded) in [
        (json!(blocks.map(whole)), json!(null)),
        (json!("all-linear"), json!(["k_proj", "o_proj", "gate_proj", "down_proj"])),
        (json!(r".*\.(q_proj|v_proj|up_proj)"), json!([])),
    ] {
        change_json(&config, |c| {
            (c["target_modules"], c["exclude_modules"]) = (targets.clone(), excluded);
        });
        assert_eq!(home.succeeds(&format!("{GENERATE} run/best")), expected, "{targets}");
    }
    change_json(&config, |c| c["use_dora"] = true.into());
    let said = home.fails(&format!("{GENERATE} run/best"), INPUT, &["use_dora = true", "merge"]);
    assert!(!said.contains("switched off"), "{said}");
}

/// unsloth #1107: axolotl puts the base's config.json beside the adapter.
#[test]
fn unsloth_1107_an_adapter_beside_a_config_is_an_adapter() {
    let home = adapted();
    let expected = home.succeeds(&format!("{GENERATE} run/best"));
    fs::copy(home.path("model/config.json"), home.path("run/best/config.json")).unwrap();
    assert_eq!(home.succeeds(&format!("{GENERATE} run/best")), expected);
    home.succeeds("merge --model run/best --out merged");
    assert_eq!(home.succeeds(&format!("{GENERATE} merged")), expected);
    // And a whole model with an adapter's settings left over is a model.
    fs::copy(home.path("run/best/adapter_config.json"), home.path("merged/adapter_config.json"))
        .unwrap();
    assert_eq!(home.succeeds(&format!("{GENERATE} merged")), expected);
}

/// axolotl #2277; peft #2368.
#[test]
fn axolotl_2277_an_embedding_in_the_adapter_is_named() {
    let home = adapted();
    let file = home.path("run/best/adapter_model.safetensors");
    let given = weights(&file);
    let head = weights(&home.path("model/model.safetensors"))[EMBEDDING].clone();
    for name in ["base_model.model.lm_head.weight", "base_model.model.model.embed_tokens.weight"] {
        let mut all = given.clone();
        all.insert(name.into(), head.clone());
        write_weights(&file, &all);
        for command in [format!("{GENERATE} run/best"), "merge --model run/best --out m".into()] {
            home.fails(&command, INPUT, &[name, "saved with an adapter", "merge_and_unload"]);
        }
    }
    write_weights(&file, &given);
    change_json(&home.path("run/best/adapter_config.json"), |c| {
        c["modules_to_save"] = json!(["lm_head"]);
    });
    home.fails(&format!("{GENERATE} run/best"), INPUT, &["modules_to_save", "the head"]);
}

/// The base's folder is named by hand where it was moved, and never replaced by another's name.
#[test]
fn an_adapters_base_that_moved() {
    let home = adapted();
    let expected = home.succeeds(&format!("{GENERATE} run/best"));
    fs::rename(home.path("model"), home.path("moved")).unwrap();
    let base = |folder: &str| -> PathBuf {
        let file = home.read(&format!("{folder}/adapter_config.json"));
        let config: Value = serde_json::from_slice(&file).unwrap();
        config["base_model_name_or_path"].as_str().unwrap().into()
    };
    assert!(base("run/best").is_absolute() && base("run/best").ends_with("model"));
    home.fails(&format!("{GENERATE} run/best"), INPUT, &["is not here", "--base DIR"]);
    assert_eq!(home.succeeds(&format!("{GENERATE} run/best --base moved")), expected);
    home.write("given.jsonl", r#"{"prompt": "2+2=", "response": "4", "answer": "4"}"#);
    for command in [
        "score --device cpu --model run/best --data given.jsonl --out s.jsonl --base moved",
        "eval --device cpu --model run/best --set eval.examples=1 --max-new-tokens 2 --base moved",
        "plan --device cpu --model run/best --base moved",
        "explain --device cpu --model run/best --base moved --max-new-tokens 2",
        "merge --model run/best --out merged --base moved",
        "analyze token-shift --device cpu --model run/best --set model.base=moved --base moved \
         --set eval.examples=1 --samples greedy --max-new-tokens 2",
        "train --device cpu --resume run --base moved",
    ] {
        home.succeeds(command);
    }
    home.succeeds(&format!("{TRAIN} --model run/best --base moved --steps 1 --out on"));
    assert!(base("on/best").ends_with("moved"));
    home.fails(
        &format!("{GENERATE} moved --base moved"),
        INPUT,
        &["the model is not an adapter", "--base"],
    );
    home.fails(&format!("{GENERATE} run/best --base run"), INPUT, &["run/config.json"]);

    // It goes away while the adapter is held: the name that was read stays.
    let folder = ModelFolder::read(&home.path("on/best")).unwrap();
    let (model, _) = folder.load(&Device::flex()).unwrap();
    fs::remove_dir_all(home.path("moved")).unwrap();
    block_on(folder.save(&home.path("last"), &model, Storage::F32)).unwrap();
    assert_eq!(base("last"), base("on/best"));
}

/// transformers #30601 and others: the hint names what is needed, which the system's own words hid.
#[test]
fn folders_without_what_is_needed_are_told_what_to_do() {
    let home = adapted();
    let without = |name: &str, removed: &[&str], added: &[&str]| {
        copy(&home.path("model"), &home.path(name));
        removed.iter().for_each(|file| fs::remove_file(home.path(name).join(file)).unwrap());
        added.iter().for_each(|file| fs::write(home.path(name).join(file), "x").unwrap());
    };
    let (config, weights, tokenizer) = ("config.json", "model.safetensors", "tokenizer.json");
    without("bin", &[weights], &["pytorch_model.bin"]);
    without("shards", &[weights], &["model-00001-of-00002.safetensors"]);
    without("original", &[weights], &["consolidated.safetensors"]);
    without("gguf", &[weights, config, tokenizer], &["model-q4.gguf"]);
    without("sp", &[tokenizer], &["tokenizer.model"]);
    without("bare", &[tokenizer], &[]);
    fs::create_dir(home.path("empty")).unwrap();
    fs::rename(home.path("run/best"), home.path("adapter")).unwrap();
    copy(&home.path("adapter"), &home.path("pickled"));
    fs::rename(
        home.path("pickled/adapter_model.safetensors"),
        home.path("pickled/adapter_model.bin"),
    )
    .unwrap();
    copy(&home.path("model"), &home.path("cache/models--a--b/snapshots/0123"));
    for (model, words) in [
        ("bin", &["pytorch_model.bin", "AutoModelForCausalLM", "writes model.safetensors"][..]),
        ("shards", &["model.safetensors.index.json"]),
        ("original", &["consolidated.safetensors"]),
        ("gguf", &["given itself: gguf/model-q4.gguf"]),
        ("gguf/model-q4.gguf", &["the four letters GGUF"]),
        ("sp", &["tokenizer.model", "AutoTokenizer", "writes tokenizer.json"]),
        ("bare", &["tokenizer.json"]),
        ("empty", &["the folder is empty", "model.safetensors"]),
        ("Qwen/Qwen2.5-0.5B", &["nothing is downloaded", "without --offline"]),
        ("./nowhere", &["check the path", "a folder with config.json"]),
        ("model/model.safetensors", &["the folder that this file is in"]),
        ("pickled", &["adapter_model.bin is pickled", "PeftModel"]),
        ("cache/models--a--b", &["cache/models--a--b/snapshots/0123"]),
        ("run", &["this is a run's folder", "run/checkpoints/step-000002"]),
    ] {
        home.fails(&format!("{GENERATE} {model}"), INPUT, words);
    }
    fs::rename(home.path("adapter"), home.path("run/best")).unwrap();
    // A run's folder stands for its best model.
    assert_eq!(
        home.succeeds(&format!("{GENERATE} run")),
        home.succeeds(&format!("{GENERATE} run/best"))
    );
    home.succeeds("merge --device cpu --model run --out merged");
}

/// unsloth #1601; open-instruct #149.
#[test]
fn unsloth_1601_a_quantization_config_is_left_over() {
    let home = Home::new();
    let (base, _) = score(&home, "model");
    let field =
        json!({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": true}});
    variant(&home, "left", |_| {}, field.clone());
    let (scores, told) = score(&home, "left");
    assert_eq!(scores, base);
    assert!(told.contains("quantization_config is left over"), "{told}");
    home.succeeds(&format!("{TRAIN} --model left --steps 1 --out run"));
    let config: Value = serde_json::from_slice(&home.read("run/best/config.json")).unwrap();
    assert!(config.get("quantization_config").is_none(), "{config}");

    let quantise = |all: &mut Weights| {
        let (dtype, shape, bytes) = all.get_mut("model.layers.0.mlp.up_proj.weight").unwrap();
        bytes.truncate(shape.iter().product());
        *dtype = Dtype::I8;
    };
    variant(&home, "quantised", quantise, field);
    for command in [format!("{GENERATE} quantised"), "plan --model quantised".into()] {
        home.fails(&command, INPUT, &["quantization_config", "up_proj", "unquantised checkpoint"]);
    }
}

/// Windows renames no folder with a mapped file: a run lets go of the weights that it began with.
#[test]
fn a_run_keeps_no_map_of_its_model() {
    let home = Home::new();
    let selected = block_on(select("cpu")).unwrap();
    let layer = format!("[model]\npath = {:?}", home.path("model").display().to_string());
    let config = Config::resolve(&[Config::layer(&layer, "test").unwrap()]).unwrap();
    let run = Run::create(config, &selected, &home.path("run")).unwrap();
    assert!(run.base().shards.is_empty());
}
