//! What is held in memory, counted by this binary's allocator. Each test has its process to itself, since
//! the count is the whole process's.

mod base;
mod plan;
mod saving;

use peak_alloc::PeakAlloc;

#[global_allocator]
static COUNTED: PeakAlloc = PeakAlloc;

/// 21 MiB of weights, of which the embedding is 4.
const MODEL: &str = r#"{"model_type": "llama", "vocab_size": 4096, "hidden_size": 256,
    "intermediate_size": 704, "num_hidden_layers": 6, "num_attention_heads": 8,
    "num_key_value_heads": 4, "rms_norm_eps": 1e-5, "max_position_embeddings": 256,
    "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2}"#;
