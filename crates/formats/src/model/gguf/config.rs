//! A model's shape from the metadata, as the `config.json` that transformers would have: what reads, checks
//! and writes a folder's config then does the same for a GGUF file. The keys are those that llama.cpp's
//! `llama_model::load_hparams` reads.

use super::keys::{Keys, missing, unsupported};
use super::names::GEMMA;
use super::tensors::{Model, ROPE_FACTORS};
use super::{BlockType, special};
use crate::error::Result;
use crate::model::Scaling;
use serde_json::{Map, Value, json};
use std::f64::consts::TAU;

/// Settings that change the mathematics, each with the value that leaves it as it is.
const NEUTRAL: [(&str, f64); 10] = [
    ("expert_count", 0.0),
    ("attention.scale", 0.0),
    ("attention.clamp_kqv", 0.0),
    ("attention.max_alibi_bias", 0.0),
    ("attn_logit_softcapping", 0.0),
    ("final_logit_softcapping", 0.0),
    ("embedding_scale", 0.0),
    ("logit_scale", 0.0),
    ("residual_scale", 0.0),
    ("rope.scaling.attn_factor", 1.0),
];

/// θ if the file has none.
const DEFAULT_THETA: f64 = 10_000.0;
/// Of so many of Gemma 3's layers the last sees everything, if the file has no number.
pub const GEMMA_PATTERN: u64 = 6;
/// Layers of Gemma 3 27B.
pub const GEMMA_27B: u64 = 62;
/// Llama 3.1's `low_freq_factor` and `high_freq_factor`, which no published model changes.
const LLAMA3_TURNS: (f64, f64) = (1.0, 4.0);
/// Its `original_max_position_embeddings`.
const LLAMA3_POSITIONS: f64 = 8192.0;

impl Keys<'_, '_> {
    /// Refuses what changes the mathematics and is not implemented.
    fn require_known(&self, head_width: u64) -> Result<()> {
        for (key, neutral) in NEUTRAL {
            if let Some(value) = self.number(key)?.filter(|&value| value != neutral) {
                return Err(unsupported(self.name(key), value, neutral));
            }
        }
        for key in ["attention.value_length", "rope.dimension_count"] {
            if let Some(width) = self.may(key)?.filter(|&width| width != head_width) {
                return Err(unsupported(
                    self.name(key),
                    width,
                    format!("a head's width, {head_width}"),
                ));
            }
        }
        match self.metadata.flag(&self.name("attention.causal"))? {
            Some(false) => Err(unsupported(self.name("attention.causal"), false, true)),
            _ => Ok(()),
        }
    }

    /// The scaling of rotary frequencies as transformers writes it; null for none.
    fn rope_scaling(&self, model: &Model, theta: f64, head_width: u64) -> Result<Value> {
        let kind = self.metadata.text(&self.name("rope.scaling.type"))?.unwrap_or("none");
        let stated = self.number("rope.scaling.factor")?;
        let factor = match kind {
            "none" => self.number("rope.scale_linear")?, // before there were types
            "linear" => stated,
            _ => {
                let known = "none, linear, and Llama 3's as a tensor";
                return Err(unsupported(self.name("rope.scaling.type"), kind, known));
            }
        };
        let linear = factor.filter(|&factor| factor != 1.0);
        if !model.has(ROPE_FACTORS) {
            return Ok(linear.map_or(Value::Null, |f| json!({"rope_type": "linear", "factor": f})));
        }
        model.get(ROPE_FACTORS, &[head_width as usize / 2])?;
        let factors = model.rows(ROPE_FACTORS, 0..1)?;
        let scaling = llama3(&factors, theta, head_width as f64).filter(|_| linear.is_none());
        let Some(Scaling::Llama3 { factor, low, high, original_positions }) = scaling else {
            return match linear.is_none() && factors.iter().all(|&factor| factor == 1.0) {
                true => Ok(Value::Null),
                false => {
                    Err(unsupported(ROPE_FACTORS, "these factors", "those of Llama 3's scaling"))
                }
            };
        };
        Ok(json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low,
            "high_freq_factor": high,
            "original_max_position_embeddings": original_positions as u64,
        }))
    }
}

/// The scaling that these factors, by which frequencies are divided, are of.
fn llama3(factors: &[f32], theta: f64, head_width: f64) -> Option<Scaling> {
    let frequency = |index: usize| theta.powf(-2.0 * index as f64 / head_width);
    let factor = f64::from(factors.iter().copied().fold(1.0, f32::max));
    let (low, high) = LLAMA3_TURNS;
    // The share of the frequency that is kept; between 0 and 1 it tells how often the original context
    // turns it.
    let kept = |divisor: f32| (1.0 / f64::from(divisor) - 1.0 / factor) / (1.0 - 1.0 / factor);
    let middle = |index: usize| (kept(factors[index]) - 0.5).abs();
    let blended = (0..factors.len()).filter(|&index| middle(index) < 0.4999);
    let original_positions = match blended.min_by(|&a, &b| middle(a).total_cmp(&middle(b))) {
        Some(index) => {
            let turns = low + kept(factors[index]) * (high - low);
            (turns * TAU / frequency(index)).round()
        }
        None => LLAMA3_POSITIONS,
    };
    let scaling = Scaling::Llama3 { factor, low, high, original_positions };
    let is_same = |(index, &divisor): (usize, &f32)| {
        let expected = frequency(index) / scaling.apply(frequency(index));
        (expected - f64::from(divisor)).abs() <= 1e-5 * expected
    };
    (factor > 1.0 && factors.iter().enumerate().all(is_same)).then_some(scaling)
}

