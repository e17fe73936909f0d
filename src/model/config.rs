//! Hugging Face's `config.json` of the Llama kind.

use crate::error::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The shape of a decoder-only transformer.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// V.
    pub vocab_size: usize,
    /// D.
    pub hidden_size: usize,
    /// Width of the SwiGLU layer.
    pub intermediate_size: usize,
    /// Decoder layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Added to the mean square in RMSNorm.
    pub rms_norm_eps: f64,
    /// Base of the rotary wavelengths.
    pub rope_theta: f64,
    /// Longest sequence the model was made for.
    pub max_positions: usize,
    /// The head is the embedding.
    pub tied: bool,
    /// Biases on q, k, v, o.
    pub attention_bias: bool,
    /// Biases on gate, up, down.
    pub mlp_bias: bool,
    /// Begin-of-text.
    pub bos_token: Option<u32>,
    /// Tokens that end a text; at least one.
    pub eos_tokens: Vec<u32>,
}

/// No size of a Llama comes near; below it no product of two sizes overflows.
const LARGEST: usize = 1 << 20;

#[derive(Deserialize)]
struct Raw {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<Value>,
    rope_parameters: Option<Map<String, Value>>,
    max_position_embeddings: usize,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    hidden_act: Option<String>,
    bos_token_id: Option<u32>,
    eos_token_id: Option<OneOrMany>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(u32),
    Many(Vec<u32>),
}

impl ModelConfig {
    /// Reads `config.json`; a field that changes the mathematics and is not implemented is an
    /// error that names it.
    pub fn from_json(bytes: &[u8], place: &str) -> Result<Self> {
        let raw: Raw = serde_json::from_slice(bytes).map_err(|e| {
            Error::input(e.to_string())
                .at(place)
                .next("expected the config.json of a Llama model as transformers writes it")
        })?;
        raw.check().map_err(|e| e.at(place))
    }

    /// Refuses a prompt and response of so many tokens, end-of-text included, that do not fit.
    pub fn require_fits(&self, prompt: usize, response: usize) -> Result<()> {
        // The last token is only predicted, never read.
        if prompt > 0 && prompt < self.max_positions && prompt + response <= self.max_positions + 1
        {
            return Ok(());
        }
        Err(Error::input(format!(
            "{prompt} prompt and {response} response tokens; the model takes {} together and at \
             least one of a prompt",
            self.max_positions
        ))
        .next("shorten it, leave it out, or take a model with a longer context"))
    }

    /// The same as `config.json` for transformers.
    pub fn to_json(&self) -> Vec<u8> {
        let value = serde_json::json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "rms_norm_eps": self.rms_norm_eps,
            "rope_theta": self.rope_theta,
            "max_position_embeddings": self.max_positions,
            "tie_word_embeddings": self.tied,
            "attention_bias": self.attention_bias,
            "mlp_bias": self.mlp_bias,
            "bos_token_id": self.bos_token,
            "eos_token_id": self.eos_tokens,
            "torch_dtype": "float32",
        });
        let mut text = serde_json::to_vec_pretty(&value).expect("a JSON value");
        text.push(b'\n');
        text
    }
}

