//! Hugging Face's `config.json` for the architectures that are one transformer: Llama and those that
//! differ from it in biases, norms, the activation, RoPE scaling, and layers that see only a window.
//!
//! Every field that transformers' code for these five reads is either implemented or refused here by
//! name and value; a field that it does not read cannot change the mathematics.

mod fields;
mod gemma;
mod rope;

use super::Scaling;
use crate::error::{Error, Result};
use crate::platform::READS_MODELS;
use fields::{Fields, PUBLISHED};
use serde_json::{Map, Value};

/// The largest vocabulary. Lavapipe (Mesa's software Vulkan) silently ends an invocation's loops after
/// 65,535 turns in all; the sampler's top-k and top-p together come near that at 430,000 tokens.
pub const MAX_VOCABULARY: usize = 400_000;

/// The shape of a decoder-only transformer.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// V.
    pub vocab_size: usize,
    /// D.
    pub hidden_size: usize,
    /// Width of the gated layer.
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
    /// How the rotary wavelengths are stretched.
    pub rope_scaling: Scaling,
    /// The layers whose tokens see only their neighbourhood, if there are any.
    pub local: Option<Local>,
    /// What the queries are multiplied by before the usual 1/√`head_dim`.
    pub query_factor: f64,
    /// Longest sequence that the model takes: its context length, or its sliding window if that is
    /// shorter; within one window, attention is unchanged.
    pub max_positions: usize,
    /// Whether the head's weights are the embedding's.
    pub tied: bool,
    /// Whether q, k and v have biases.
    pub qkv_bias: bool,
    /// Whether o has a bias.
    pub output_bias: bool,
    /// Whether gate, up and down have biases.
    pub mlp_bias: bool,
    /// Whether each head's query and key go through an RMSNorm before the rotation.
    pub qk_norm: bool,
    /// Whether what attention and the gated layer give goes through an RMSNorm before it is added.
    pub norms_after: bool,
    /// Added to the norms' weights as they are stored.
    pub norm_offset: f64,
    /// The activation of the gated layer.
    pub activation: Activation,
    /// What the embedding's rows are multiplied by on their way in.
    pub embedding_factor: f64,
    /// Tokens that end a text; at least one, and the first ends a demonstration.
    pub eos_tokens: Vec<u32>,
}

/// Layers of which each token sees only the nearest ones, with rotary wavelengths of their own.
#[derive(Debug, Clone, PartialEq)]
pub struct Local {
    /// How many positions a token sees, its own included.
    pub window: usize,
    /// Base of the rotary wavelengths, which are not stretched.
    pub rope_theta: f64,
    /// Whether each layer is one.
    pub layers: Vec<bool>,
}

/// What the gate of a gated layer goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x·σ(x).
    Silu,
    /// GELU in its tanh form, which is x·σ(2·√(2/π)·(x + 0.044715·x³)).
    GeluTanh,
}

/// The values that `model_type` may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Architecture {
    Llama,
    Mistral,
    Qwen2,
    Qwen3,
    Gemma3,
}

const ARCHITECTURES: [(&str, Architecture); 5] = [
    ("llama", Architecture::Llama),
    ("mistral", Architecture::Mistral),
    ("qwen2", Architecture::Qwen2),
    ("qwen3", Architecture::Qwen3),
    (gemma::MODEL_TYPE, Architecture::Gemma3),
];

/// No model comes near this size; below it, no product of two sizes overflows.
const LARGEST: usize = 1 << 20;
/// Mistral's sliding window if the file has none (transformers' `MistralConfig`).
const MISTRAL_WINDOW: usize = 4096;
/// Qwen3's head width if the file has none (transformers' `Qwen3Config`).
const QWEN3_HEAD_DIM: usize = 128;

struct Raw {
    architecture: Architecture,
    architectures: Option<Vec<String>>,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<Map<String, Value>>,
    rope_parameters: Option<Map<String, Value>>,
    partial_rotary_factor: Option<f64>,
    max_position_embeddings: usize,
    // `Some(None)`: the file switches the window off.
    sliding_window: Option<Option<usize>>,
    use_sliding_window: bool,
    layer_types: Option<Vec<String>>,
    tie_word_embeddings: bool,
    attention_bias: bool,
    mlp_bias: bool,
    attention_dropout: Option<f64>,
    hidden_act: Option<String>,
    gemma: gemma::Raw,
    eos_token_ids: Vec<u32>,
}