/// The contents of `config.json`.
pub fn read(model: &Model) -> Result<Map<String, Value>> {
    let keys = Keys::of(model.metadata())?;
    let head_width = keys.head_width()?;
    keys.require_known(head_width)?;
    let embedding = model.stored("model.embed_tokens.weight");
    let embedding = embedding.ok_or_else(|| missing("tensor `token_embd.weight`"))?;
    let has = |part: &str| model.has(&format!("model.layers.0.{part}.bias"));
    let heads = keys.must("attention.head_count")?;
    let theta = keys.number("rope.freq_base")?.unwrap_or(DEFAULT_THETA);
    let epsilon = "attention.layer_norm_rms_epsilon";
    let mut config = json!({
        "architectures": [keys.class],
        "model_type": keys.model_type,
        "vocab_size": embedding.shape[0],
        "hidden_size": keys.must("embedding_length")?,
        "intermediate_size": keys.must("feed_forward_length")?,
        "num_hidden_layers": keys.must("block_count")?,
        "num_attention_heads": heads,
        "num_key_value_heads": keys.may("attention.head_count_kv")?.unwrap_or(heads),
        "head_dim": head_width,
        "hidden_act": "silu",
        "rms_norm_eps": keys.number(epsilon)?.ok_or_else(|| missing(keys.name(epsilon)))?,
        "rope_theta": theta,
        "rope_scaling": keys.rope_scaling(model, theta, head_width)?,
        "max_position_embeddings": keys.must("context_length")?,
        "tie_word_embeddings": !model.has("lm_head.weight"),
        "attention_bias": has("self_attn.o_proj") || keys.architecture == "llama" && has("self_attn.q_proj"),
        "mlp_bias": has("mlp.down_proj"),
        "torch_dtype": dtype(model),
    });
    let window = keys.may("attention.sliding_window")?.filter(|&window| window > 0);
    if keys.architecture == GEMMA {
        gemma(&keys, window, &mut config)?;
    } else if let Some(window) = window {
        if keys.architecture == "llama" {
            config["model_type"] = "mistral".into();
            config["architectures"] = json!(["MistralForCausalLM"]);
        }
        config["sliding_window"] = window.into();
        config["use_sliding_window"] = true.into();
    }
    for (name, id) in special::ids(model.metadata())? {
        config[format!("{name}_token_id")] = id.into();
    }
    let Value::Object(config) = config else { unreachable!("it was written as an object") };
    Ok(config)
}

/// What Gemma 3 has besides, as llama.cpp's `llama_model_gemma3` reads it.
fn gemma(keys: &Keys, window: Option<u64>, config: &mut Value) -> Result<()> {
    let number = |field: &str| config[field].as_u64().unwrap_or_default();
    let (layers, heads) = (number("num_hidden_layers"), number("num_attention_heads"));
    // The one size whose scores have a scale of their own.
    let scalar = match layers == GEMMA_27B {
        true => number("hidden_size").checked_div(heads).unwrap_or_default(),
        false => number("head_dim"),
    };
    let theta = keys.number("rope.freq_base_swa")?.unwrap_or(DEFAULT_THETA);
    let pattern = match window {
        Some(_) => keys.may("attention.sliding_window_pattern")?.unwrap_or(GEMMA_PATTERN),
        None => 1, // every layer sees everything
    };
    config["hidden_act"] = Value::Null;
    config["hidden_activation"] = "gelu_pytorch_tanh".into();
    config["query_pre_attn_scalar"] = scalar.into();
    config["rope_local_base_freq"] = theta.into();
    config["sliding_window"] = window.into();
    config["sliding_window_pattern"] = pattern.into();
    Ok(())
}

/// The type of the layers' matrices as transformers names it; quantised ones are widened to F32.
fn dtype(model: &Model) -> &'static str {
    match model.stored("model.layers.0.mlp.down_proj.weight").map(|stored| stored.kind) {
        Some(BlockType::F16) => "float16",
        Some(BlockType::Bf16) => "bfloat16",
        _ => "float32",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Llama 3.1 8B's and 3.2 1B's, and ones that no such scaling gives.
    #[test]
    fn llama_3_scaling_is_known_by_its_factors() {
        for (factor, width, theta, original) in
            [(8.0, 128, 5e5, 8192.0), (32.0, 64, 5e5, 8192.0), (4.0, 128, 1e4, 2048.0)]
        {
            let (low, high) = LLAMA3_TURNS;
            let given = Scaling::Llama3 { factor, low, high, original_positions: original };
            let frequency = |i: i32| f64::powf(theta, f64::from(-2 * i) / f64::from(width));
            let divisor = |i| (frequency(i) / given.apply(frequency(i))) as f32;
            let mut factors: Vec<f32> = (0..width / 2).map(divisor).collect();
            assert_eq!(llama3(&factors, theta, f64::from(width)), Some(given));
            *factors.last_mut().unwrap() += 0.1;
            assert_eq!(llama3(&factors, theta, f64::from(width)), None);
        }
        assert_eq!(llama3(&[1.0; 32], 1e4, 64.0), None);
    }
}
