//! Adapters against PEFT (`tests/golden/lora`, `lora-gemma3`), on both backends.

use crate::backends::{compare, devices, floats};
use crate::common::{golden, golden_path, trainer_of};
use crate::models::{Golden, SFT, TOLERANCE, folder, uncached_logits};
use pollster::block_on;
use srft::config::{Frozen, Storage};
use srft::model::tensors::Shard;
use srft::model::{Lora, ModelFolder};

/// An adapter of `tests/golden/lora` over `qwen2`, with the numbers of `full`.
fn adapted(adapter: &str) -> Golden {
    adapted_of("lora", adapter, "qwen2")
}

/// An adapter in the folder `name` over `base`.
fn adapted_of(name: &str, adapter: &str, base: &str) -> Golden {
    let mut golden = Golden::of(name, base);
    let part = |file: &str| crate::common::golden(&format!("{name}/{adapter}/{file}"));
    golden.folder.adapter = Some(srft::model::AdapterFiles {
        place: adapter.into(),
        config: part("adapter_config.json"),
        weights: Shard {
            name: "adapter_model.safetensors".into(),
            bytes: part("adapter_model.safetensors").into(),
        },
    });
    golden
}

#[test]
fn logits_loss_gradients_and_ten_steps() {
    let all = [adapted("full"), adapted_of("lora-gemma3", "full", "gemma3")];
    let devices = devices();
    for (golden, (backend, device)) in all.iter().flat_map(|g| devices.iter().map(move |d| (g, d)))
    {
        golden.check_scores(backend, &golden.folder.load(device).unwrap().0);
        for settings in ["", "checkpointing = true\n"] {
            let what = format!("{} {backend} {settings}", golden.numbers["base"]);
            let (trainer, lr) = golden.trainer(device, settings);
            golden.check_gradient(&what, &trainer);
            let before = trainer.learner.policy.weights();
            golden.check_ten_steps(&what, trainer, lr);
            let frozen = golden.folder.load(device).unwrap().0.weights();
            for (a, b) in before.iter().zip(frozen) {
                assert_eq!(floats(a.tensor.clone()), floats(b.tensor), "{}", a.name);
            }
        }
    }
}

#[test]
fn without_adapters_it_is_the_base() {
    for (backend, device) in devices() {
        let golden = adapted("full");
        let bare = golden.folder.load(&device).unwrap().0.without_adapters();
        assert!(bare.lora().is_none());
        Golden::of("qwen2", "qwen2").check_scores(backend, &bare);
    }
}

#[test]
fn merged_weights_and_their_logits() {
    for (backend, device) in devices() {
        let golden = adapted("full");
        let (mut model, _) = golden.folder.load(&device).unwrap();
        model.merge();
        assert!(model.lora().is_none());
        golden.check_scores(backend, &model);
        let mut merged = 0;
        for weight in model.weights() {
            if let Some(expected) = golden.tensors.get(&format!("merged.{}", weight.name)) {
                let got = floats(weight.tensor);
                compare(&weight.name, &got, expected, TOLERANCE).unwrap();
                merged += 1;
            }
        }
        assert_eq!(merged, 14);

        let golden = adapted("rslora");
        let (model, _) = golden.folder.load(&device).unwrap();
        let logits = uncached_logits(&model, &golden.rows, golden.positions);
        let vocabulary = model.config.vocab_size;
        for (b, row) in golden.rows.iter().enumerate() {
            let first = b * golden.positions * vocabulary;
            let valid = first..first + row.len() * vocabulary;
            let expected = &golden.tensors["rslora.logits"][valid.clone()];
            compare(&format!("rslora, {backend}, row {b}"), &logits[valid], expected, TOLERANCE)
                .unwrap();
        }
    }
}

#[test]
fn what_is_more_than_a_product_of_two_matrices_is_refused() {
    let mut refused = 0;
    for entry in std::fs::read_dir(golden_path("lora/refused")).unwrap() {
        let setting = entry.unwrap().file_name().into_string().unwrap();
        let config = golden(&format!("lora/refused/{setting}/adapter_config.json"));
        let error = Lora::from_json(&config, 2, "a").unwrap_err();
        assert!(error.what.starts_with(&format!("{setting} = ")), "{setting}: {error}");
        refused += 1;
    }
    assert_eq!(refused, 5);
}

