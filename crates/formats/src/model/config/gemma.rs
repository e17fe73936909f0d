//! What only Gemma 3's text models say: layers that see a window, each kind with rotary wavelengths of its own
//! (transformers' `Gemma3TextConfig`).

use super::fields::Fields;
use super::{LARGEST, Local, rope, unsupported};
use crate::error::{Error, Result};
use crate::model::Scaling;
use serde_json::{Map, Value};

/// Its `model_type`.
pub const MODEL_TYPE: &str = "gemma3_text";
/// The width of a head if the file has none, as are the other values here.
pub const HEAD_DIM: usize = 256;
const ACTIVATION: &str = "gelu_pytorch_tanh";
const WINDOW: usize = 4096;
/// Of so many layers the last sees everything.
const PATTERN: usize = 6;
const GLOBAL_THETA: f64 = 1_000_000.0;
const LOCAL_THETA: f64 = 10_000.0;
const GLOBAL: &str = "full_attention";
const LOCAL: &str = "sliding_attention";

/// The fields that the other architectures do not have.
#[derive(Default)]
pub struct Raw {
    hidden_activation: Option<String>,
    query_pre_attn_scalar: Option<f64>,
    rope_local_base_freq: Option<f64>,
    sliding_window_pattern: Option<usize>,
    softcappings: [(&'static str, Option<f64>); 2],
    use_bidirectional_attention: Option<bool>,
}

impl Raw {
    pub fn of(fields: &Fields) -> Result<Self> {
        let number = |field| fields.may(field, "a number");
        let cap = |field| -> Result<_> { Ok((field, number(field)?)) };
        Ok(Self {
            hidden_activation: fields.may("hidden_activation", "a name")?,
            query_pre_attn_scalar: number("query_pre_attn_scalar")?,
            rope_local_base_freq: number("rope_local_base_freq")?,
            sliding_window_pattern: fields.may("sliding_window_pattern", "a whole number")?,
            softcappings: [cap("attn_logit_softcapping")?, cap("final_logit_softcapping")?],
            use_bidirectional_attention: fields
                .may("use_bidirectional_attention", "true or false")?,
        })
    }

    /// Refuses what changes the mathematics and is not implemented.
    pub fn require_known(&self) -> Result<()> {
        if let Some(act) = self.hidden_activation.as_ref().filter(|act| *act != ACTIVATION) {
            return Err(unsupported("hidden_activation", act, ACTIVATION));
        }
        if self.use_bidirectional_attention == Some(true) {
            return Err(unsupported("use_bidirectional_attention", true, "false"));
        }
        match self.softcappings.iter().find_map(|(field, cap)| Some((field, (*cap)?))) {
            Some((field, cap)) => Err(unsupported(field, cap, "null, as in Gemma 3")),
            None => Ok(()),
        }
    }

    /// Scores are divided by √`query_pre_attn_scalar`, not by the root of a head's width.
    pub fn query_factor(&self, head_dim: usize) -> Result<f64> {
        let scalar = self.query_pre_attn_scalar.unwrap_or(HEAD_DIM as f64);
        match scalar > 0.0 {
            true => Ok((head_dim as f64 / scalar).sqrt()),
            false => Err(unsupported("query_pre_attn_scalar", scalar, "positive numbers")),
        }
    }
}

impl super::Raw {
    /// θ and the scaling of the layers that see everything.
    pub fn global_rope(&self) -> Result<(f64, Scaling)> {
        let theta = self.rope_theta.or(Some(GLOBAL_THETA));
        let scaling = self.rope_scaling.as_ref();
        rope::read(theta, self.rope_of(GLOBAL)?, scaling, self.max_position_embeddings)
    }

    /// The layers that see a window.
    pub fn local(&self) -> Result<Option<Local>> {
        let layers = self.local_layers()?;
        if !layers.contains(&true) {
            return Ok(None);
        }
        let window = match self.sliding_window.unwrap_or(Some(WINDOW)) {
            Some(window) if window > 0 => window,
            other => {
                let given = other.map_or("null".into(), |window| window.to_string());
                return Err(unsupported("sliding_window", given, "positive numbers"));
            }
        };
        let theta = self.gemma.rope_local_base_freq.or(Some(LOCAL_THETA));
        let (rope_theta, scaling) =
            rope::read(theta, self.rope_of(LOCAL)?, None, self.max_position_embeddings)?;
        match scaling {
            Scaling::None => Ok(Some(Local { window: window.min(LARGEST), rope_theta, layers })),
            _ => Err(unsupported(
                &format!("rope_parameters.{LOCAL}.rope_type"),
                "a scaling",
                "default: only global layers are scaled",
            )),
        }
    }

    /// The part of `rope_parameters` for one kind of layers.
    fn rope_of(&self, kind: &str) -> Result<Option<&Map<String, Value>>> {
        let Some(parameters) = &self.rope_parameters else { return Ok(None) };
        match parameters.iter().find(|(key, _)| ![GLOBAL, LOCAL].contains(&key.as_str())) {
            Some((key, value)) => {
                let known = format!("an object for {GLOBAL} and one for {LOCAL}");
                Err(unsupported(&format!("rope_parameters.{key}"), value, &known))
            }
            None => match parameters.get(kind) {
                None | Some(Value::Null) => Ok(None),
                Some(Value::Object(object)) => Ok(Some(object)),
                Some(other) => {
                    Err(unsupported(&format!("rope_parameters.{kind}"), other, "an object"))
                }
            },
        }
    }

    fn local_layers(&self) -> Result<Vec<bool>> {
        let count = self.num_hidden_layers;
        if let Some(kinds) = &self.layer_types {
            return match kinds.len() == count {
                true => Ok(kinds.iter().map(|kind| kind == LOCAL).collect()),
                false => Err(Error::input(format!(
                    "layer_types has {} names for {count} layers",
                    kinds.len()
                ))
                .next(super::PUBLISHED)),
            };
        }
        let pattern = self.gemma.sliding_window_pattern.unwrap_or(PATTERN);
        match pattern {
            0 => Err(unsupported("sliding_window_pattern", 0, "positive numbers")),
            _ => Ok((1..=count).map(|layer| !layer.is_multiple_of(pattern)).collect()),
        }
    }
}
