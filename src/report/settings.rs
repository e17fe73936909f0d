//! How the runs' settings differ: from each other, and from their method's defaults.

use super::read::RunRecord;
use crate::config::{Config, SECTIONS};
use serde::Serialize;
use serde_json::{Map, Value};

/// A key whose value differs.
#[derive(Debug, PartialEq, Serialize)]
pub struct Difference {
    /// `section.key`.
    pub key: String,
    /// What it means.
    pub doc: &'static str,
    /// Its value in each run; or its value in the run and the default.
    pub values: Vec<String>,
}

/// The keys in which the runs differ.
pub fn between(runs: &[RunRecord]) -> Vec<Difference> {
    let all: Vec<Map<String, Value>> = runs.iter().map(|r| r.config.to_json()).collect();
    differences(&all)
}

/// The keys in which a run differs from the defaults of its method and model, as (value, default).
pub fn from_default(run: &RunRecord) -> Vec<Difference> {
    let rank = i64::try_from(run.config.lora.rank).unwrap_or(i64::MAX);
    let named: [(&str, &str, toml::Value); 3] = [
        ("objective", "method", run.config.objective.method.name().into()),
        ("model", "path", run.config.model.path.clone().into()),
        ("lora", "rank", rank.into()),
    ];
    let layers = named.map(|(section, key, value)| Config::one_key(section, section, key, value));
    let mut default = Config::resolve(&layers).unwrap_or_default().to_json();
    // Model and adapters change other defaults, so these two are compared with the plain defaults.
    let plain = Config::default().to_json();
    for key in ["model.path", "lora.rank"] {
        default.insert(key.into(), plain[key].clone());
    }
    differences(&[run.config.to_json(), default])
}

fn differences(all: &[Map<String, Value>]) -> Vec<Difference> {
    let Some(first) = all.first() else { return Vec::new() };
    let differs = |key: &&String| all.iter().any(|a| a.get(*key) != first.get(*key));
    let value = |v: Option<&Value>| match v {
        Some(Value::String(text)) if text.is_empty() => "\"\"".into(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let difference = |key: &String| Difference {
        key: key.clone(),
        doc: doc(key),
        values: all.iter().map(|a| value(a.get(key))).collect(),
    };
    first.keys().filter(differs).map(difference).collect()
}

fn doc(key: &str) -> &'static str {
    let (section, key) = key.split_once('.').unwrap_or_default();
    let keys = SECTIONS.iter().find(|s| s.name == section).map_or(&[][..], |s| s.keys);
    keys.iter().find(|k| k.name == key).map_or("", |k| k.doc)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{config, run};
    use super::*;

    fn pairs(differences: &[Difference]) -> Vec<(&str, Vec<&str>)> {
        differences
            .iter()
            .map(|d| (d.key.as_str(), d.values.iter().map(String::as_str).collect()))
            .collect()
    }

    #[test]
    fn only_what_differs_is_named() {
        let (mut a, mut b) = (run("a", 5), run("b", 5));
        a.config = config(&["optimizer.lr=1e-3", "rollout.stop=x"]);
        b.config = config(&["run.seed=4"]);
        assert_eq!(
            pairs(&between(&[a, b])),
            [
                ("run.seed", vec!["0", "4"]),
                ("rollout.stop", vec!["[\"x\"]", "[]"]),
                ("optimizer.lr", vec!["0.001", "0.0008"]),
            ]
        );
        assert!(between(&[run("a", 5)]).is_empty());
    }

    #[test]
    fn a_method_and_a_model_bring_their_own_defaults() {
        let mut run = run("a", 5);
        run.config = config(&["objective.method=grpo", "optimizer.lr=1e-3"]);
        assert_eq!(pairs(&from_default(&run)), [("optimizer.lr", vec!["0.001", "0.0008"])]);
        run.config = config(&["model.path=./m", "objective.clip_low=0.1"]);
        assert_eq!(
            pairs(&from_default(&run)),
            [("model.path", vec!["./m", "tiny"]), ("objective.clip_low", vec!["0.1", "0.2"])]
        );
    }
}
