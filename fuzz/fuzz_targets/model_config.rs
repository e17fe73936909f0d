//! `config.json` and, after a byte 0, `generation_config.json`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use srft_formats::model::Scaling;
use srft_formats::model::config::ModelConfig;
use std::collections::HashSet;

fuzz_target!(|input: &[u8]| {
    let [config, generation] = srft_fuzz::files(input);
    let Ok(mut config) = ModelConfig::from_json(config.unwrap_or_default(), "config.json") else {
        return;
    };
    let sizes = [config.vocab_size, config.hidden_size, config.intermediate_size, config.layers]
        .into_iter()
        .chain([config.heads, config.kv_heads, config.head_dim, config.max_positions]);
    assert!(sizes.into_iter().all(|size| (1..=1 << 20).contains(&size)), "{config:?}");
    assert!(config.head_dim.is_multiple_of(2) && config.heads.is_multiple_of(config.kv_heads));
    let positive = |number: f64| number > 0.0 && number.is_finite();
    assert!(positive(config.rms_norm_eps) && positive(config.rope_theta), "{config:?}");
    assert!(match config.rope_scaling {
        Scaling::None => true,
        Scaling::Linear { factor } => positive(factor),
        Scaling::Llama3 { factor, low, high, original_positions } =>
            [factor, low, high, original_positions].into_iter().all(positive) && low < high,
    });
    if let Some(generation) = generation {
        let _ = config.add_generation_config(generation, "generation_config.json");
    }
    if config.require_end().is_ok() {
        assert!(config.eos_tokens.iter().all(|&id| (id as usize) < config.vocab_size));
        let distinct: HashSet<u32> = config.eos_tokens.iter().copied().collect();
        assert!(distinct.len() == config.eos_tokens.len() && !distinct.is_empty());
    }
});
