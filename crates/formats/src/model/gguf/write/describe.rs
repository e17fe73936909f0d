//! What a file's metadata say of a model, as llama.cpp's converter writes it (`set_gguf_parameters` in
//! its `conversion/base.py` and `conversion/llama.py`).

use super::super::BlockType;
use super::{Metadata, Value, Vocabulary};
use crate::error::{Error, Result};
use crate::model::{Lora, ModelConfig, Scaling};

/// A model in llama.cpp's words.
#[derive(Debug, Clone)]
pub struct Described {
    /// `llama`, `qwen2` or `qwen3`.
    pub architecture: &'static str,
    /// What the RoPE frequencies are divided by, one number per pair of dimensions; `None` if the model
    /// needs no such tensor.
    pub rope_divisors: Option<Vec<f32>>,
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
        let architecture = match (config.qk_norm, config.qkv_bias, config.output_bias) {
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
        Ok(Self { architecture, rope_divisors })
    }
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
