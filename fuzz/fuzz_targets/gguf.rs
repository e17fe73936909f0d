//! GGUF: a file, or two parts of a split one, between which the four letters GGUF stand again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use srft_formats::model::ModelConfig;
use srft_formats::model::gguf::{Container, Files, Model};
use srft_formats::model::tensors::Shard;

const MAGIC: &[u8] = b"GGUF";

fuzz_target!(|input: &[u8]| {
    check(&[shard("whole", input)]);
    let second = input.windows(4).skip(1).position(|letters| letters == MAGIC);
    if let Some(at) = second {
        let (first, second) = input.split_at(at + 1);
        check(&[shard("first", first), shard("second", second)]);
    }
});

fn shard(name: &str, bytes: &[u8]) -> Shard {
    Shard { name: name.into(), bytes: bytes.to_vec().into() }
}

fn check(shards: &[Shard]) {
    for Shard { bytes, .. } in shards {
        let Ok(file) = Container::open(bytes) else { continue };
        for tensor in &file.tensors {
            let elements: usize = tensor.shape.iter().product();
            let blocks = tensor.bytes.len() / tensor.kind.bytes();
            assert_eq!(blocks * tensor.kind.elements(), elements, "{}", tensor.name);
            assert_eq!(tensor.bytes.len() % tensor.kind.bytes(), 0, "{}", tensor.name);
        }
    }
    let Ok(model) = Model::open("m.gguf", shards) else { return };
    let architecture =
        model.metadata().text("general.architecture").ok().flatten().unwrap_or_default();
    for tensor in model.tensors() {
        let name = srft_formats::model::gguf::names::from_gguf(architecture, tensor.name);
        let name = name.as_deref().unwrap_or(tensor.name);
        let rows = if tensor.shape.len() == 1 { 1 } else { tensor.shape[0] };
        let Ok(values) = model.rows(name, 0..rows) else { continue };
        assert!(values.iter().all(|value| value.is_finite()));
        assert_eq!(model.blocks(name).unwrap().len(), tensor.bytes.len());
        assert!(values.ends_with(&model.rows(name, rows - 1..rows).unwrap()));
    }
    if let Ok(files) = Files::of(&model) {
        let _ = ModelConfig::from_json(&files.config, "m.gguf");
        let json: serde_json::Value = serde_json::from_slice(&files.tokenizer).expect("JSON");
        assert!(json["model"]["vocab"].is_object());
    }
}
