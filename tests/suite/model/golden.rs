//! Every architecture's model and training against torch and transformers, on both backends.

use std::collections::BTreeMap;

use crate::backends::{compare, devices, is_slow};
use crate::common::{golden_path, numbers};
use crate::models::{Golden, SFT, TOLERANCE, each, folder, uncached_logits};
use pollster::block_on;
use safetensors::SafeTensors;
use srft::config::{CacheDtype, Storage};
use srft::model::tensors::{Shard, Tensors};
use srft::model::{CONFIG, Llama, ModelFolder, TOKENIZER, WEIGHTS, weights};
use srft::ops::sampling::Sampling;
use srft::platform::names_in;
use srft::rollout::{Plan, Response, Stops, respond};
use srft::score::score;

const MODELS: [&str; 9] = [
    "llama-gqa",
    "llama-tied",
    "llama3-rope",
    "llama-linear",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma3",
    "gemma3-linear",
];

#[test]
fn logits_log_probabilities_and_entropies() {
    each(&MODELS, |what, golden, device| {
        golden.check_scores(what, &golden.folder.load(device).unwrap().0);
    });
}

/// The config in transformers 4's layout is the same model.
#[test]
fn the_older_config_layout_says_the_same() {
    let mut seen = 0;
    each(&MODELS, |what, golden, device| {
        let path = golden_path(&golden.folder.place).join("config-v4.json");
        if let Ok(config) = std::fs::read(path) {
            let mut older = golden.folder.clone();
            older.config = config;
            let (older, now) =
                (older.load(device).unwrap().0, golden.folder.load(device).unwrap().0);
            assert_eq!(older.config, now.config, "{what}");
            seen += 1;
        }
    });
    assert_eq!(seen, 7 * devices().len());
}

/// Within its window a sliding model is the full one; longer texts are refused.
#[test]
fn a_window_is_a_shorter_context() {
    for (backend, device) in devices() {
        let golden = Golden::read("mistral-window");
        let (model, _) = golden.folder.load(&device).unwrap();
        assert_eq!(model.config.max_positions, 8);
        let rows: Vec<Vec<u32>> =
            golden.rows.iter().map(|r| r[..r.len().min(8)].to_vec()).collect();
        let logits = uncached_logits(&model, &rows, 8);
        let vocabulary = model.config.vocab_size;
        for (b, row) in rows.iter().enumerate() {
            let got = &logits[b * 8 * vocabulary..][..row.len() * vocabulary];
            let expected = &golden.tensors["logits"][b * golden.positions * vocabulary..];
            let what = format!("{backend}, row {b}");
            compare(&what, got, &expected[..got.len()], TOLERANCE).unwrap();
        }
        let long = block_on(score(&model, golden.pairs(), 4096)).unwrap_err();
        assert!(long.what.contains("the model takes 8"), "{long}");
    }
}

/// Shards in BF16 and a file in F16 hold the rounded weights of `qwen2`.
#[test]
fn shards_and_half_precision() {
    each(&["qwen2-sharded", "qwen2-f16"], |what, golden, device| {
        let (model, _) = golden.folder.load(device).unwrap();
        golden.check_scores(what, &model);
    });
    let sharded = folder("qwen2-sharded");
    assert_eq!(sharded.shards.len(), 3);
    let (model, tokenizer) = sharded.load(&devices()[0].1).unwrap();
    assert_eq!(tokenizer.vocab_size(), 63);
    assert_eq!(model.config.eos_tokens.len(), 2);
}

#[test]
fn loss_and_the_gradient_of_every_parameter() {
    each(&MODELS, |what, golden, device| {
        golden.check_gradient(what, &crate::common::trainer_of(&golden.folder, device, SFT));
        let settings = format!("{SFT}[train]\ncheckpointing = true\n");
        let recomputing = crate::common::trainer_of(&golden.folder, device, &settings);
        golden.check_gradient(&format!("{what}, layer by layer"), &recomputing);
    });
}