impl Raw {
    fn of(fields: &Fields) -> Result<Self> {
        let size = |field| fields.must(field, "a whole number");
        let may_size = |field| fields.may(field, "a whole number");
        let number = |field| fields.may(field, "a number");
        let object = |field| fields.may(field, "an object");
        let switch =
            |field| -> Result<bool> { Ok(fields.may(field, "true or false")?.unwrap_or(false)) };
        let names = |field| fields.may(field, "a list of names");
        // Read first, since files of other models have other fields.
        let kind: String = fields.must("model_type", "a name")?;
        let known = ARCHITECTURES.iter().find(|(name, _)| *name == kind);
        let Some(&(_, architecture)) = known else {
            return Err(unsupported("model_type", &kind, &known_architectures()));
        };
        Ok(Self {
            architecture,
            architectures: names("architectures")?,
            vocab_size: size("vocab_size")?,
            hidden_size: size("hidden_size")?,
            intermediate_size: size("intermediate_size")?,
            num_hidden_layers: size("num_hidden_layers")?,
            num_attention_heads: size("num_attention_heads")?,
            num_key_value_heads: may_size("num_key_value_heads")?,
            head_dim: may_size("head_dim")?,
            rms_norm_eps: fields.must("rms_norm_eps", "a number")?,
            rope_theta: number("rope_theta")?,
            rope_scaling: object("rope_scaling")?,
            rope_parameters: object("rope_parameters")?,
            partial_rotary_factor: number("partial_rotary_factor")?,
            max_position_embeddings: size("max_position_embeddings")?,
            sliding_window: match fields.0.contains_key("sliding_window") {
                true => Some(may_size("sliding_window")?),
                false => None,
            },
            use_sliding_window: switch("use_sliding_window")?,
            layer_types: names("layer_types")?,
            tie_word_embeddings: fields
                .may("tie_word_embeddings", "true or false")?
                .unwrap_or(architecture == Architecture::Gemma3),
            attention_bias: switch("attention_bias")?,
            mlp_bias: switch("mlp_bias")?,
            attention_dropout: number("attention_dropout")?,
            hidden_act: fields.may("hidden_act", "a name")?,
            gemma: if READS_MODELS { gemma::Raw::of(fields)? } else { gemma::Raw::default() },
            eos_token_ids: fields.token_ids("eos_token_id")?,
        })
    }
}

impl ModelConfig {
    /// Reads `config.json`; a field that changes the mathematics and is not implemented is an
    /// error that names it.
    pub fn from_json(bytes: &[u8], place: &str) -> Result<Self> {
        let fields = Fields::read(bytes).map_err(|e| {
            Error::input(e.to_string()).at(place).next(format!(
                "expected the config.json of a model of type {} as transformers writes it",
                known_architectures()
            ))
        })?;
        Raw::of(&fields).and_then(Raw::check).map_err(|e| e.at(place))
    }

    /// Adds the end-of-text ids of `generation_config.json`.
    pub fn add_generation_config(&mut self, bytes: &[u8], place: &str) -> Result<()> {
        let fields = Fields::read(bytes)
            .map_err(|e| Error::input(e.to_string()).at(place).next(PUBLISHED))?;
        let ids = fields.token_ids("eos_token_id").map_err(|e| e.at(place))?;
        require_in_vocabulary(&ids, self.vocab_size).map_err(|e| e.at(place))?;
        self.eos_tokens.extend(ids);
        // The end-of-text may be named by the tokenizer's files alone.
        if self.eos_tokens.is_empty() {
            Ok(())
        } else {
            self.require_end().map_err(|e| e.at(place))
        }
    }

