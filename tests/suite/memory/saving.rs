//! What saving a model and taking it up again hold in host memory, counted on the CPU backend.

use super::{COUNTED, MODEL};
use crate::alone::alone;
use burn::tensor::Device;
use pollster::block_on;
use srft::checkpoint::{self, Held, State};
use srft::config::Storage;
use srft::model::{Llama, ModelConfig, ModelFolder};
use srft::objective::buffer::Buffer;
use srft::optim::AdamW;
use srft::platform::map;

/// Names, chunks and everything else.
const SLACK_BYTES: usize = 1 << 20;

/// The most that was allocated at a time while `action` ran, beyond what was before, in bytes.
fn peak_bytes<T>(action: impl FnOnce() -> T) -> (T, usize) {
    let before = COUNTED.current_usage();
    COUNTED.reset_peak_usage();
    let result = action();
    (result, COUNTED.peak_usage() - before)
}

#[test]
fn weights_and_moments_leave_and_return_a_block_at_a_time() {
    alone(
        "memory::saving::weights_and_moments_leave_and_return_a_block_at_a_time",
        saved_and_restored,
    );
}

fn saved_and_restored() {
    let home = tempfile::tempdir().unwrap();
    let shape = ModelConfig::from_json(MODEL.as_bytes(), "test").unwrap();
    let model = Llama::random(shape, 1, &Device::flex());
    let tokenizer = ModelFolder::tiny().tokenizer;
    let folder = ModelFolder::of_parts("test", MODEL.into(), Vec::new(), tokenizer);
    let mut optimizer = AdamW::new(crate::common::config("").optimizer.clone(), &model);
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
    let held = Held { buffer: &buffer, turns: None };
    let write = checkpoint::write(&path, &folder, &model, &optimizer, held, state);
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