/// Whatever is computed again comes out the same to the last bit, and is added up in the same order: a head of its
/// own, and one that is the embedding too.
#[test]
fn how_many_layers_are_computed_again_changes_no_bit() {
    each(&["llama-tied", "mistral"], |what, golden, device| {
        let (mut trainer, _) = golden.trainer(device, ""); // several micro-batches
        let whole = golden.numbers_of_gradient(&mut trainer, 0);
        for recomputed in 1..=trainer.learner.policy.config.layers {
            let again = golden.numbers_of_gradient(&mut trainer, recomputed);
            assert!(again == whole, "{what}: {recomputed} layers computed again");
        }
    });
}

#[test]
fn ten_steps_of_adamw() {
    each(&MODELS, |what, golden, device| {
        // The optimiser knows no architecture, and every architecture's gradient is compared above.
        if is_slow(what) && !what.starts_with("qwen") {
            return;
        }
        let (trainer, lr) = golden.trainer(device, "");
        golden.check_ten_steps(what, trainer, lr);
    });
}

/// Slots change nothing, and three rows in two of them are refilled.
fn greedily(model: &Llama, prompts: &[Vec<u32>], max_new_tokens: usize) -> Vec<Response> {
    let sampling = Sampling { temperature: 0.0, ..Default::default() };
    let plan = Plan {
        group: 1,
        sampling,
        max_new_tokens,
        eos_tokens: &[],
        stops: Stops::default(),
        slots: 0,
        cache: CacheDtype::F32,
        seed: 0,
        step: 0,
    };
    block_on(respond(model, prompts, &plan)).unwrap()
}

#[test]
fn greedy_generation() {
    each(&MODELS, |what, golden, device| {
        let (model, _) = golden.folder.load(device).unwrap();
        let tokens = |key: &str| -> Vec<u32> {
            numbers(&golden.numbers["greedy"][key]).iter().map(|&t| t as u32).collect()
        };
        let expected = tokens("generated");
        let responses = greedily(&model, &[tokens("prompt")], expected.len());
        assert_eq!(responses[0].tokens, expected, "{what}");
    });
}

/// The cache holds what a pass over the whole text would compute: the same tokens come out one by
/// one, for prompts of different lengths that pass several readbacks of ids.
#[test]
fn cached_decoding_equals_uncached() {
    each(&MODELS, |what, golden, device| {
        let (model, _) = golden.folder.load(device).unwrap();
        let vocabulary = model.config.vocab_size;
        let mut rows: Vec<Vec<u32>> =
            golden.rows.iter().zip([4, 9, 1]).map(|(row, n)| row[..n].to_vec()).collect();
        let responses = greedily(&model, &rows, 20);
        for t in 0..20 {
            let positions = rows.iter().map(Vec::len).max().unwrap();
            let logits = uncached_logits(&model, &rows, positions);
            for (b, (row, response)) in rows.iter_mut().zip(&responses).enumerate() {
                let last = (b * positions + row.len() - 1) * vocabulary;
                let logits = &logits[last..last + vocabulary];
                let best =
                    (0..vocabulary).max_by(|&i, &j| logits[i].total_cmp(&logits[j])).unwrap();
                assert_eq!(response.tokens[t], best as u32, "{what}: row {b}, token {t}");
                row.push(best as u32);
            }
        }
    });
}

/// What the sampler says of its tokens is what scoring them afterwards gives: ratios start at 1.
#[test]
fn sampled_statistics_equal_scored_ones() {
    let mut ends = [0, 0];
    each(&MODELS, |what, golden, device| {
        let (model, _) = golden.folder.load(device).unwrap();
        let prompts: Vec<Vec<u32>> =
            golden.rows.iter().zip([4, 9, 1]).map(|(row, n)| row[..n].to_vec()).collect();
        let plan = Plan {
            group: 5,
            sampling: Sampling::default(),
            max_new_tokens: 19,
            eos_tokens: &model.config.eos_tokens,
            stops: Stops::default(),
            slots: 0,
            cache: CacheDtype::F32,
            seed: 3,
            step: 0,
        };
        let responses = block_on(respond(&model, &prompts, &plan)).unwrap();
        responses.iter().for_each(|r| ends[usize::from(r.truncated)] += 1);
        let pairs = responses.iter().map(|r| (prompts[r.prompt].clone(), r.tokens.clone()));
        let scored = block_on(score(&model, pairs.collect(), 100)).unwrap();
        for (response, scored) in responses.iter().zip(scored) {
            let f64s = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
            for (of, sampled, scored) in [
                ("log-probabilities", &response.logprobs, f64s(scored.logprobs)),
                ("entropies", &response.entropies, f64s(scored.entropies)),
            ] {
                let row = (response.prompt, response.sample);
                compare(&format!("{what}: {of} of {row:?}"), sampled, &scored, TOLERANCE).unwrap();
            }
        }
    });
    assert!(ends.iter().all(|&n| n > 0), "some end, some are cut: {ends:?}");
}