    /// Removes repeated end-of-text ids and refuses a model without any.
    pub fn require_end(&mut self) -> Result<()> {
        let mut seen = Vec::new();
        self.eos_tokens.retain(|id| {
            !seen.contains(id) && {
                seen.push(*id);
                true
            }
        });
        match self.eos_tokens.is_empty() {
            false => Ok(()),
            true => Err(Error::input("eos_token_id is missing")
                .next("name the token that ends a text: responses stop there")),
        }
    }

    /// Refuses a prompt and a response, end-of-text included, that do not fit the context together.
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
        .next("shorten it, use a model with a longer context, or set data.too_long to drop or cut"))
    }
}

fn known_architectures() -> String {
    ARCHITECTURES.map(|(name, _)| name).join(", ")
}

fn unsupported(field: &str, value: impl std::fmt::Display, known: &str) -> Error {
    Error::input(format!("{field} = {value} is not supported")).next(format!("supported: {known}"))
}

fn require_in_vocabulary(ids: &[u32], vocab_size: usize) -> Result<()> {
    match ids.iter().find(|&&id| id as usize >= vocab_size) {
        None => Ok(()),
        Some(id) => Err(Error::input(format!(
            "eos_token_id {id} is outside the vocabulary of {vocab_size}"
        ))
        .next(PUBLISHED)),
    }
}

