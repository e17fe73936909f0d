//! Which settings may change when a run is resumed.

use super::{SECTIONS, Schedule, Settings};
use crate::error::{Error, Result};
use toml::{Table, Value};

/// The keys that version 0.1 let a resumed run change.
const FREE_BEFORE: [&str; 10] = [
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

/// Keys that came later, with the values that a run's file without them means, which are not today's defaults: the loss
/// had the policy at temperature 1, and a step was one update.
const MEANT_BEFORE: [(&str, &str, Value); 2] =
    [("objective", "temperature", Value::Float(1.0)), ("train", "minibatches", Value::Integer(1))];

/// A difference between two configs.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// `section.key`.
    pub key: String,
    /// Its value in the new config.
    pub now: Value,
    /// Its value in the config compared with.
    pub before: Value,
}

impl Settings {
    /// Refuses a change from `before`, the run's own config, that would make the resumed run a
    /// different run.
    pub fn require_resumes(&self, before: &Settings) -> Result<()> {
        let Some(Change { key, now, before }) = self.change(before) else { return Ok(()) };
        let why = match key.as_str() {
            "train.steps" => {
                "the learning rate's schedule and a second stage span all steps of a run"
            }
            _ => "a resumed run keeps its settings",
        };
        Err(Error::input(format!("{now} was {before} when the run began: {why}")).at(&key).next(
            "resume without it, or start a new run from the checkpoint with srft train --model \
             RUN/checkpoints/step-N",
        ))
    }

    /// The first decisive key that differs from `before`.
    pub fn change(&self, before: &Settings) -> Option<Change> {
        let mut pairs = self.decisive().into_iter().zip(before.decisive());
        pairs.find(|(now, old)| now != old).map(|((key, now), (_, before))| Change {
            key,
            now,
            before,
        })
    }

    /// A checksum over every decisive key. Each checkpoint carries it, so that no other run resumes
    /// from it.
    pub fn fingerprint(&self) -> u32 {
        let lines = self.decisive().into_iter().map(|(key, value)| format!("{key} = {value}\n"));
        crc32fast::hash(lines.collect::<String>().as_bytes())
    }

    /// Adds to a run's own file the keys that came later where their absence means another value than their default.
    pub fn say_what_is_meant(file: &mut Table) {
        for (section, key, value) in MEANT_BEFORE {
            let keys = file.get_mut(section).and_then(Value::as_table_mut);
            keys.into_iter().for_each(|keys| {
                keys.entry(key).or_insert_with(|| value.clone());
            });
        }
    }

    /// The checksum as version 0.1 computed it from its `config.toml`, over the keys that it had.
    pub fn fingerprint_before(file: &Table) -> u32 {
        let text = |section: &str, key: &str| file.get(section)?.get(key).map(Value::to_string);
        let constant = text("optimizer", "schedule").as_deref() == Some("\"constant\"")
            && text("objective", "second").as_deref() == Some("\"\"");
        let mut lines = String::new();
        for (section, key) in SECTIONS.iter().flat_map(|s| s.keys.iter().map(|k| (s.name, k.name)))
        {
            let name = format!("{section}.{key}");
            let later = MEANT_BEFORE.iter().any(|later| (later.0, later.1) == (section, key));
            let free = FREE_BEFORE.contains(&&*name) || constant && name == "train.steps" || later;
            if let Some(value) = text(section, key).filter(|_| !free) {
                lines += &format!("{name} = {value}\n");
            }
        }
        crc32fast::hash(lines.as_bytes())
    }

    /// The decisive keys: those that the table does not mark `free`. Some are decisive for a reason
    /// that is easily missed: `rollout.slots` is the number of rows of a matrix product, whose rounding
    /// shows in the sampled log-probabilities; `train.micro_batch_tokens` sets the order of a sum;
    /// `eval.examples` and its like set what the result is compared with; `reward.command` judges.
    fn decisive(&self) -> Vec<(String, Value)> {
        // The number of steps may change where neither the learning rate nor a second stage depends on
        // it.
        let constant =
            self.optimizer.schedule == Schedule::Constant && self.objective.second.is_empty();
        let all =
            self.flat().into_iter().map(|(section, key, value)| (key, key.of(section), value));
        let keys =
            all.filter(|(key, name, _)| key.free.is_none() || name == "train.steps" && !constant);
        keys.map(|(_, name, value)| (name, value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn changed(settings: &[&str]) -> Result<()> {
        let layers: Vec<_> = settings.iter().map(|s| Config::setting(s).unwrap()).collect();
        let before = Config::resolve(&layers[..1]).unwrap();
        Config::resolve(&layers).unwrap().require_resumes(&before)
    }

    #[test]
    fn what_decides_an_update_must_stay() {
        for (setting, key) in [
            ("run.seed=1", "run.seed"),
            ("run.precision=f16", "run.precision"),
            ("objective.method=grpo", "objective.method"),
            ("objective.sft_gate=reward", "objective.sft_gate"),
            ("optimizer.lr=1", "optimizer.lr"),
            ("rollout.group=3", "rollout.group"),
            ("data.verifier=numeric", "data.verifier"),
            ("train.micro_batch_tokens=7", "train.micro_batch_tokens"),
            ("train.steps=300", "train.steps"),
            ("eval.examples=9", "eval.examples"),
            ("rollout.slots=7", "rollout.slots"),
            ("reward.command=cat", "reward.command"),
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
            "run.tensorboard=true",
            "reward.command_secs=90",
            "model.frozen=f32",
            "eval.every=5",
            "checkpoint.keep=9",
            "train.patience=2",
            "train.steps=300",
        ] {
            changed(&["optimizer.schedule=constant", setting]).unwrap();
        }
    }

    /// The checksum is version 0.1's for the same settings.
    #[test]
    fn a_run_of_before_is_known_by_its_own_file() {
        let settings = ["optimizer.schedule=constant", "train.steps=7", "rollout.slots=9"];
        let layers: Vec<_> = settings.iter().map(|s| Config::setting(s).unwrap()).collect();
        let text = Config::resolve(&layers).unwrap().to_annotated_toml();
        let of = |text: &str| Settings::fingerprint_before(&text.parse().unwrap());
        let known = of(&text);
        // Such a file lacks the keys of later versions, and free keys don't count.
        assert_eq!(
            known,
            of(&text.replace("steps = 7", "steps = 8").replace("slots = 9", "slots = 1"))
        );
        assert_ne!(known, of(&text.replace("group = 8", "group = 4")));
        assert_ne!(known, of(&text.replace("group = 8\n", "")));
    }

    /// What a step of it did, it goes on doing.
    #[test]
    fn a_run_of_before_means_what_it_meant() {
        let meant = |text: &str| {
            let mut file: Table = text.parse().unwrap();
            Settings::say_what_is_meant(&mut file);
            let config = Config::resolve(&[("run".into(), file)]).unwrap();
            (config.objective.temperature, config.train.minibatches)
        };
        let before = "[objective]\nmethod = \"srft-official\"\n[train]\nsteps = 3\n";
        assert_eq!(meant(before), (1.0, 1));
        let now =
            "[objective]\nmethod = \"srft-official\"\ntemperature = 0.0\n[train]\nminibatches = 2";
        assert_eq!(meant(now), (0.0, 2));
    }
}
