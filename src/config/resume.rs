//! What of a run's config may change when it is taken up again.

use super::{Config, Schedule};
use crate::error::{Error, Result};
use toml::Value;

/// Keys that no number of an update depends on, and no comparison of before with after.
const FREE: [&str; 10] = [
    "run.device",
    "train.patience",
    "eval.every",
    "eval.write_samples",
    "rollout.slots",
    "train.checkpointing",
    "checkpoint.dtype",
    "checkpoint.every",
    "checkpoint.keep",
    "checkpoint.samples_every",
];

/// A difference between two configs.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// `section.key`.
    pub key: String,
    /// The value of the one.
    pub now: Value,
    /// The value of the other.
    pub before: Value,
}

impl Config {
    /// Refuses a change from `before`, the run's own config, that would make the resumed run
    /// another run than the one that was stopped.
    pub fn require_resumes(&self, before: &Config) -> Result<()> {
        let Some(Change { key, now, before }) = self.change(before) else { return Ok(()) };
        let why = match key.as_str() {
            "train.steps" => {
                "the learning rate's schedule and a second stage span all steps of a run"
            }
            _ => "a resumed run goes on as it began",
        };
        Err(Error::input(format!("{now} was {before} when the run began: {why}")).at(&key).next(
            "resume without it, or begin a new run from the checkpoint with \
             srft train --model RUN/checkpoints/step-N",
        ))
    }

    /// The first key that decides a run and differs in `before`.
    pub fn change(&self, before: &Config) -> Option<Change> {
        let mut pairs = self.decisive().into_iter().zip(before.decisive());
        pairs.find(|(now, old)| now != old).map(|((key, now), (_, before))| Change {
            key,
            now,
            before,
        })
    }

    /// A checksum of every key that decides a run: a checkpoint carries it, so that it is never
    /// taken for another run's.
    pub fn fingerprint(&self) -> u32 {
        let lines =
            self.decisive().into_iter().map(|(key, value)| format!("{key} = {}\n", plain(value)));
        crc32fast::hash(lines.collect::<String>().as_bytes())
    }

    /// The keys that must stay. More steps are welcome where neither the learning rate nor a second
    /// stage depends on their number.
    fn decisive(&self) -> Vec<(String, Value)> {
        let constant =
            self.optimizer.schedule == Schedule::Constant && self.objective.second.is_empty();
        let mut keys = self.flat();
        keys.retain(|(k, _)| !(FREE.contains(&k.as_str()) || constant && k == "train.steps"));
        keys
    }
}

/// A list of texts as the one text that it was when the first checkpoints were written.
fn plain(value: Value) -> Value {
    match value.as_array() {
        Some(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ").into(),
        None => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(settings: &[&str]) -> Result<()> {
        let layers: Vec<_> = settings.iter().map(|s| Config::setting(s).unwrap()).collect();
        let before = Config::resolve(&layers[..1]).unwrap();
        Config::resolve(&layers).unwrap().require_resumes(&before)
    }

    #[test]
    fn what_decides_an_update_must_stay() {
        for (setting, key) in [
            ("run.seed=1", "run.seed"),
            ("objective.method=grpo", "objective.method"),
            ("objective.sft_gate=reward", "objective.sft_gate"),
            ("optimizer.lr=1", "optimizer.lr"),
            ("rollout.group=3", "rollout.group"),
            ("data.verifier=numeric", "data.verifier"),
            ("train.micro_batch_tokens=7", "train.micro_batch_tokens"),
            ("train.steps=300", "train.steps"),
            ("eval.examples=9", "eval.examples"),
        ] {
            let error = changed(&["optimizer.schedule=linear", setting]).unwrap_err();
            assert_eq!(error.place.as_deref(), Some(key), "{error}");
        }
    }

    #[test]
    fn a_second_stage_depends_on_the_number_of_steps() {
        let constant = "optimizer.schedule=constant";
        for (method, may) in [("grpo", true), ("sft-grpo", false)] {
            let method = format!("objective.method={method}");
            let layers = |settings: &[&str]| -> Vec<_> {
                settings.iter().map(|s| Config::setting(s).unwrap()).collect()
            };
            let before = Config::resolve(&layers(&[constant, &method])).unwrap();
            let longer = layers(&[constant, &method, "train.steps=300"]);
            let longer = Config::resolve(&longer).unwrap();
            assert_eq!(longer.require_resumes(&before).is_ok(), may, "{method}");
        }
    }

    #[test]
    fn what_only_watches_may_change() {
        for setting in [
            "run.device=cpu",
            "eval.every=5",
            "checkpoint.keep=9",
            "train.patience=2",
            "train.steps=300",
        ] {
            changed(&["optimizer.schedule=constant", setting]).unwrap();
        }
    }
}
