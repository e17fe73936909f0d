//! The settings of low-rank adapters, and PEFT's `adapter_config.json` for them.

use super::peft::unsupported;
pub use super::peft::{MERGE_IN_PEFT, TARGETS};
use crate::error::{Error, Result};
use crate::hub::{Name, is_commit};
use serde_json::{Map, Value, json};

/// Low-rank adapters of a model: scale·B·A is added to each target.
#[derive(Debug, Clone, PartialEq)]
pub struct Lora {
    /// r, rows of A and columns of B.
    pub rank: usize,
    /// The change is multiplied by alpha/r, or alpha/√r.
    pub alpha: f64,
    /// Divide by √r instead of r (Kalajdzievski, 2023).
    pub rslora: bool,
    /// Share of the adapter's inputs that training sets to 0.
    pub dropout: f64,
    /// Some of [`TARGETS`].
    pub targets: Vec<String>,
}

/// Fields of PEFT's config that do not change what an adapter computes.
const NEUTRAL: [&str; 9] = [
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "revision",
    "task_type",
];

impl Lora {
    /// The factor `scale` of B·A.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.rslora { rank.sqrt() } else { rank }
    }

    /// Whether the matrix of this name, such as `self_attn.q_proj`, has an adapter.
    pub fn adapts(&self, matrix: &str) -> bool {
        let last = matrix.rsplit('.').next().unwrap_or_default();
        self.targets.iter().any(|target| target == last)
    }

    /// Reads PEFT's `adapter_config.json` for a model of so many layers; a setting that changes the
    /// mathematics and is not implemented is an error that names field and value.
    pub fn from_json(bytes: &[u8], layers: usize, place: &str) -> Result<Self> {
        read(bytes, layers).map_err(|e| e.at(place))
    }

    /// The base that the file names, if any. Checks everything but the targets.
    pub fn base_in(bytes: &[u8], place: &str) -> Result<Option<String>> {
        let fields = fields(bytes).map_err(|e| e.at(place))?;
        let base = fields.get("base_model_name_or_path").and_then(Value::as_str);
        let base = base.filter(|name| !name.is_empty());
        let revision = fields.get("revision").and_then(Value::as_str);
        // Of a base on the hub.
        let at = |base: &str| {
            Some(Name::parse(base).filter(|name| name.revision.is_empty())?.at("", revision?))
        };
        Ok(base.map(|base| at(base).map_or_else(|| base.to_string(), |name| name.to_string())))
    }

    /// Writes PEFT's `adapter_config.json`.
    pub fn to_json(&self, base: &str) -> Vec<u8> {
        let on_hub =
            Name::parse(base).filter(|name| name.part.is_empty() && is_commit(&name.revision));
        let base = on_hub.as_ref().map_or(base, |name| name.repo.as_str());
        let mut value = json!({
            "base_model_name_or_path": base,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "lora_alpha": self.alpha,
            "lora_dropout": self.dropout,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": self.rank,
            "target_modules": self.targets,
            "task_type": "CAUSAL_LM",
            "use_dora": false,
            "use_rslora": self.rslora,
        });
        if let Some(name) = &on_hub {
            value["revision"] = name.revision.as_str().into();
        }
        let mut text = serde_json::to_vec_pretty(&value).expect("a JSON value");
        text.push(b'\n');
        text
    }
}

fn read(bytes: &[u8], layers: usize) -> Result<Lora> {
    let fields = fields(bytes)?;
    let number = |field: &str, holds: fn(f64) -> bool, known: &str| {
        let value = fields.get(field).unwrap_or(&Value::Null);
        value.as_f64().filter(|&v| holds(v)).ok_or_else(|| unsupported(field, value, known))
    };
    let rank = number("r", |r| (1.0..=4096.0).contains(&r) && r.fract() == 0.0, "1 to 4096")?;
    Ok(Lora {
        rank: rank as usize,
        alpha: number("lora_alpha", |a| a > 0.0 && a.is_finite(), "positive numbers")?,
        rslora: fields.get("use_rslora") == Some(&Value::Bool(true)),
        dropout: match fields.get("lora_dropout") {
            None | Some(Value::Null) => 0.0,
            Some(_) => number("lora_dropout", |d| (0.0..1.0).contains(&d), "0 to below 1")?,
        },
        targets: super::targets::read(&fields, layers)?,
    })
}

