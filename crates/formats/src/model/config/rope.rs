//! The rotary embedding's settings, in the layouts of transformers 4 (`rope_theta`, `rope_scaling`)
//! and 5 (`rope_parameters`).

use super::{PUBLISHED, unsupported};
use crate::error::{Error, Result};
use crate::model::Scaling;
use serde_json::{Map, Value};

/// transformers' `default_theta`.
const DEFAULT_THETA: f64 = 10_000.0;

/// θ and the scaling; `parameters` and `scaling` are the objects of the two layouts.
pub fn read(
    theta: Option<f64>,
    parameters: Option<&Map<String, Value>>,
    scaling: Option<&Map<String, Value>>,
    max_positions: usize,
) -> Result<(f64, Scaling)> {
    let (layout, object) = match (parameters, scaling) {
        // transformers 5 prefers this one if both are there.
        (_, Some(object)) => ("rope_scaling", object),
        (Some(object), None) => ("rope_parameters", object),
        (None, None) => return Ok((checked_theta(theta)?, Scaling::None)),
    };
    let fields = Fields { layout, object };
    let theta = checked_theta(fields.number("rope_theta")?.or(theta))?;
    let kind = object.get("rope_type").or_else(|| object.get("type"));
    let (scaling, known): (_, &[&str]) = match kind.map(|kind| kind.as_str().unwrap_or_default()) {
        None | Some("default") => (Scaling::None, &[]),
        Some("linear") => {
            let factor = fields.required("factor")?;
            (Scaling::Linear { factor }, &["factor", ORIGINAL])
        }
        Some("llama3") => {
            let (low, high) = (fields.required(LOW)?, fields.required(HIGH)?);
            if high <= low {
                return Err(unsupported(
                    &format!("{layout}.{HIGH}"),
                    high,
                    "more than the low one",
                ));
            }
            let factor = fields.required("factor")?;
            let original_positions = fields.number(ORIGINAL)?.unwrap_or(max_positions as f64);
            (
                Scaling::Llama3 { factor, low, high, original_positions },
                &["factor", LOW, HIGH, ORIGINAL],
            )
        }
        Some(_) => {
            let kind = kind.expect("it has a value");
            let known = "rope_type default, linear, llama3";
            return Err(unsupported(&format!("{layout}.rope_type"), kind, known));
        }
    };
    let neutral = ["rope_type", "type", "rope_theta"];
    for (key, value) in object {
        let is_whole = key == "partial_rotary_factor" && value.as_f64() == Some(1.0);
        if !(neutral.contains(&key.as_str()) || known.contains(&key.as_str()) || is_whole) {
            return Err(unsupported(&format!("{layout}.{key}"), value, &known.join(", ")));
        }
    }
    Ok((theta, scaling))
}

const LOW: &str = "low_freq_factor";
const HIGH: &str = "high_freq_factor";
const ORIGINAL: &str = "original_max_position_embeddings";

fn checked_theta(theta: Option<f64>) -> Result<f64> {
    let theta = theta.unwrap_or(DEFAULT_THETA);
    if theta > 0.0 { Ok(theta) } else { Err(unsupported("rope_theta", theta, "positive numbers")) }
}

/// An object whose values are positive numbers.
struct Fields<'a> {
    layout: &'static str,
    object: &'a Map<String, Value>,
}

impl Fields<'_> {
    fn number(&self, key: &str) -> Result<Option<f64>> {
        let Some(value) = self.object.get(key) else { return Ok(None) };
        match value.as_f64().filter(|&number| number > 0.0) {
            Some(number) => Ok(Some(number)),
            None => Err(unsupported(&format!("{}.{key}", self.layout), value, "positive numbers")),
        }
    }

    fn required(&self, key: &str) -> Result<f64> {
        self.number(key)?.ok_or_else(|| {
            Error::input(format!("{}.{key} is missing", self.layout)).next(PUBLISHED)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_json(parameters: Value, scaling: Value) -> Result<(f64, Scaling)> {
        read(Some(5e5), parameters.as_object(), scaling.as_object(), 64)
    }

    #[test]
    fn both_layouts_say_the_same() {
        let llama3 =
            Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original_positions: 8192.0 };
        let new = json!({"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0,
            "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192});
        let mut old = new.clone();
        old.as_object_mut().unwrap().remove("rope_theta");
        assert_eq!(read_json(new, Value::Null).unwrap(), (5e5, llama3));
        assert_eq!(read_json(Value::Null, old).unwrap(), (5e5, llama3));
        let linear = json!({"type": "linear", "factor": 2.0});
        assert_eq!(read_json(Value::Null, linear).unwrap(), (5e5, Scaling::Linear { factor: 2.0 }));
        let plain = json!({"rope_type": "default", "rope_theta": 1e6, "partial_rotary_factor": 1});
        assert_eq!(read_json(plain, Value::Null).unwrap(), (1e6, Scaling::None));
    }

    #[test]
    fn what_is_missing_unknown_or_senseless_is_named() {
        for (object, named) in [
            (json!({"rope_type": "yarn"}), "rope_scaling.rope_type = \"yarn\""),
            (json!({"rope_type": 3}), "rope_scaling.rope_type = 3"),
            (json!({"rope_type": "linear"}), "rope_scaling.factor is missing"),
            (json!({"rope_type": "linear", "factor": -1}), "rope_scaling.factor = -1"),
            (json!({"rope_type": "default", "factor": 2}), "rope_scaling.factor = 2"),
            (json!({"partial_rotary_factor": 0.5}), "rope_scaling.partial_rotary_factor = 0.5"),
            (
                json!({"rope_type": "llama3", "factor": 8, "low_freq_factor": 4,
                    "high_freq_factor": 4}),
                "rope_scaling.high_freq_factor = 4",
            ),
        ] {
            let error = read_json(Value::Null, object).unwrap_err();
            assert!(error.what.contains(named), "{named}: {error}");
        }
    }
}