/// Names, types, shapes and bytes of a safetensors file.
fn contents(bytes: &[u8]) -> BTreeMap<String, (String, Vec<usize>, Vec<u8>)> {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let entry = |(name, view): (String, safetensors::tensor::TensorView)| {
        (name, (format!("{:?}", view.dtype()), view.shape().to_vec(), view.data().to_vec()))
    };
    file.tensors().into_iter().map(entry).collect()
}

/// The files of a folder with the model's weights, by name.
fn saved(folder: &ModelFolder, model: &Llama, storage: Storage) -> Vec<(String, Vec<u8>)> {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("saved");
    block_on(folder.save(&path, model, storage)).unwrap();
    let files = names_in(&path).unwrap().into_iter().filter(|name| !name.starts_with('.'));
    files.map(|name| (name.clone(), std::fs::read(path.join(name)).unwrap())).collect()
}

#[test]
fn a_model_folder_is_written_as_it_was_read() {
    each(&MODELS, |what, golden, device| {
        let (model, _) = golden.folder.load(device).unwrap();
        let files = saved(&golden.folder, &model, Storage::F32);
        assert_eq!(
            files.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            [CONFIG, WEIGHTS, TOKENIZER]
        );
        assert_eq!(files[0].1, golden.folder.config);
        assert_eq!(files[2].1, golden.folder.tokenizer);
        let (written, given) = (contents(&files[1].1), contents(&golden.folder.shards[0].bytes));
        assert_eq!(written.keys().collect::<Vec<_>>(), given.keys().collect::<Vec<_>>());
        assert!(written == given, "{what}: the tensors differ");
        // transformers refuses a file that does not name its framework.
        let (_, metadata) = SafeTensors::read_metadata(&files[1].1).unwrap();
        assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
        let shards = [Shard { name: WEIGHTS.into(), bytes: files[1].1.clone().into() }];
        let mut tensors = Tensors::open("again", &shards).unwrap();
        let again =
            weights::read(&mut tensors, model.config.clone(), device, |_, _| Ok(())).unwrap();
        let logits = |model: &Llama| uncached_logits(model, &golden.rows, golden.positions);
        assert_eq!(logits(&again), logits(&model), "{what}");
    });
}

/// What came in BF16 goes out in BF16 bit for bit, whichever shards it came in, and its config says
/// so; what is carried along is not touched.
#[test]
fn half_precision_is_written_as_it_was_read() {
    let device = &devices()[0].1;
    for (name, storage, dtype) in
        [("qwen2-sharded", Storage::Bf16, "bfloat16"), ("qwen2-f16", Storage::F16, "float16")]
    {
        let folder = folder(name);
        let (model, _) = folder.load(device).unwrap();
        let files: BTreeMap<String, Vec<u8>> =
            saved(&folder, &model, storage).into_iter().collect();
        let mut given = BTreeMap::new();
        folder.shards.iter().for_each(|shard| given.extend(contents(&shard.bytes)));
        assert!(contents(&files[WEIGHTS]) == given, "{name}: the tensors differ");
        let config: serde_json::Value = serde_json::from_slice(&files[CONFIG]).unwrap();
        assert_eq!(config["dtype"], dtype);
        for (beside, bytes) in &folder.beside {
            assert_eq!(&files[beside], bytes, "{name}: {beside}");
        }
        let wide = saved(&folder, &model, Storage::F32);
        let config: serde_json::Value = serde_json::from_slice(&wide[0].1).unwrap();
        assert_eq!((&*wide[0].0, config["dtype"].as_str()), (CONFIG, Some("float32")));
    }
    assert_eq!(folder("qwen2-sharded").beside.len(), 2, "generation and tokenizer config");
}
