//! What saving a model and taking it up again hold in host memory, counted on the CPU backend.

#[allow(dead_code, reason = "each test file uses a part")]
mod common;

use burn::tensor::Device;
use peak_alloc::PeakAlloc;
use pollster::block_on;
use srft::checkpoint::{self, State};
use srft::config::Storage;
use srft::model::{Llama, ModelConfig, ModelFolder};
use srft::objective::buffer::Buffer;
use srft::optim::AdamW;
use srft::platform::map;

#[global_allocator]
static COUNTED: PeakAlloc = PeakAlloc;

/// 21 MiB of weights, of which the embedding is 4.
const MODEL: &str = r#"{"model_type": "llama", "vocab_size": 4096, "hidden_size": 256,
    "intermediate_size": 704, "num_hidden_layers": 6, "num_attention_heads": 8,
    "num_key_value_heads": 4, "rms_norm_eps": 1e-5, "max_position_embeddings": 256,
    "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2}"#;

/// Names, chunks and everything else.
const SLACK_BYTES: usize = 1 << 20;

/// The most that was allocated at a time while `action` ran, beyond what was before, in bytes.
fn peak_bytes<T>(action: impl FnOnce() -> T) -> (T, usize) {
    let before = COUNTED.current_usage();
    COUNTED.reset_peak_usage();
    let result = action();
    (result, COUNTED.peak_usage() - before)
}

/// One test, since the count is the whole process's.
#[test]
fn weights_and_moments_leave_and_return_a_block_at_a_time() {
    let home = tempfile::tempdir().unwrap();
    let shape = ModelConfig::from_json(MODEL.as_bytes(), "test").unwrap();
    let model = Llama::random(shape, 1, &Device::flex());
    let tokenizer = ModelFolder::tiny().tokenizer;
    let folder = ModelFolder::of_parts("test", MODEL.into(), Vec::new(), tokenizer);
    let mut optimizer = AdamW::new(common::config("").optimizer.clone(), &model);
    let blocks = model.parameters();
    let sizes = || blocks.iter().map(|p| 4 * p.tensor.shape().num_elements());
    let most = 2 * sizes().max().unwrap() + SLACK_BYTES;
    assert!(2 * most < sizes().sum(), "a copy of the model would be seen");

    for storage in [Storage::F32, Storage::Bf16] {
        let path = home.path().join("best");
        let (saved, peak) = peak_bytes(|| block_on(folder.save(&path, &model, storage)));
        saved.unwrap();
        assert!(peak <= most, "saved as {storage:?}: {peak} bytes, at most {most} expected");
    }

    let path = home.path().join("step-000001");
    let state = State::new(0, "test".into());
    let buffer = Buffer::default();
    let write = checkpoint::write(&path, &folder, &model, &optimizer, &buffer, state);
    let (saved, peak) = peak_bytes(|| block_on(write));
    saved.unwrap();
    assert!(peak <= most, "checkpoint: {peak} bytes, at most {most} expected");

    let (checked, peak) = peak_bytes(|| checkpoint::check(|name| map(&path.join(name))));
    assert_eq!(checked.unwrap().checksums.len(), 4);
    assert!(peak <= SLACK_BYTES, "checked: {peak} bytes, at most {SLACK_BYTES} expected");

    let (restored, peak) = peak_bytes(|| {
        let moments = map(&path.join(checkpoint::MOMENTS))?;
        checkpoint::restore_moments(&mut optimizer, &moments, 1)
    });
    restored.unwrap();
    assert!(peak <= most, "restored: {peak} bytes, at most {most} expected");
}