/// Fresh adapters change nothing; written in PEFT's layout they are read back over their base.
#[test]
fn an_adapter_folder_is_written_as_it_was_read() {
    let home = tempfile::tempdir().unwrap();
    for (backend, device) in devices() {
        let base = folder("qwen2-sharded");
        let (mut model, _) = base.load(&device).unwrap();
        let golden = Golden::read("qwen2-sharded");
        let plain = uncached_logits(&model, &golden.rows, golden.positions);
        let targets = ["q_proj", "o_proj", "up_proj"].map(String::from).to_vec();
        let lora = Lora { rank: 3, alpha: 6.0, rslora: true, dropout: 0.1, targets };
        model.adapt(lora.clone(), 5);
        assert_eq!(model.parameters().len(), 2 * 3 * model.config.layers, "{backend}");
        assert_eq!(uncached_logits(&model, &golden.rows, golden.positions), plain);
        for p in model.parameters_mut() {
            *p.tensor = p.tensor.clone() + 0.01;
        }
        let changed = uncached_logits(&model, &golden.rows, golden.positions);
        assert_ne!(changed, plain);

        let path = home.path().join(backend);
        block_on(base.save(&path, &model, Storage::F32)).unwrap();
        let (again, _) = ModelFolder::read(&path).unwrap().load(&device).unwrap();
        assert_eq!(again.lora(), Some(&lora));
        assert_eq!(uncached_logits(&again, &golden.rows, golden.positions), changed);
        let kept = ["tokenizer_config.json", "generation_config.json"];
        assert!(kept.iter().all(|name| path.join(name).exists()), "carried along");
    }
}

/// Weights that stay in half precision or in blocks give the same numbers as widened ones; embedding and head
/// are one matrix, and two.
#[test]
fn frozen_weights_stay_as_they_are_stored() {
    let targets = ["k_proj", "o_proj", "down_proj"].map(String::from).to_vec();
    let lora = Lora { rank: 2, alpha: 4.0, rslora: false, dropout: 0.0, targets };
    for (backend, device) in devices() {
        let mut mixed = Golden::of("gguf-read/mixed", "llama-gqa");
        mixed.folder = ModelFolder::read(&golden_path("gguf-read/mixed.gguf")).unwrap();
        let halves = ["qwen2-sharded", "qwen2-f16"].map(|name| (name, Golden::read(name)));
        for (name, golden) in halves.into_iter().chain([("mixed", mixed)]) {
            let adapted = |frozen| {
                let (mut model, tokenizer) = golden.folder.load_frozen(frozen, &device).unwrap();
                golden.check_scores(&format!("{backend} {name} {frozen:?}"), &model);
                model.adapt(lora.clone(), 5);
                for p in model.parameters_mut() {
                    *p.tensor = p.tensor.clone() + 0.01;
                }
                (model, tokenizer)
            };
            let (stored, whole) = (adapted(Frozen::Stored).0, adapted(Frozen::F32).0);
            let (layers, tables) = (stored.config.layers, if stored.config.tied { 1 } else { 2 });
            assert_eq!(stored.config.tied, name != "mixed");
            assert_eq!(stored.weights().len() + 7 * layers + tables, whole.weights().len());
            for settings in ["", "checkpointing = true\n"] {
                let settings = format!("{SFT}[train]\n{settings}");
                let [stored, whole] = [Frozen::Stored, Frozen::F32].map(|frozen| {
                    let (model, tokenizer) = adapted(frozen);
                    let trainer = crate::common::trainer(model, tokenizer, &settings, Vec::new());
                    let gradient =
                        block_on(trainer.learner.gradient(&golden.update(), trainer.step)).unwrap();
                    assert!(gradient.norm > 0.0);
                    gradient.tensors.into_iter().flat_map(floats).collect::<Vec<f32>>()
                });
                assert_eq!(stored, whole, "{backend} {name} {settings}");
            }
            let merged = [stored, whole].map(|mut model| {
                model.merge();
                model.weights().into_iter().map(|w| (w.name, floats(w.tensor))).collect::<Vec<_>>()
            });
            assert!(merged[0] == merged[1], "{backend} {name}");
        }
    }
}

/// Dropout is drawn by seed, step and micro-batch, the same bits whether a layer is computed once or
/// twice, and it is off when the model is looked at.
#[test]
fn dropout_is_a_function_of_the_step() {
    for (backend, device) in devices() {
        let mut golden = adapted("full");
        let adapter = golden.folder.adapter.as_mut().unwrap();
        let mut config: serde_json::Value = serde_json::from_slice(&adapter.config).unwrap();
        config["lora_dropout"] = 0.5.into();
        adapter.config = config.to_string().into_bytes();
        golden.check_scores(backend, &golden.folder.load(&device).unwrap().0);
        let gradient = |recomputed: usize, step: u32| {
            let mut trainer = trainer_of(&golden.folder, &device, SFT);
            trainer.step = step;
            golden.numbers_of_gradient(&mut trainer, recomputed)
        };
        let once = gradient(0, 1);
        assert!(once == gradient(1, 1), "{backend}: a layer computed again");
        assert!(once == gradient(2, 1), "{backend}: both layers computed again");
        assert!(once == gradient(0, 1), "{backend}: the same step, the same masks");
        assert!(once != gradient(0, 2), "{backend}: another step, other masks");
    }
}
