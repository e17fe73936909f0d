//! The names of a model folder's files.

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