impl Raw {
    fn check(self) -> Result<ModelConfig> {
        let unsupported = |field: &str, value: &dyn std::fmt::Display, known: &str| {
            Err(Error::input(format!("{field} = {value} is not supported"))
                .next(format!("supported: {known}")))
        };
        if self.model_type != "llama" {
            return unsupported("model_type", &self.model_type, "llama");
        }
        if let Some(act) = self.hidden_act.filter(|a| a != "silu") {
            return unsupported("hidden_act", &act, "silu");
        }
        if let Some(scaling) = self.rope_scaling.filter(|v| !v.is_null()) {
            return unsupported("rope_scaling", &scaling, "null");
        }
        let mut rope_theta = self.rope_theta;
        for (key, value) in self.rope_parameters.iter().flatten() {
            match (key.as_str(), value) {
                ("rope_theta", value) => rope_theta = value.as_f64(),
                ("rope_type", Value::String(kind)) if kind == "default" => {}
                _ => {
                    return unsupported(
                        &format!("rope_parameters.{key}"),
                        value,
                        "rope_type default",
                    );
                }
            }
        }
        let heads = self.num_attention_heads;
        let kv_heads = self.num_key_value_heads.unwrap_or(heads);
        for (field, value) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", heads),
            ("num_key_value_heads", kv_heads),
            ("max_position_embeddings", self.max_position_embeddings),
        ] {
            if value == 0 {
                return Err(Error::input(format!("{field} is 0")).next("it must be positive"));
            }
            // A lie in the file must not make the program ask for all memory.
            if value > LARGEST {
                return unsupported(field, &value, &format!("up to {LARGEST}"));
            }
        }
        for (field, value) in
            [("rms_norm_eps", Some(self.rms_norm_eps)), ("rope_theta", rope_theta)]
        {
            if let Some(value) = value.filter(|v| *v <= 0.0) {
                return unsupported(field, &value, "positive numbers");
            }
        }
        if !heads.is_multiple_of(kv_heads) {
            return Err(Error::input(format!(
                "num_attention_heads = {heads} is not a multiple of num_key_value_heads = {kv_heads}"
            ))
            .next("take the config.json that was published with the weights"));
        }
        let head_dim = self.head_dim.unwrap_or(self.hidden_size / heads);
        if head_dim == 0 || !head_dim.is_multiple_of(2) || head_dim > LARGEST {
            return unsupported("head_dim", &head_dim, "even widths, for the rotary embedding");
        }
        let eos_tokens = match self.eos_token_id {
            Some(OneOrMany::One(id)) => vec![id],
            Some(OneOrMany::Many(ids)) if !ids.is_empty() => ids,
            _ => {
                return Err(Error::input("eos_token_id is missing")
                    .next("name the token that ends a text: responses stop there"));
            }
        };
        if let Some(id) = eos_tokens.iter().find(|&&id| id as usize >= self.vocab_size) {
            return Err(Error::input(format!(
                "eos_token_id {id} is outside the vocabulary of {}",
                self.vocab_size
            ))
            .next("take the config.json that was published with the weights"));
        }
        Ok(ModelConfig {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            layers: self.num_hidden_layers,
            heads,
            kv_heads,
            head_dim,
            rms_norm_eps: self.rms_norm_eps,
            rope_theta: rope_theta.unwrap_or(10_000.0),
            max_positions: self.max_position_embeddings,
            tied: self.tie_word_embeddings,
            attention_bias: self.attention_bias,
            mlp_bias: self.mlp_bias,
            bos_token: self.bos_token_id,
            eos_tokens,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Value {
        serde_json::json!({
            "model_type": "llama", "vocab_size": 32, "hidden_size": 16, "intermediate_size": 24,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "rms_norm_eps": 1e-5, "max_position_embeddings": 64, "eos_token_id": 2
        })
    }

    fn read(value: &Value) -> Result<ModelConfig> {
        ModelConfig::from_json(&serde_json::to_vec(value).unwrap(), "m/config.json")
    }

    #[test]
    fn writes_what_it_reads() {
        let config = read(&base()).unwrap();
        assert_eq!(config.head_dim, 4);
        assert_eq!(ModelConfig::from_json(&config.to_json(), "again").unwrap(), config);
    }

    #[test]
    fn unimplemented_mathematics_is_an_error_that_names_the_field() {
        for (field, value) in [
            ("model_type", "gpt2".into()),
            ("hidden_act", "gelu".into()),
            ("rope_scaling", serde_json::json!({"rope_type": "llama3", "factor": 8.0})),
            ("rope_parameters", serde_json::json!({"rope_type": "yarn"})),
            ("num_key_value_heads", 3.into()),
            ("head_dim", 5.into()),
            ("eos_token_id", 99.into()),
            ("eos_token_id", Value::Null),
            ("num_hidden_layers", 0.into()),
            ("vocab_size", 1_000_000_000_000u64.into()),
            ("rms_norm_eps", (-1e-5).into()),
        ] {
            let mut config = base();
            config[field] = value;
            let message = read(&config).unwrap_err().to_string();
            assert!(message.contains(field), "{field}: {message}");
            assert!(message.starts_with("m/config.json"), "{message}");
        }
    }
}
