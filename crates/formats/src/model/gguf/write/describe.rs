//! What a file's metadata say of a model, as llama.cpp's converter writes it (`set_gguf_parameters` in
//! its `conversion/base.py` and `conversion/llama.py`).

use super::super::BlockType;
use super::super::config::GEMMA_27B;
use super::super::names::GEMMA;
use super::{Metadata, Value, Vocabulary};
use crate::error::{Error, Result};
use crate::model::{Lora, ModelConfig, Scaling};

/// A model in llama.cpp's words.
#[derive(Debug, Clone)]
pub struct Described {
    /// `llama`, `qwen2`, `qwen3` or `gemma3`.
    pub architecture: &'static str,
    /// What the RoPE frequencies are divided by, one number per pair of dimensions; `None` if the model
    /// needs no such tensor.
    pub rope_divisors: Option<Vec<f32>>,
    /// Of so many layers the last sees everything; `None` if all see the same.
    local_pattern: Option<usize>,
}

impl Described {
    /// The architecture that computes what a model of this config does. `place` names the config in
    /// errors.
    pub fn of(config: &ModelConfig, place: &str) -> Result<Self> {
        let refused = |what: &str| {
            let next = "use the model as a Hugging Face folder: srft merge";
            Err(Error::input(format!("llama.cpp has no architecture for {what}"))
                .at(place)
                .next(next))
        };
        let local_pattern = match &config.local {
            Some(local) => match pattern_of(&local.layers) {
                Some(pattern) => Some(pattern),
                None => return refused("local layers in no regular order"),
            },
            None => None,
        };
        let scale = config.query_factor.powi(2) * (config.hidden_size / config.heads) as f64;
        let is_27b = config.layers as u64 == GEMMA_27B && scale == config.head_dim as f64;
        let architecture = match (config.qk_norm, config.qkv_bias, config.output_bias) {
            _ if config.norms_after => match config {
                c if c.qkv_bias => return refused("Gemma 3 with attention_bias"),
                c if c.local.is_none() => return refused("Gemma 3 without local layers"),
                c if c.query_factor != 1.0 && !is_27b => {
                    return refused("Gemma 3 whose query_pre_attn_scalar is not head_dim");
                }
                _ => GEMMA,
            },
            (false, true, false) => "qwen2",
            (false, ..) => "llama",
            (true, false, _) => "qwen3",
            (true, true, _) => return refused("Qwen3 with attention_bias"),
        };
        let rope_divisors = match config.rope_scaling {
            Scaling::Llama3 { .. } if architecture != "llama" => {
                return refused("RoPE scaling llama3 outside of Llama");
            }
            Scaling::Llama3 { .. } => Some(rope_divisors(config)),
            Scaling::None | Scaling::Linear { .. } => None,
        };
        Ok(Self { architecture, rope_divisors, local_pattern })
    }
}

/// The period in which a layer that is not local follows local ones, if that describes these.
fn pattern_of(layers: &[bool]) -> Option<usize> {
    let first = layers.iter().position(|is_local| !is_local);
    let pattern = first.map_or(layers.len() + 1, |index| index + 1);
    let is_so = (1..).zip(layers).all(|(count, local)| *local == (count % pattern != 0));
    is_so.then_some(pattern)
}

fn rope_divisors(config: &ModelConfig) -> Vec<f32> {
    let width = config.head_dim as f64;
    let frequency = |pair: usize| config.rope_theta.powf(-2.0 * pair as f64 / width);
    let divisor = |f: f64| (f / config.rope_scaling.apply(f)) as f32;
    (0..config.head_dim / 2).map(|pair| divisor(frequency(pair))).collect()
}

/// Metadata of a whole model: `name` is shown to users, `kind` is how its matrices are stored.
pub fn model(
    described: &Described,
    config: &ModelConfig,
    name: &str,
    kind: BlockType,
    vocabulary: Vocabulary,
) -> Metadata {
    let size = |n: usize| Value::U32(n as u32);
    let number = |x: f64| Value::F32(x as f32);
    let mut metadata = general(described, "model", name);
    metadata.push(("general.file_type".into(), Value::U32(file_type(kind))));
    metadata.push(("general.quantization_version".into(), Value::U32(2)));
    let mut keys = vec![
        ("vocab_size", size(config.vocab_size)),
        ("context_length", size(config.max_positions)),
        ("embedding_length", size(config.hidden_size)),
        ("block_count", size(config.layers)),
        ("feed_forward_length", size(config.intermediate_size)),
        ("attention.head_count", size(config.heads)),
        ("attention.head_count_kv", size(config.kv_heads)),
        ("attention.key_length", size(config.head_dim)),
        ("attention.value_length", size(config.head_dim)),
        ("attention.layer_norm_rms_epsilon", number(config.rms_norm_eps)),
        ("rope.dimension_count", size(config.head_dim)),
        ("rope.freq_base", number(config.rope_theta)),
    ];
    if let Scaling::Linear { factor } = config.rope_scaling {
        keys.push(("rope.scaling.type", Value::Text("linear".into())));
        keys.push(("rope.scaling.factor", number(factor)));
    }
    if let (Some(local), Some(pattern)) = (&config.local, described.local_pattern) {
        keys.push(("attention.sliding_window", size(local.window)));
        keys.push(("attention.sliding_window_pattern", size(pattern)));
        keys.push(("rope.freq_base_swa", number(local.rope_theta)));
    }
    let architecture = described.architecture;
    metadata.extend(keys.into_iter().map(|(key, value)| (format!("{architecture}.{key}"), value)));
    metadata.extend(vocabulary.into_metadata());
    metadata
}

/// Metadata of an adapter over a model.
pub fn adapter(described: &Described, lora: &Lora, name: &str) -> Metadata {
    let mut metadata = general(described, "adapter", name);
    metadata.push(("general.file_type".into(), Value::U32(file_type(BlockType::F32))));
    metadata.push(("adapter.type".into(), Value::Text("lora".into())));
    // llama.cpp divides it by the rank, whatever PEFT divides by.
    let alpha = lora.scale() * lora.rank as f64;
    metadata.push(("adapter.lora.alpha".into(), Value::F32(alpha as f32)));
    metadata
}

fn general(described: &Described, kind: &str, name: &str) -> Metadata {
    let texts = [
        ("general.architecture", described.architecture),
        ("general.type", kind),
        ("general.name", name),
        ("general.quantized_by", concat!("srft ", env!("CARGO_PKG_VERSION"))),
    ];
    texts.map(|(key, text)| (key.to_string(), Value::Text(text.into()))).into()
}

/// llama.cpp's number of a file whose matrices are stored so (`LlamaFileType`).
fn file_type(kind: BlockType) -> u32 {
    match kind {
        BlockType::F16 => 1,
        BlockType::Q8_0 => 7,
        BlockType::Bf16 => 32,
        _ => 0,
    }
}
