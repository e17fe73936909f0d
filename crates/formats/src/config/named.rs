//! Several rewards, each with a name and a weight: the config's `[[reward]]`.

use super::value::Setting;
use super::{Comparison, Settings};
use crate::error::Error;
use crate::names::REASONING_GYM;
use toml::{Table, Value};

/// The name of what `data.verifier` judges.
pub const ANSWER: &str = "answer";
/// Longest name of a reward, in characters: it is a column of tables.
const LONGEST: usize = 40;
const WAYS: &str = "format, command, verifier or given";

/// A reward besides those that `[reward]` has keys for.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedReward {
    /// Its name in metrics and reports.
    pub name: String,
    /// Its weight; a negative one rewards 1 less the score.
    pub weight: f64,
    /// Where its score comes from.
    pub by: RewardBy,
}

/// Where a named reward's score comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum RewardBy {
    /// 1 where the whole response matches this regular expression.
    Format(String),
    /// A program's score, as of `reward.command`, for so many responses at once.
    Command(String, usize),
    /// 1 where the answer is right by this comparison, after a marker unless that is empty.
    Verifier(Comparison, String),
    /// From the program that trains.
    Given,
}

fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    match !name.is_empty() && name.chars().all(plain) && name.chars().count() <= LONGEST {
        true => Ok(()),
        false => Err(format!(
            "with the name {name:?}, expected letters, digits and -_. (at most {LONGEST})"
        )),
    }
}

impl NamedReward {
    /// A reward that the program that trains gives.
    pub fn given(name: &str, weight: f64) -> crate::error::Result<Self> {
        let wrong = |what: String| {
            Error::input(format!("a reward is {what}"))
                .next("name it like \"short\": (0.2, function)")
        };
        check_name(name).map_err(wrong)?;
        match weight.is_finite() {
            true => Ok(Self { name: name.into(), weight, by: RewardBy::Given }),
            false => Err(wrong(format!("with the weight {weight}, expected a finite number"))),
        }
    }

    fn read(item: &Value) -> Result<Self, String> {
        let Value::Table(item) = item else {
            return Err("not a list of tables, like [{ name = \"short\", command = \"…\" }]".into());
        };
        let text = |key: &str| match item.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(format!("with {key} = {other}, expected a text")),
        };
        let name = text("name")?.unwrap_or_default();
        check_name(&name)?;
        let of = |what: String| format!("wrong at `{name}`: {what}");
        let weight = match item.get("weight") {
            None => 1.0,
            Some(value) => f64::read("weight", value).map_err(|e| of(format!("weight is {e}")))?,
        };
        if !weight.is_finite() {
            return Err(of("weight must be finite".into()));
        }
        let known =
            ["name", "weight", "format", "command", "batch", "verifier", "answer_after", "given"];
        if let Some(key) = item.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(of(format!("there is no key {key}, only {}", known.join(", "))));
        }
        let marker = text("answer_after").map_err(of)?;
        if marker.is_some() && !item.contains_key("verifier") {
            return Err(of("answer_after belongs to a verifier".into()));
        }
        let mut ways = Vec::new();
        ways.extend(text("format").map_err(of)?.map(RewardBy::Format));
        let batch = match item.get("batch") {
            Some(_) if !item.contains_key("command") => {
                return Err(of("batch belongs to a command".into()));
            }
            Some(value) => usize::read("batch", value).map_err(|e| of(format!("batch is {e}")))?,
            None => 0,
        };
        let command = text("command").map_err(of)?;
        ways.extend(command.map(|line| RewardBy::Command(line, batch)));
        if let Some(value) = item.get("verifier") {
            let comparison = Comparison::read("verifier", value);
            let comparison = comparison.map_err(|e| of(format!("verifier is {e}")))?;
            if !comparison.is_of_answers() {
                return Err(of(format!("{} compares no answers", comparison.name())));
            }
            ways.push(RewardBy::Verifier(comparison, marker.unwrap_or_default()));
        }
        match item.get("given") {
            Some(Value::Boolean(true)) => ways.push(RewardBy::Given),
            None | Some(Value::Boolean(false)) => {}
            Some(other) => return Err(of(format!("given = {other}, expected true"))),
        }
        let by = match <[RewardBy; 1]>::try_from(ways) {
            Ok([by]) => by,
            Err(ways) if ways.is_empty() => return Err(of(format!("it needs one of {WAYS}"))),
            Err(_) => return Err(of(format!("it may have only one of {WAYS}"))),
        };
        if matches!(&by, RewardBy::Command(line, _) if line.trim().is_empty()) {
            return Err(of("the command is empty".into()));
        }
        Ok(Self { name, weight, by })
    }

    fn write(&self) -> Value {
        let mut item = Table::new();
        let mut put = |key: &str, value: Value| item.insert(key.into(), value);
        put("name", self.name.as_str().into());
        put("weight", self.weight.into());
        match &self.by {
            RewardBy::Format(pattern) => put("format", pattern.as_str().into()),
            RewardBy::Command(line, batch) => {
                if *batch > 0 {
                    put("batch", batch.write());
                }
                put("command", line.as_str().into())
            }
            RewardBy::Verifier(comparison, marker) => {
                if !marker.is_empty() {
                    put("answer_after", marker.as_str().into());
                }
                put("verifier", comparison.name().into())
            }
            RewardBy::Given => put("given", true.into()),
        };
        Value::Table(item)
    }
}