/// The fields of the file, after refusing those that ask for something not implemented.
fn fields(bytes: &[u8]) -> Result<Map<String, Value>> {
    let fields: Map<String, Value> = serde_json::from_slice(bytes).map_err(|e| {
        Error::input(e.to_string()).next("expected the adapter_config.json that PEFT writes")
    })?;
    let kind = fields.get("peft_type").unwrap_or(&Value::Null);
    if kind != "LORA" {
        return Err(unsupported("peft_type", kind, "LORA"));
    }
    for (field, value) in &fields {
        let refused = Error::input(format!("{field} = {value} is not supported"));
        return Err(match field.as_str() {
            "r" | "lora_alpha" | "lora_dropout" | "use_rslora" => continue,
            "target_modules" | "exclude_modules" => continue,
            name if NEUTRAL.contains(&name) => continue,
            "init_lora_weights" if value.is_boolean() || value == "gaussian" => continue,
            _ if is_off(value) => continue,
            "init_lora_weights" => refused.next(
                "supported: true, false, gaussian; others change the base's weights, so convert the \
                 adapter with PEFT's save_pretrained(DIR, path_initial_model_for_weight_conversion=...)",
            ),
            "modules_to_save" => Error::input(format!(
                "{field} = {value}: full weights saved with an adapter, such as the embedding or \
                 the head, are not supported"
            ))
            .next(MERGE_IN_PEFT),
            _ => refused.next(MERGE_IN_PEFT),
        });
    }
    Ok(fields)
}

/// Whether a value in PEFT's config means that a feature is off.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(word) => word == "none",
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lora() -> Lora {
        let targets = ["q_proj", "down_proj"].map(String::from).to_vec();
        Lora { rank: 4, alpha: 8.0, rslora: false, dropout: 0.1, targets }
    }

    #[test]
    fn writes_what_it_reads() {
        let json = lora().to_json("models/base");
        assert_eq!(Lora::from_json(&json, 2, "a").unwrap(), lora());
        assert_eq!(Lora::base_in(&json, "a").unwrap().as_deref(), Some("models/base"));
        assert_eq!(Lora::base_in(&lora().to_json(""), "a").unwrap(), None);
    }

    #[test]
    fn scales_and_targets() {
        assert_eq!(lora().scale(), 2.0);
        assert_eq!(Lora { rslora: true, ..lora() }.scale(), 4.0);
        assert!(lora().adapts("self_attn.q_proj") && lora().adapts("mlp.down_proj"));
        assert!(!lora().adapts("self_attn.k_proj") && !lora().adapts("mlp.up_proj"));
    }

    #[test]
    fn what_is_not_implemented_is_named() {
        for (field, value) in [
            ("peft_type", json!("IA3")),
            ("r", json!(0)),
            ("r", json!(1.5)),
            ("lora_alpha", json!(0)),
            ("lora_dropout", json!(1.0)),
            ("target_modules", json!(["q_proj", "embed_tokens"])),
            ("target_modules", json!([])),
            ("modules_to_save", json!(["lm_head"])),
            ("bias", json!("lora_only")),
            ("use_dora", json!(true)),
            ("rank_pattern", json!({"q_proj": 8})),
            ("layers_to_transform", json!([0])),
            ("init_lora_weights", json!("pissa")),
            ("something_new", json!(3)),
        ] {
            let mut config: Value = serde_json::from_slice(&lora().to_json("b")).unwrap();
            config[field] = value;
            let error = Lora::from_json(config.to_string().as_bytes(), 2, "a.json").unwrap_err();
            assert!(error.to_string().starts_with(&format!("a.json: {field} = ")), "{error}");
            assert!(error.next.is_some(), "{error}");
        }
        assert!(Lora::from_json(b"[", 2, "a.json").is_err());
    }
}
