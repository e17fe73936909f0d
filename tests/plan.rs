//! `srft plan`'s prediction against what the CPU backend allocates.

#[allow(dead_code, reason = "each test file uses a part")]
mod common;

use burn::tensor::Device;
use peak_alloc::PeakAlloc;
use pollster::block_on;
use srft::model::{Llama, ModelConfig, ModelFolder};
use srft::plan::plan;
use srft::records::Example;
use srft::run::lora_settings;
use srft::text::Tokenizer;

#[global_allocator]
static COUNTED: PeakAlloc = PeakAlloc;

/// Wide enough that tensors, not the program, are what is counted.
const MODEL: &str = r#"{"model_type": "llama", "vocab_size": 4096, "hidden_size": 256,
    "intermediate_size": 704, "num_hidden_layers": 6, "num_attention_heads": 8,
    "num_key_value_heads": 4, "rms_norm_eps": 1e-5, "max_position_embeddings": 256,
    "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2}"#;

const STEP: &str = "[objective]\nmethod = \"srft\"\n[rollout]\nprompts = 4\ngroup = 4\n\
    max_new_tokens = 230\n[train]\nmicro_batch_tokens = 1024\n";

/// One test, since the count is the whole process's.
#[test]
fn predictions_are_within_15_percent_of_counted_allocations() {
    let mut wrong = Vec::new();
    for settings in [
        "checkpointing = false\n",
        "checkpointing = true\n",
        "checkpointing = false\n[lora]\nrank = 8\n",
        "checkpointing = true\n[lora]\nrank = 8\n",
        "checkpointing = true\n[lora]\nrank = 32\ntargets = \"q_proj v_proj\"\n",
    ] {
        let before = COUNTED.current_usage();
        let config = common::config(&format!("{STEP}{settings}"));
        let shape = ModelConfig::from_json(MODEL.as_bytes(), "test").unwrap();
        let lora = lora_settings(&config).unwrap();
        let predicted = plan(&config, &shape, lora.as_ref(), true).peak_bytes();
        let mut model = Llama::random(shape, 1, &Device::flex());
        if let Some(lora) = lora {
            model.adapt(lora, 1);
        }
        let tokenizer = Tokenizer::from_bytes(&ModelFolder::tiny().tokenizer, "tiny").unwrap();
        let example = |i: usize| Example {
            suite: "s".into(),
            prompt: format!("{i}+{i}=1234567890123456"),
            demonstration: Some("1".repeat(229)),
            answer: "1".into(),
            layout: Default::default(),
            extra: Default::default(),
        };
        let examples = (0..8).map(example).collect();
        let mut trainer = common::trainer(model, tokenizer, &format!("{STEP}{settings}"), examples);
        COUNTED.reset_peak_usage();
        let (report, _) = block_on(trainer.step()).unwrap();
        assert!(report.rollout_tokens > 16 * 200, "{} tokens sampled", report.rollout_tokens);
        let counted = COUNTED.peak_usage() - before;
        let ratio = predicted as f64 / counted as f64;
        if !(0.85..=1.15).contains(&ratio) {
            let mib = |bytes: usize| bytes >> 20;
            wrong.push(format!(
                "{settings:?}: predicted {} MiB, counted {} MiB, ratio {ratio:.3}",
                mib(predicted),
                mib(counted)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