impl Setting for Vec<NamedReward> {
    fn read(_: &str, value: &Value) -> Result<Self, String> {
        let Value::Array(items) = value else {
            return Err(format!("of type {}, expected a list of tables", value.type_str()));
        };
        let rewards = items.iter().map(NamedReward::read).collect::<Result<Self, _>>()?;
        let twice =
            |(at, r): &(usize, &NamedReward)| rewards[..*at].iter().any(|o| o.name == r.name);
        match rewards.iter().enumerate().find(twice) {
            Some((_, reward)) => Err(format!("with two rewards called `{}`", reward.name)),
            None => Ok(rewards),
        }
    }

    fn write(&self) -> Value {
        Value::Array(self.iter().map(NamedReward::write).collect())
    }
}

/// A layer in which `[[reward]]` is written as the keys of `[reward]` that it stands for, and a task of
/// reasoning-gym as data and their verifier.
pub(super) fn spelled_out(mut layer: Table) -> Table {
    if let Some(Value::Array(items)) = layer.get_mut("reward") {
        let (mut keys, items) = (Table::new(), std::mem::take(items));
        let sets_weight = |item: &Value| -> Option<Value> {
            let item = item.as_table()?;
            let is_answer = item.get("name")?.as_str() == Some(ANSWER) && item.len() == 2;
            item.get("weight").filter(|_| is_answer).cloned()
        };
        let mut named = Vec::new();
        for item in items {
            match sets_weight(&item) {
                Some(weight) if !keys.contains_key("answer_weight") => {
                    keys.insert("answer_weight".into(), weight);
                }
                _ => named.push(item),
            }
        }
        keys.insert("named".into(), Value::Array(named));
        layer.insert("reward".into(), Value::Table(keys));
    }
    if let Some(Value::Table(data)) = layer.get_mut("data")
        && let Some(Value::String(task)) = data.get("task").cloned()
        && task.starts_with(REASONING_GYM)
    {
        data.remove("task");
        data.entry("train").or_insert_with(|| Value::Array(vec![task.into()]));
        data.entry("verifier").or_insert_with(|| Comparison::Task.write());
    }
    layer
}

impl Settings {
    /// The rewards of this config with their weights, in the order of reports.
    pub(super) fn weights(&self) -> Vec<(&str, f64)> {
        let reward = &self.reward;
        let format = (!reward.format.is_empty()).then_some(("format", reward.format_weight));
        let judges = self.data.verifier == Comparison::Command;
        let has_command = !reward.command.is_empty() && !judges;
        let command = has_command.then_some(("command", reward.command_weight));
        let named = reward.named.iter().map(|r| (r.name.as_str(), r.weight));
        [(ANSWER, reward.answer_weight)]
            .into_iter()
            .chain(command)
            .chain(format)
            .chain(named)
            .collect()
    }

    /// Whether nothing but the answer is rewarded.
    pub fn rewards_only_answers(&self) -> bool {
        self.weights().len() == 1
    }

