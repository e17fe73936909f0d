//! What there is to say of a published model.

use serde::Serialize;

/// A published model, before anything runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Facts {
    /// The path that it was brought under.
    pub name: String,
    /// As Hugging Face calls it, for example `LlamaForCausalLM`.
    pub architecture: String,
    /// Transformer layers.
    pub layers: u32,
    /// Hidden width.
    pub hidden: u32,
    /// Entries of the vocabulary.
    pub vocabulary: u32,
    /// Tokens of the longest text.
    pub context: u32,
    /// Numbers.
    pub parameters: f64,
    /// Bytes of the weights as they are stored.
    pub bytes: f64,
    /// How they are stored, the most bytes first.
    pub types: Vec<StoredView>,
    /// The tokenizer's kind, for example `BPE`.
    pub tokenizer: String,
    /// Its tokens.
    pub tokens: u32,
    /// Whether it has a chat template.
    pub chats: bool,
    /// Whether it is an adapter over a base.
    pub adapted: bool,
    /// Numbers that train by these settings.
    pub trained: f64,
    /// What a run by these settings needs; the base is needed once for all runs.
    pub memory: Vec<MemoryView>,
    /// The most that it needs at a time, bytes.
    pub peak_bytes: f64,
    /// Where its files contradict each other.
    pub notes: Vec<String>,
}

/// Tensors that are stored alike.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct StoredView {
    /// The type, for example `Q4_1` or `BF16`.
    pub name: String,
    /// How many.
    pub tensors: u32,
    /// Bytes of them all.
    pub bytes: f64,
}

/// What memory is needed for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct MemoryView {
    /// `always`, while `sampling`, or while an `update` is computed.
    pub when: String,
    /// What it is for.
    pub name: String,
    /// How much.
    pub bytes: f64,
    /// How it is computed, in words.
    pub of: String,
}
