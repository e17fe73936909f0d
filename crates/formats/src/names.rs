//! The names of a model folder's files, and the prefix of tasks.

/// What is before the name of a task of reasoning-gym, where data are named.
pub const REASONING_GYM: &str = "reasoning_gym:";

/// The model's shape.
pub const CONFIG: &str = "config.json";
/// The weights, where they are one file.
pub const WEIGHTS: &str = "model.safetensors";
/// The tokenizer.
pub const TOKENIZER: &str = "tokenizer.json";
/// The index: which shard holds which tensor.
pub const INDEX: &str = "model.safetensors.index.json";
/// An adapter's settings, and the base's name.
pub const ADAPTER_CONFIG: &str = "adapter_config.json";
/// An adapter's weights.
pub const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";
/// What ends a text, among settings for sampling.
pub const GENERATION: &str = "generation_config.json";
/// The tokenizer's settings; older models have the chat template here.
pub const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// The special tokens, by their role.
pub const SPECIAL_TOKENS_MAP: &str = "special_tokens_map.json";
/// The chat template.
pub const TEMPLATE: &str = "chat_template.jinja";

/// Texts beside the shape, the weights and the tokenizer: saved with a model unchanged, so that other programs
/// can load it.
pub const BESIDE: [&str; 8] = [
    GENERATION,
    TOKENIZER_CONFIG,
    SPECIAL_TOKENS_MAP,
    "added_tokens.json",
    TEMPLATE,
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
];