    /// The programs that score responses: the name of each one's reward, and its command.
    pub fn reward_commands(&self) -> Vec<(&str, &str)> {
        let own = ("command", self.reward.command.as_str());
        let named = self.reward.named.iter().filter_map(|r| match &r.by {
            RewardBy::Command(line, _) => Some((r.name.as_str(), line.as_str())),
            _ => None,
        });
        [own].into_iter().filter(|(_, line)| !line.is_empty()).chain(named).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn resolve(text: &str) -> crate::error::Result<Config> {
        Config::resolve(&[Config::layer(text, "c.toml")?])
    }

    #[test]
    fn several_rewards_are_read_and_printed() {
        let text = r#"
            [[reward]]
            name = "answer"
            weight = 2
            [[reward]]
            name = "boxed"
            weight = 0.5
            format = '.*\\boxed\{.*\}.*'
            [[reward]]
            name = "loose"
            weight = 0
            verifier = "numeric"
            answer_after = '####'
            [[reward]]
            name = "long"
            weight = -0.25
            command = "python3 length.py"
            batch = 16
            [[reward]]
            name = "mine"
            given = true
        "#;
        let config = resolve(text).unwrap();
        assert_eq!(
            config.weights(),
            [("answer", 2.0), ("boxed", 0.5), ("loose", 0.0), ("long", -0.25), ("mine", 1.0)]
        );
        let loose = RewardBy::Verifier(Comparison::Numeric, "####".into());
        assert_eq!(config.reward.named[1].by, loose);
        assert_eq!(config.reward_commands(), [("long", "python3 length.py")]);
        assert_eq!(resolve(&config.to_annotated_toml()).unwrap(), config);
        // The same, as a section's key.
        let key = text.replace("[[reward]]", "[[reward.named]]").replacen(
            "[[reward.named]]\n            name = \"answer\"\n            weight = 2",
            "[reward]\nanswer_weight = 2",
            1,
        );
        assert_eq!(resolve(&key).unwrap(), config);
        assert_eq!(resolve("reward = []").unwrap(), Config::default());
        assert_ne!(config.fingerprint(), Config::default().fingerprint());
    }

    #[test]
    fn a_task_of_reasoning_gym_is_data_and_a_verifier() {
        let task = "reasoning_gym:chain_sum?max_terms=3";
        let of = |settings: &[String]| {
            let layers: Vec<_> = settings.iter().map(|s| Config::setting(s).unwrap()).collect();
            Config::resolve(&layers)
        };
        let named = format!("data.task={task}");
        let config = of(std::slice::from_ref(&named)).unwrap();
        let data = &config.data;
        assert_eq!((&data.train[..], data.task.as_str()), (&[task.to_string()][..], "arithmetic"));
        assert_eq!(data.verifier, Comparison::Task);
        assert_eq!(resolve(&config.to_annotated_toml()).unwrap(), config);
        let config = of(&[named.clone(), "data.verifier=numeric".into()]).unwrap();
        assert_eq!(config.data.verifier, Comparison::Numeric);
        for wrong in ["data.train=x.jsonl", "data.eval=x.jsonl", "data.train=[]"] {
            let error = of(&[named.clone(), wrong.into()]).unwrap_err().to_string();
            assert!(error.contains("data.verifier must be"), "{wrong}: {error}");
        }
    }

    #[test]
    fn what_is_no_reward_is_named() {
        for (items, expected) in [
            ("name = \"a\"", "`a`: it needs one of format, command, verifier or given"),
            ("format = \"x\"", "with the name \"\""),
            ("name = \"a b\"\ngiven = true", "with the name \"a b\""),
            ("name = \"a\"\ngiven = true\nformat = \"x\"", "only one of"),
            ("name = \"a\"\ncommand = \" \"", "the command is empty"),
            ("name = \"a\"\ngiven = true\nbatch = 2", "batch belongs to a command"),
            ("name = \"a\"\ncommand = \"x\"\nbatch = -2", "`a`: batch is out of range"),
            ("name = \"a\"\nverifier = \"maths\"", "`a`: verifier is unknown"),
            ("name = \"a\"\nverifier = \"command\"", "command compares no answers"),
            ("name = \"a\"\ngiven = true\nwieght = 2", "there is no key wieght"),
            ("name = \"a\"\ngiven = true\nweight = \"2\"", "`a`: weight is of type string"),
            ("name = \"a\"\ngiven = true\nweight = inf", "`a`: weight must be finite"),
            ("name = \"a\"\ngiven = true\nanswer_after = \">\"", "belongs to a verifier"),
            (
                "name = \"a\"\ngiven = true\n[[reward]]\nname = \"a\"\ngiven = true",
                "two rewards called `a`",
            ),
            ("name = \"answer\"\ngiven = true", "reward.named must be"),
            ("name = \"answer\"\nweight = 0", "reward.answer_weight must be"),
            ("name = \"answer\"\nweight = -1", "reward.answer_weight must be"),
        ] {
            let error = resolve(&format!("[[reward]]\n{items}")).unwrap_err().to_string();
            assert!(error.contains(expected), "{items}: {error}");
        }
        let error = resolve("reward = [1]").unwrap_err().to_string();
        assert!(error.contains("not a list of tables"), "{error}");
        let taken = "[reward]\nformat = \"x\"\n[[reward.named]]\nname = \"format\"\ngiven = true";
        let error = resolve(taken).unwrap_err().to_string();
        assert!(error.contains("reward.named must be"), "{error}");
        let nothing = "[reward]\nformat = \"x\"\nformat_weight = 0\nanswer_weight = 0";
        assert!(resolve(nothing).is_err());
    }
}
