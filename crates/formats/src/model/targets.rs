//! Which matrices PEFT's `target_modules` and `exclude_modules` name: short names, full names, ends of
//! names, `all-linear`, or a regular expression. Adapters here cover a matrix in every layer or in
//! none.

use super::peft::{MERGE_IN_PEFT, TARGETS, unsupported};
use crate::error::{Error, Result};
use regex::Regex;
use serde_json::{Map, Value};

/// PEFT's word for every linear layer but the head.
const ALL_LINEAR: &str = "all-linear";

/// What `target_modules` may also name, but adapters here never cover.
const OTHERS: [&str; 2] = ["lm_head", "model.embed_tokens"];

/// The targets, in the order of [`TARGETS`], that the fields name in a model of so many layers.
pub fn read(fields: &Map<String, Value>, layers: usize) -> Result<Vec<String>> {
    let named = Names::read("target_modules", fields)?;
    let excluded = Names::read("exclude_modules", fields)?;
    let has = |module: &str| named.take_in(module) && !excluded.take_in(module);
    let given = || fields.get("target_modules").unwrap_or(&Value::Null);
    if let Some(module) = OTHERS.into_iter().find(|module| has(module)) {
        return Err(Error::input(format!(
            "target_modules = {} is not supported: it names `{module}`",
            given()
        ))
        .next(format!("supported: {}; {MERGE_IN_PEFT}", TARGETS.join(", "))));
    }
    let mut targets = Vec::new();
    for target in TARGETS {
        let block = if target.starts_with(['q', 'k', 'v', 'o']) { "self_attn" } else { "mlp" };
        let in_layer = |layer: &usize| has(&format!("model.layers.{layer}.{block}.{target}"));
        match (0..layers).filter(in_layer).count() {
            0 => {}
            all if all == layers => targets.push(target.to_string()),
            some => {
                return Err(Error::input(format!(
                    "target_modules = {} is not supported: it names {target} in {some} of {layers} \
                     layers, but here adapters are in all of them",
                    given()
                ))
                .next(MERGE_IN_PEFT));
            }
        }
    }
    match targets.is_empty() {
        false => Ok(targets),
        true => Err(unsupported(
            "target_modules",
            given(),
            &format!("names of {}, in every layer", TARGETS.join(", ")),
        )),
    }
}

/// The modules that a field names.
enum Names {
    AllLinear,
    Listed(Vec<String>),
    Pattern(Regex),
}

impl Names {
    fn read(field: &str, fields: &Map<String, Value>) -> Result<Self> {
        let value = fields.get(field).unwrap_or(&Value::Null);
        let known = "a list of names, all-linear, or a regular expression";
        match value {
            Value::Null => Ok(Names::Listed(Vec::new())),
            Value::String(word) if word.is_empty() => Ok(Names::Listed(Vec::new())),
            Value::String(word) if word == ALL_LINEAR => Ok(Names::AllLinear),
            // Anchored like Python's fullmatch.
            Value::String(pattern) => Regex::new(&format!("^(?:{pattern})$"))
                .map(Names::Pattern)
                .map_err(|_| unsupported(field, value, known)),
            _ => serde_json::from_value(value.clone())
                .map(Names::Listed)
                .map_err(|_| unsupported(field, value, known)),
        }
    }

    /// Matches as PEFT does: the full name, or its end after a dot.
    fn take_in(&self, module: &str) -> bool {
        match self {
            Names::AllLinear => !OTHERS.contains(&module),
            Names::Pattern(pattern) => pattern.is_match(module),
            Names::Listed(names) => names.iter().any(|name| {
                let end = module.strip_suffix(name.as_str());
                end.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn targets(target: Value, exclude: Value) -> Result<Vec<String>> {
        let fields = json!({"target_modules": target, "exclude_modules": exclude});
        read(fields.as_object().unwrap(), 2)
    }

    /// What PEFT writes for `all-linear` on a model of under 20 matrices, and for `exclude_modules`.
    #[test]
    fn peft_names_modules_in_several_ways() {
        let whole = |names: &[&str]| -> Vec<String> {
            let name = |layer| names.iter().map(move |n| format!("model.layers.{layer}.{n}"));
            (0..2).flat_map(name).collect()
        };
        let null = Value::Null;
        let qv = ["q_proj", "v_proj"];
        for (target, exclude, expected) in [
            (json!(["v_proj", "q_proj"]), null.clone(), &qv[..]),
            (json!(["self_attn.q_proj", "self_attn.v_proj"]), json!([]), &qv),
            (json!(whole(&["self_attn.q_proj", "self_attn.v_proj"])), null.clone(), &qv),
            (json!(whole(&["mlp.up_proj"])), null.clone(), &["up_proj"]),
            (json!(["layers.0.mlp.up_proj", "1.mlp.up_proj"]), null.clone(), &["up_proj"]),
            (json!(["q_proj", "query_key_value", "v_proj"]), null.clone(), &qv),
            (json!(r".*\.(q_proj|v_proj)"), null.clone(), &qv),
            (json!("all-linear"), null.clone(), &TARGETS),
            (json!(["q_proj", "v_proj", "down_proj"]), json!(["down_proj"]), &qv),
            (json!("all-linear"), json!(r".*\.(mlp\..*|o_proj|k_proj)"), &qv),
            (json!(["q_proj", "v_proj", "lm_head"]), json!(["lm_head"]), &qv),
        ] {
            assert_eq!(targets(target.clone(), exclude).unwrap(), expected, "{target}");
        }
    }

    #[test]
    fn what_ours_cannot_do_is_named() {
        let null = Value::Null;
        for (target, exclude, word) in [
            (json!(["model.layers.0.mlp.up_proj"]), null.clone(), "up_proj in 1 of 2 layers"),
            (json!(["q_proj"]), json!(["model.layers.1.self_attn.q_proj"]), "q_proj in 1 of 2"),
            (json!(["q_proj", "lm_head"]), null.clone(), "`lm_head`"),
            (json!(".*"), null.clone(), "`lm_head`"),
            (json!(["proj"]), null.clone(), "is not supported"),
            (json!("(?=q_proj)"), null.clone(), "is not supported"),
            (json!([1]), null.clone(), "is not supported"),
            (json!(["q_proj"]), json!(["q_proj"]), "is not supported"),
            (null.clone(), null.clone(), "is not supported"),
        ] {
            let error = targets(target.clone(), exclude).unwrap_err();
            assert!(error.what.contains(word) && error.next.is_some(), "{target}: {error}");
        }
    }
}