impl Raw {
    fn check(self) -> Result<ModelConfig> {
        self.require_known_mathematics()?;
        self.require_sizes()?;
        let architecture = self.architecture;
        let heads = self.num_attention_heads;
        let kv_heads = match (self.num_key_value_heads, architecture) {
            (Some(kv_heads), _) => kv_heads,
            (None, Architecture::Llama) => heads,
            (None, _) => {
                return Err(Error::input("num_key_value_heads is missing").next(PUBLISHED));
            }
        };
        if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            return Err(Error::input(format!(
                "num_attention_heads = {heads} is not a multiple of num_key_value_heads = {kv_heads}"
            ))
            .next(PUBLISHED));
        }
        let head_dim = match (self.head_dim, architecture) {
            (Some(width), _) => width,
            (None, Architecture::Qwen3) => QWEN3_HEAD_DIM,
            (None, Architecture::Gemma3) => gemma::HEAD_DIM,
            (None, _) => self.hidden_size / heads,
        };
        if head_dim == 0 || !head_dim.is_multiple_of(2) || head_dim > LARGEST {
            return Err(unsupported("head_dim", head_dim, "even widths, for the rotary embedding"));
        }
        let is_gemma = architecture == Architecture::Gemma3 && READS_MODELS;
        let (rope_theta, rope_scaling) = match is_gemma {
            true => self.global_rope()?,
            false => rope::read(
                self.rope_theta,
                self.rope_parameters.as_ref(),
                self.rope_scaling.as_ref(),
                self.max_position_embeddings,
            )?,
        };
        let max_positions = match self.window(architecture) {
            Some(0) => return Err(unsupported("sliding_window", 0, "positive numbers, or null")),
            Some(window) => window.min(self.max_position_embeddings),
            None => self.max_position_embeddings,
        };
        require_in_vocabulary(&self.eos_token_ids, self.vocab_size)?;
        // Mistral does not read `attention_bias`; Qwen2's biases are not optional.
        let (reads_bias, is_qwen2) = match architecture {
            Architecture::Llama | Architecture::Qwen3 | Architecture::Gemma3 => {
                (self.attention_bias, false)
            }
            Architecture::Mistral => (false, false),
            Architecture::Qwen2 => (false, true),
        };
        Ok(ModelConfig {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            layers: self.num_hidden_layers,
            heads,
            kv_heads,
            head_dim,
            rms_norm_eps: self.rms_norm_eps,
            rope_theta,
            rope_scaling,
            local: if is_gemma { self.local()? } else { None },
            query_factor: if is_gemma { self.gemma.query_factor(head_dim)? } else { 1.0 },
            max_positions,
            tied: self.tie_word_embeddings,
            qkv_bias: reads_bias || is_qwen2,
            output_bias: reads_bias,
            mlp_bias: self.mlp_bias && architecture == Architecture::Llama,
            qk_norm: is_gemma || architecture == Architecture::Qwen3,
            norms_after: is_gemma,
            norm_offset: if is_gemma { 1.0 } else { 0.0 },
            activation: if is_gemma { Activation::GeluTanh } else { Activation::Silu },
            embedding_factor: if is_gemma { (self.hidden_size as f64).sqrt() } else { 1.0 },
            eos_tokens: self.eos_token_ids,
        })
    }

    fn require_known_mathematics(&self) -> Result<()> {
        if let Some(other) =
            self.architectures.iter().flatten().find(|a| !a.ends_with("ForCausalLM"))
        {
            return Err(unsupported("architectures", other, "causal language models"));
        }
        if self.architecture == Architecture::Gemma3 {
            if !READS_MODELS {
                return Err(unsupported("model_type", gemma::MODEL_TYPE, "the others, in a page"));
            }
            self.gemma.require_known()?;
        } else if let Some(act) = self.hidden_act.as_ref().filter(|a| *a != "silu" && *a != "swish")
        {
            return Err(unsupported("hidden_act", act, "silu")); // swish is the same function
        }
        if let Some(part) = self.partial_rotary_factor.filter(|&part| part != 1.0) {
            return Err(unsupported("partial_rotary_factor", part, "1"));
        }
        if let Some(dropout) = self.attention_dropout.filter(|&d| d != 0.0) {
            return Err(unsupported("attention_dropout", dropout, "0"));
        }
        let kinds = ["full_attention", "sliding_attention"];
        if let Some(kind) =
            self.layer_types.iter().flatten().find(|kind| !kinds.contains(&kind.as_str()))
        {
            return Err(unsupported("layer_types", kind, &kinds.join(", ")));
        }
        Ok(())
    }

    fn require_sizes(&self) -> Result<()> {
        for (field, value, most) in [
            ("vocab_size", self.vocab_size, MAX_VOCABULARY),
            ("hidden_size", self.hidden_size, LARGEST),
            ("intermediate_size", self.intermediate_size, LARGEST),
            ("num_hidden_layers", self.num_hidden_layers, LARGEST),
            ("num_attention_heads", self.num_attention_heads, LARGEST),
            ("num_key_value_heads", self.num_key_value_heads.unwrap_or(1), LARGEST),
            ("max_position_embeddings", self.max_position_embeddings, LARGEST),
        ] {
            // A wrong value in the file must not make the program ask for all memory.
            if value == 0 || value > most {
                return Err(unsupported(field, value, &format!("1 to {most}")));
            }
        }
        if self.rms_norm_eps.is_nan() || self.rms_norm_eps <= 0.0 {
            return Err(unsupported("rms_norm_eps", self.rms_norm_eps, "positive numbers"));
        }
        Ok(())
    }

    /// The shortest sliding window of any layer, where it bounds the context.
    fn window(&self, architecture: Architecture) -> Option<usize> {
        let slides = match (&self.layer_types, architecture) {
            (_, Architecture::Mistral) => true,
            (_, Architecture::Gemma3) => false, // its layers have their own
            (Some(kinds), _) => kinds.iter().any(|kind| kind == "sliding_attention"),
            (None, Architecture::Qwen2 | Architecture::Qwen3) => self.use_sliding_window,
            (None, Architecture::Llama) => false,
        };
        let window = match (self.sliding_window, architecture) {
            (Some(window), _) => window,
            (None, Architecture::Mistral) => Some(MISTRAL_WINDOW),
            (None, _) => None,
        };
        window.filter(|_| slides)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn base() -> Value {
        json!({
            "model_type": "llama", "vocab_size": 32, "hidden_size": 16, "intermediate_size": 24,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "rms_norm_eps": 1e-5, "max_position_embeddings": 64, "eos_token_id": 2
        })
    }

    fn read(changes: Value) -> Result<ModelConfig> {
        let mut config = base();
        config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        ModelConfig::from_json(&serde_json::to_vec(&config).unwrap(), "m/config.json")
    }

    #[test]
    fn what_is_not_named_has_transformers_default() {
        let config = read(json!({})).unwrap();
        assert_eq!((config.head_dim, config.rope_theta), (4, 10_000.0));
        assert_eq!(config.rope_scaling, Scaling::None);
        assert!(!config.tied && !config.qkv_bias && !config.qk_norm);
        assert_eq!(read(json!({"num_key_value_heads": null})).unwrap().kv_heads, 4);
        assert_eq!(read(json!({"model_type": "qwen3"})).unwrap().head_dim, 128);
    }

    #[test]
    fn architectures_differ_where_transformers_code_does() {
        for (kind, given, [qkv, output, mlp, norm]) in [
            ("llama", false, [false, false, false, false]),
            ("llama", true, [true, true, true, false]),
            ("mistral", true, [false, false, false, false]),
            ("qwen2", false, [true, false, false, false]),
            ("qwen3", false, [false, false, false, true]),
            ("qwen3", true, [true, true, false, true]),
        ] {
            let config =
                read(json!({"model_type": kind, "attention_bias": given, "mlp_bias": given}));
            let c = config.unwrap();
            let got = [c.qkv_bias, c.output_bias, c.mlp_bias, c.qk_norm];
            assert_eq!(got, [qkv, output, mlp, norm], "{kind} {given}");
        }
    }

    #[test]
    fn a_sliding_window_bounds_the_context() {
        for (changes, positions) in [
            (json!({"model_type": "mistral", "max_position_embeddings": 8192}), 4096),
            (json!({"model_type": "mistral", "sliding_window": null}), 64),
            (json!({"model_type": "mistral", "sliding_window": 8}), 8),
            (json!({"model_type": "qwen2", "sliding_window": 8}), 64),
            (json!({"model_type": "qwen2", "sliding_window": 8, "use_sliding_window": true}), 8),
            (
                json!({"model_type": "qwen3", "sliding_window": 8, "use_sliding_window": true,
                    "layer_types": ["full_attention", "full_attention"]}),
                64,
            ),
            (json!({"sliding_window": 8}), 64),
        ] {
            assert_eq!(read(changes.clone()).unwrap().max_positions, positions, "{changes}");
        }
    }

    /// In both layouts of transformers; what is not named has its default.
    #[test]
    fn gemma_s_layers_see_a_window_or_everything() {
        let gemma = |changes: Value| {
            let mut all = json!({"model_type": "gemma3_text", "num_hidden_layers": 3});
            all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            read(all)
        };
        let config = gemma(json!({})).unwrap();
        let local = Local { window: 4096, rope_theta: 1e4, layers: vec![true; 3] };
        assert_eq!((config.local, config.rope_theta), (Some(local), 1e6));
        assert_eq!((config.head_dim, config.max_positions, config.tied), (256, 64, true));
        assert_eq!(
            (config.query_factor, config.embedding_factor, config.norm_offset),
            (1.0, 4.0, 1.0)
        );
        assert_eq!(config.activation, Activation::GeluTanh);
        assert!(config.qk_norm && config.norms_after && !config.qkv_bias);
        let older = json!({"sliding_window_pattern": 2, "sliding_window": 8, "rope_theta": 5e5,
            "rope_local_base_freq": 100.0, "rope_scaling": {"rope_type": "linear", "factor": 2.0},
            "query_pre_attn_scalar": 64, "tie_word_embeddings": false});
        let newer = json!({"layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "sliding_window": 8, "query_pre_attn_scalar": 64, "tie_word_embeddings": false,
            "rope_parameters": {"sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
                "full_attention": {"rope_type": "linear", "rope_theta": 5e5, "factor": 2.0}}});
        let config = gemma(older).unwrap();
        assert_eq!(config, gemma(newer).unwrap());
        let local = Local { window: 8, rope_theta: 100.0, layers: vec![true, false, true] };
        assert_eq!((config.local, config.rope_theta), (Some(local), 5e5));
        assert_eq!(config.rope_scaling, Scaling::Linear { factor: 2.0 });
        assert_eq!((config.query_factor, config.tied), (2.0, false));
        let whole = json!({"sliding_window_pattern": 1, "sliding_window": null});
        assert_eq!(gemma(whole).unwrap().local, None);
        for (named, changes) in [
            ("attn_logit_softcapping = 50", json!({"attn_logit_softcapping": 50.0})),
            ("final_logit_softcapping = 30", json!({"final_logit_softcapping": 30.0})),
            ("hidden_activation = gelu", json!({"hidden_activation": "gelu"})),
            ("use_bidirectional_attention = true", json!({"use_bidirectional_attention": true})),
            ("query_pre_attn_scalar = 0", json!({"query_pre_attn_scalar": 0})),
            ("sliding_window_pattern = 0", json!({"sliding_window_pattern": 0})),
            ("sliding_window = null", json!({"sliding_window": null})),
            ("sliding_window = 0", json!({"sliding_window": 0})),
            ("layer_types has 1 names for 3", json!({"layer_types": ["full_attention"]})),
            ("rope_parameters.rope_theta = 3", json!({"rope_parameters": {"rope_theta": 3}})),
            (
                "rope_parameters.sliding_attention.rope_type",
                json!({"rope_parameters": {"sliding_attention": {"rope_type": "linear", "factor": 2}}}),
            ),
            (
                "rope_parameters.full_attention = 1",
                json!({"rope_parameters": {"full_attention": 1}}),
            ),
        ] {
            let error = gemma(changes).unwrap_err();
            assert!(error.what.contains(named) && error.next.is_some(), "{named}: {error}");
        }
    }

    #[test]
    fn generation_config_adds_ends() {
        let mut config = read(json!({})).unwrap();
        config.add_generation_config(br#"{"eos_token_id": [5, 2]}"#, "g").unwrap();
        assert_eq!(config.eos_tokens, [2, 5]);
        config.add_generation_config(b"{}", "g").unwrap();
        let error = config.add_generation_config(br#"{"eos_token_id": 32}"#, "g").unwrap_err();
        assert!(error.to_string().starts_with("g: eos_token_id 32"), "{error}");
        let mut none = read(json!({"eos_token_id": null})).unwrap();
        assert!(none.require_end().is_err());
        none.add_generation_config(br#"{"eos_token_id": 3}"#, "g").unwrap();
        assert_eq!(none.eos_tokens, [3]);
    }

    #[test]
    fn unimplemented_mathematics_is_an_error_that_names_the_field() {
        for (field, value) in [
            ("model_type", json!("gpt2")),
            ("architectures", json!(["LlamaForSequenceClassification"])),
            ("hidden_act", json!("gelu")),
            ("rope_scaling", json!({"rope_type": "yarn", "factor": 4.0})),
            ("rope_parameters", json!({"rope_type": "dynamic", "factor": 2.0})),
            ("partial_rotary_factor", json!(0.5)),
            ("layer_types", json!(["chunked_attention"])),
            ("attention_dropout", json!(0.1)),
            ("num_key_value_heads", json!(3)),
            ("num_key_value_heads", json!(0)),
            ("head_dim", json!(5)),
            ("eos_token_id", json!(99)),
            ("num_hidden_layers", json!(0)),
            ("vocab_size", json!(1_000_000_000_000u64)),
            ("vocab_size", json!(MAX_VOCABULARY + 1)),
            ("eos_token_id", json!(-1)),
            ("eos_token_id", json!([2, "<eos>"])),
            ("rms_norm_eps", json!(null)),
            ("model_type", json!(7)),
            ("hidden_size", json!("16")),
            ("num_hidden_layers", json!(2.5)),
            ("rope_scaling", json!([])),
            ("layer_types", json!("full_attention")),
            ("rms_norm_eps", json!(-1e-5)),
            ("rope_theta", json!(0.0)),
        ] {
            let message = read(json!({field: value})).unwrap_err().to_string();
            assert!(message.contains(field), "{field}: {message}");
            assert!(message.starts_with("m/config.json"), "{message}");
            assert!(message.contains("next: ") && !message.contains("variant"), "{message}");
        }
        let message = read(json!({"model_type": "gpt2"})).unwrap_err().to_string();
        assert!(message.contains("llama, mistral, qwen2, qwen3, gemma3_text"), "{message}");
    }
}
