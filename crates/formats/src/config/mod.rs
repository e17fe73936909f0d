//! Every number once: name, unit, default, and where it comes from.
//!
//! `settings.rs` is the table of keys; this file turns a method's preset, a TOML file and flags
//! into one validated [`Config`]. The text forms are raw; a `Config` that exists is valid.

mod methods;
mod presets;
mod resume;
mod settings;

pub use methods::Method;
pub use resume::Change;
pub use settings::*;

use crate::error::{Error, Result};
use toml::{Table, Value};

impl Config {
    /// Resolves `layers`, later over earlier, on top of the defaults and the method's preset.
    ///
    /// Each layer is a place for messages and a table of sections, as read from TOML. Keys of the
    /// objective that stand beside another method than the last one named belong to that method,
    /// and are left out with it: `--config RUN/config.toml --method grpo` is GRPO.
    pub fn resolve(layers: &[(String, Table)]) -> Result<Self> {
        let mut named = Vec::with_capacity(layers.len());
        for (place, layer) in layers {
            check_keys(layer).map_err(|e| e.at(place))?;
            named.push(method_of(layer).map_err(|e| e.at(place))?);
        }
        let mut merged = to_table(&Config::default());
        overlay(&mut merged, &presets::of_model(layers))?;
        let method = named.iter().flatten().last().copied();
        if let Some(method) = method {
            overlay(&mut merged, &method.preset())?;
        }
        for ((place, layer), named) in layers.iter().zip(named) {
            let mut layer = layer.clone();
            if named.is_some() && named != method {
                layer.remove("objective");
            }
            overlay(&mut merged, &layer).map_err(|e| e.at(place))?;
            // Deserialising after each layer names the layer that holds a value out of its range.
            merged.clone().try_into::<Config>().map_err(|e| {
                Error::input(e.to_string().trim().replace('\n', " "))
                    .at(place)
                    .next("`srft config` prints every key with its values and meaning")
            })?;
        }
        let config: Config =
            merged.try_into().map_err(|e: toml::de::Error| Error::input(e.to_string()))?;
        config.validate()?;
        Ok(config)
    }

    /// The objective of update `step`, counted from 0: the configured one, or in a second stage
    /// that method's preset as it is; with the μ of that step, and the constant that is divided by.
    pub fn objective_at(&self, step: u32) -> Objective {
        // A share of 0.7 is a little less in binary, and its product with 10 must be 7 all the same.
        let share = self.objective.second_share * (1.0 + 2.0 * f64::EPSILON);
        let second = (f64::from(self.train.steps) * share) as u32;
        let first = self.train.steps.saturating_sub(second);
        let (mut objective, step) = match Method::named(&self.objective.second) {
            Some(method) if step >= first => (method.objective(), step - first),
            _ => (self.objective.clone(), step),
        };
        objective.mu = objective.mu_at(step);
        if objective.aggregate_constant == 0.0 {
            objective.aggregate_constant = self.rollout.max_new_tokens as f64;
        }
        objective
    }

    /// The objectives of a run, in order.
    pub fn stages(&self) -> Vec<Objective> {
        let second = Method::named(&self.objective.second).map(Method::objective);
        std::iter::once(self.objective.clone()).chain(second).collect()
    }

    /// A layer from a TOML file's text.
    pub fn layer(text: &str, place: &str) -> Result<(String, Table)> {
        let table = text.parse::<Table>().map_err(|e| {
            let line = e.span().map_or(1, |s| text[..s.start].lines().count().max(1));
            Error::input(e.message().to_string())
                .at(format!("{place}:{line}"))
                .next("the file must be TOML: [section] and key = value lines")
        })?;
        Ok((place.to_string(), table))
    }

    /// A layer from one `section.key=value` setting; the value is TOML, or else a bare string.
    pub fn setting(text: &str) -> Result<(String, Table)> {
        let malformed = || {
            Error::input(format!("`{text}` is not of the form section.key=value"))
                .next("for example --set optimizer.lr=5e-4")
        };
        let (path, value) = text.split_once('=').ok_or_else(malformed)?;
        let (section, key) = path.trim().split_once('.').ok_or_else(malformed)?;
        let value = format!("v = {value}")
            .parse::<Table>()
            .ok()
            .and_then(|mut t| t.remove("v"))
            .unwrap_or_else(|| Value::String(value.trim().to_string()));
        let inner = Table::from_iter([(key.to_string(), value)]);
        let layer = Table::from_iter([(section.to_string(), Value::Table(inner))]);
        Ok((format!("--set {text}"), layer))
    }

    /// The resolved config as TOML with a comment before each key: what `srft config` prints and
    /// a run folder keeps.
    pub fn to_annotated_toml(&self) -> String {
        let table = to_table(self);
        let mut text = String::new();
        for section in SECTIONS {
            let gap = if text.is_empty() { "" } else { "\n" };
            text += &format!("{gap}# {}\n[{}]\n", section.doc, section.name);
            for key in section.keys {
                if let Some(value) = table.get(section.name).and_then(|s| s.get(key.name)) {
                    text += &format!("# {}\n{} = {value}\n", key.doc, key.name);
                }
            }
        }
        text
    }

    /// Every key as `section.key` with its value, as JSON.
    pub fn to_json(&self) -> serde_json::Map<String, serde_json::Value> {
        let json =
            |value| serde_json::to_value(value).expect("settings are scalars and lists of texts");
        self.flat().into_iter().map(|(key, value)| (key, json(value))).collect()
    }

    /// Every key as `section.key` with its value, in the order they are printed.
    fn flat(&self) -> Vec<(String, Value)> {
        let table = to_table(self);
        let keys = SECTIONS.iter().flat_map(|s| s.keys.iter().map(move |k| (s.name, k.name)));
        keys.filter_map(|(section, key)| {
            Some((format!("{section}.{key}"), table.get(section)?.get(key)?.clone()))
        })
        .collect()
    }

    /// Whether the self term's advantages are taken over one response, so that its gradient is 0.
    fn compares_nothing(&self, objective: &Objective) -> bool {
        let with_demonstrations = objective.uses_demonstrations()
            && objective.group_of != GroupOf::Apart
            && (self.data.demonstrations > 0.0 || !self.data.train.is_empty());
        let shared = usize::from(objective.group_of == GroupOf::Shared);
        let rollouts = self.rollout.group.saturating_sub(shared);
        objective.self_term == SelfTerm::Advantage
            && rollouts + usize::from(with_demonstrations) < 2
    }

    fn validate(&self) -> Result<()> {
        let rules: &[(&str, bool, &str)] = &[
            ("rollout.prompts", self.rollout.prompts > 0, "at least 1"),
            ("rollout.group", self.rollout.group > 0, "at least 1"),
            (
                "rollout.group",
                self.rollout.group > 1
                    || self.stages().iter().all(|o| o.group_of != GroupOf::Shared),
                "at least 2: the demonstration takes the place of a rollout (objective.group_of = shared)",
            ),
            (
                "rollout.group",
                !self.stages().iter().any(|o| self.compares_nothing(o)),
                "larger: advantages compare the responses to a prompt, and a single one's is always 0",
            ),
            (
                "rollout.prompts",
                self.rollout.prompts.saturating_mul(self.rollout.group) <= MOST_ROLLOUTS,
                "so that prompts times group is at most a million rollouts a step",
            ),
            ("rollout.temperature", self.rollout.temperature >= 0.0, "0 (greedy) or more"),
            (
                "rollout.stop",
                self.rollout.stop.iter().all(|stop| !stop.is_empty()),
                "a list without an empty text, which would end every response before it begins",
            ),
            (
                "rollout.temperature",
                self.rollout.temperature > 0.0
                    || !self.stages().iter().any(Objective::uses_rollouts),
                "above 0 for training: greedy rollouts of a group are all alike",
            ),
            (
                "rollout.top_k",
                self.rollout.top_k != 1 || !self.stages().iter().any(Objective::uses_rollouts),
                "0 (all) or at least 2 for training: greedy rollouts of a group are all alike",
            ),
            ("rollout.top_p", self.rollout.top_p > 0.0 && self.rollout.top_p <= 1.0, "in (0, 1]"),
            ("rollout.min_p", (0.0..=1.0).contains(&self.rollout.min_p), "in [0, 1]"),
            ("rollout.max_new_tokens", self.rollout.max_new_tokens > 0, "at least 1"),
            ("optimizer.lr", self.optimizer.lr > 0.0 && self.optimizer.lr.is_finite(), "positive"),
            ("optimizer.beta1", (0.0..1.0).contains(&self.optimizer.beta1), "in [0, 1)"),
            ("optimizer.beta2", (0.0..1.0).contains(&self.optimizer.beta2), "in [0, 1)"),
            ("optimizer.eps", self.optimizer.eps > 0.0, "positive"),
            ("optimizer.weight_decay", self.optimizer.weight_decay >= 0.0, "0 or more"),
            ("optimizer.clip_norm", self.optimizer.clip_norm >= 0.0, "0 (off) or more"),
            (
                "optimizer.final_fraction",
                (0.0..=1.0).contains(&self.optimizer.final_fraction),
                "in [0, 1]",
            ),
            ("train.steps", self.train.steps > 0, "at least 1"),
            ("train.micro_batch_tokens", self.train.micro_batch_tokens > 0, "at least 1"),
            ("eval.samples", self.eval.samples > 0, "at least 1"),
            ("eval.temperature", self.eval.temperature >= 0.0, "0 (greedy) or more"),
            ("objective.clip_low", (0.0..=1.0).contains(&self.objective.clip_low), "in [0, 1]"),
            ("objective.clip_high", self.objective.clip_high >= 0.0, "0 or more"),
            (
                "objective.max_prob",
                self.objective.max_prob > 0.0 && self.objective.max_prob <= 1.0,
                "a probability in (0, 1]",
            ),
            (
                "objective.aggregate_constant",
                self.objective.aggregate_constant >= 0.0,
                "positive (tokens), or 0: the longest response",
            ),
            (
                "objective.kl_coeff",
                self.objective.kl_coeff == 0.0
                    || self.objective.kl_coeff > 0.0 && self.objective.sft,
                "0, or positive beside objective.sft, whose tokens it acts on",
            ),
            (
                "objective.mix",
                self.objective.mix == Mix::Sum
                    || self.objective.sft && self.objective.uses_rollouts(),
                "sum where there are not both, sft and a self_term, to mix",
            ),
            ("objective.mu", (0.0..=1.0).contains(&self.objective.mu), "in [0, 1]"),
            ("objective.mu_end", (0.0..=1.0).contains(&self.objective.mu_end), "in [0, 1]"),
            ("objective.gate_share", (0.0..=1.0).contains(&self.objective.gate_share), "in [0, 1]"),
            (
                "objective.sft_gate",
                self.objective.sft_gate != SftGate::Unsolved || self.objective.uses_rollouts(),
                "another where there is no self_term: without rollouts no prompt is solved",
            ),
            (
                "objective.buffer",
                self.objective.buffer == 0 || self.objective.sft && self.objective.uses_rollouts(),
                "0 where there are not both, sft and a self_term",
            ),
            (
                "objective.group_of",
                self.objective.group_of != GroupOf::Apart
                    || !self.objective.rl_demo && self.objective.sft_gate != SftGate::Advantage,
                "extra or shared where the demonstration's advantage is used",
            ),
            (
                "objective.second",
                self.objective.second.is_empty() || Method::named(&self.objective.second).is_some(),
                "empty, or a method",
            ),
            (
                "objective.second_share",
                (0.0..=1.0).contains(&self.objective.second_share),
                "a share in [0, 1]",
            ),
            (
                "data.demonstrations",
                (0.0..=1.0).contains(&self.data.demonstrations),
                "a share in [0, 1]",
            ),
            (
                "data.wrong_demonstrations",
                (0.0..=1.0).contains(&self.data.wrong_demonstrations),
                "a share in [0, 1]",
            ),
            (
                "data.terse_demonstrations",
                (0.0..=1.0).contains(&self.data.terse_demonstrations),
                "a share in [0, 1]",
            ),
            ("reward.format_weight", self.reward.format_weight >= 0.0, "0 or more"),
            ("reward.command_weight", self.reward.command_weight >= 0.0, "0 or more"),
            (
                "reward.command_secs",
                (0.001..=86_400.0).contains(&self.reward.command_secs),
                "0.001 to 86400 seconds",
            ),
            (
                "reward.command",
                self.data.verifier != Comparison::Command || !self.reward.command.is_empty(),
                "given where data.verifier is command",
            ),
            ("lora.rank", self.lora.rank <= 4096, "at most 4096"),
            ("lora.alpha", self.lora.alpha > 0.0, "positive"),
            ("lora.dropout", (0.0..0.99).contains(&self.lora.dropout), "a share in [0, 0.99)"),
            (
                "lora.targets",
                self.lora.rank == 0 || !self.lora.targets.is_empty(),
                "some of the model's matrices",
            ),
            ("checkpoint.keep", self.checkpoint.keep > 0, "at least 1: the last one"),
            (
                "objective",
                self.objective.uses_rollouts() || self.objective.uses_demonstrations(),
                "left with at least one term: sft, rl_demo or self_term",
            ),
        ];
        let broken = |key: &str, must: &str| {
            Err(Error::input(format!("{key} must be {must}"))
                .next(format!("set {key} in the TOML file or with --set {key}=VALUE")))
        };
        for (key, value) in self.flat() {
            if value.as_float().is_some_and(|v| !v.is_finite()) {
                return broken(&key, "a finite number");
            }
        }
        match rules.iter().find(|(_, holds, _)| !holds) {
            Some((key, _, must)) => broken(key, must),
            None => Ok(()),
        }
    }
}

/// Rollouts of a step: more is a slip of the keyboard, and no memory would hold them.
const MOST_ROLLOUTS: usize = 1_000_000;

impl Method {
    /// The objective that the method's preset gives.
    pub fn objective(self) -> Objective {
        let method = Table::from_iter([("method".into(), self.name().into())]);
        let layer = Table::from_iter([("objective".into(), Value::Table(method))]);
        Config::resolve(&[(self.name().into(), layer)]).expect("a preset is valid").objective
    }
}

fn to_table(config: &Config) -> Table {
    Table::try_from(config).expect("settings are scalars, texts and lists of texts")
}

/// The method that a layer names.
fn method_of(layer: &Table) -> Result<Option<Method>> {
    let Some(value) = layer.get("objective").and_then(|o| o.get("method")) else {
        return Ok(None);
    };
    value.clone().try_into().map(Some).map_err(|_| {
        Error::input(format!("objective.method = {value} is not a known method"))
            .next(format!("one of: {}", Method::names().join(", ")))
    })
}

/// Lays `layer`, whose keys are known, over `base`, which holds every key.
fn overlay(base: &mut Table, layer: &Table) -> Result<()> {
    for (section, keys) in layer {
        let pairs = base.get_mut(section).and_then(Value::as_table_mut).zip(keys.as_table());
        let Some((slots, keys)) = pairs else { continue };
        for (key, value) in keys {
            let value = match (slots.get(key), value) {
                (Some(Value::Array(_)), Value::String(text)) => list(key, text),
                // `lr = 1` is a fine float: TOML tells integers from floats, users do not.
                (Some(Value::Float(_)), Value::Integer(i)) => Value::Float(*i as f64),
                (Some(old), new) if !old.same_type(new) => {
                    let (expected, given) = (old.type_str(), new.type_str());
                    let next = match old {
                        Value::Array(_) => {
                            format!("texts: {section}.{key} = [\"one\", \"another\"]")
                        }
                        _ => "`srft config` prints every key with its values and meaning".into(),
                    };
                    return Err(Error::input(format!(
                        "{section}.{key} = {new} is of type {given}, expected {expected}"
                    ))
                    .next(next));
                }
                (_, value) => value.clone(),
            };
            slots.insert(key.clone(), value);
        }
    }
    Ok(())
}

/// A list that is written as one text: a list of that text alone. The names of matrices, which have
/// no white space in them, may be separated by it.
fn list(key: &str, text: &str) -> Value {
    let items: Vec<&str> = match key {
        "targets" => text.split_whitespace().collect(),
        _ if text.is_empty() => Vec::new(),
        _ => vec![text],
    };
    Value::Array(items.into_iter().map(Value::from).collect())
}

fn check_keys(layer: &Table) -> Result<()> {
    for (name, value) in layer {
        let Some(section) = SECTIONS.iter().find(|s| s.name == name) else {
            let known = SECTIONS.iter().map(|s| s.name);
            return Err(unknown("section", name, known));
        };
        let Value::Table(keys) = value else {
            return Err(Error::input(format!("`{name}` is a section, not a value"))
                .next(format!("write [{name}] and its keys below")));
        };
        for key in keys.keys() {
            if !section.keys.iter().any(|k| k.name == key) {
                // The key may be right and the section wrong: look everywhere for the nearest.
                let all: Vec<String> = SECTIONS
                    .iter()
                    .flat_map(|s| s.keys.iter().map(move |k| format!("{}.{}", s.name, k.name)))
                    .collect();
                let elsewhere = all.iter().find(|full| full.rsplit('.').next() == Some(key));
                if let Some(full) = elsewhere {
                    return Err(Error::input(format!("unknown key `{name}.{key}`"))
                        .next(format!("did you mean `{full}`?")));
                }
                return Err(unknown("key", &format!("{name}.{key}"), all.iter().map(|s| &**s)));
            }
        }
    }
    Ok(())
}

/// An error that names the nearest known name.
pub fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let nearest = known
        .max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b)));
    let error = Error::input(format!("unknown {what} `{name}`"));
    match nearest {
        Some(nearest) => error.next(format!("did you mean `{nearest}`?")),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<Config> {
        Config::resolve(&[Config::layer(text, "c.toml")?])
    }

    #[test]
    fn printed_config_reads_back_as_itself() {
        for method in Method::ALL {
            let text = format!("[objective]\nmethod = \"{}\"\n", method.name());
            let config = resolve(&text).unwrap();
            assert_eq!(resolve(&config.to_annotated_toml()).unwrap(), config);
        }
    }

    #[test]
    fn a_preset_gives_way_to_the_users_own_keys() {
        let config = resolve("[objective]\nmethod = \"srft-official\"\nentropy_coeff = 0").unwrap();
        assert_eq!(config.objective.entropy_coeff, 0.0);
        assert_eq!(config.objective.sft_weight_sign, Sign::Plus);
    }

    #[test]
    fn a_second_stage_takes_over_at_its_share() {
        let text = "[objective]\nmethod = \"sft-grpo\"\nsecond_share = 0.25\n[train]\nsteps = 8";
        let config = resolve(text).unwrap();
        let methods: Vec<_> =
            (0..8).map(|step| config.objective_at(step).uses_rollouts()).collect();
        assert_eq!(methods, [false, false, false, false, false, false, true, true]);
        assert_eq!(config.objective_at(6), Method::Grpo.objective());
        assert_eq!(config.stages().len(), 2);
        let error = resolve("[objective]\nsecond = \"ppo\"").unwrap_err().to_string();
        assert!(error.contains("objective.second must be"), "{error}");
    }

    /// Stop texts as people write them (transformers #28932, MLX-Textgen #3), and lists of files.
    #[test]
    fn a_list_is_not_split_and_one_text_is_a_list_of_it() {
        for (setting, expected) in [
            ("rollout.stop=<|im_end|>", &["<|im_end|>"][..]),
            ("rollout.stop=[INST]", &["[INST]"]),
            ("rollout.stop=", &[]),
            (r#"rollout.stop="\n\n""#, &["\n\n"]),
            (r#"rollout.stop=["a|b", "c,d"]"#, &["a|b", "c,d"]),
        ] {
            let config = Config::resolve(&[Config::setting(setting).unwrap()]).unwrap();
            assert_eq!(config.rollout.stop, expected, "{setting}");
            assert_eq!(resolve(&config.to_annotated_toml()).unwrap(), config, "{setting}");
        }
        let old =
            "[data]\neval = \"a, b.jsonl\"\ntrain = \"\"\n[lora]\ntargets = \"q_proj v_proj\"";
        let config = resolve(old).unwrap();
        assert_eq!(config.data.eval, ["a, b.jsonl"]);
        assert!(config.data.train.is_empty());
        assert_eq!(config.lora.targets, ["q_proj", "v_proj"]);
    }

    #[test]
    fn keys_written_beside_another_method_go_with_it() {
        let mut official = resolve("[objective]\nmethod = \"srft-official\"").unwrap();
        official.optimizer.lr = 0.5;
        let printed = Config::layer(&official.to_annotated_toml(), "run/config.toml").unwrap();
        let gate = Config::setting("objective.sft_gate=reward").unwrap();
        let grpo = Config::setting("objective.method=grpo").unwrap();
        let config = Config::resolve(&[printed, gate, grpo]).unwrap();
        let mut expected =
            resolve("[objective]\nmethod = \"grpo\"\nsft_gate = \"reward\"").unwrap();
        expected.optimizer.lr = 0.5;
        assert_eq!(config, expected);
    }

    #[test]
    fn errors_name_key_file_line_and_way_out() {
        for (text, expected) in [
            ("[optimizer]\nlearning_rate = 1", "did you mean `optimizer."),
            ("[train]\nlr = 1", "did you mean `optimizer.lr`"),
            ("[optimiser]\nlr = 1", "did you mean `optimizer`"),
            (
                "[optimizer]\nlr = \"fast\"",
                "c.toml: optimizer.lr = \"fast\" is of type string, expected float",
            ),
            ("[rollout]\ngroup = -1", "c.toml"),
            ("[rollout]\ngroup = -1", "group"),
            ("[objective]\nself_term = \"both\"", "self_term"),
            ("[objective]\nentropy_coeff = nan", "objective.entropy_coeff must be a finite number"),
            ("[rollout]\nprompts = 1000000", "rollout.prompts must be"),
            ("[optimizer]\nlr = -1", "optimizer.lr must be positive"),
            ("[objective]\nmethod = \"ppo\"", "one of: srft"),
            ("a = ]", "c.toml:1"),
            ("[rollout]\ntemperature = 0", "rollout.temperature"),
            (
                "[rollout]\nstop = [\"a\", \"\"]",
                "rollout.stop must be a list without an empty text",
            ),
            ("[rollout]\nstop = 5", "rollout.stop = [\"one\", \"another\"]"),
            ("[data]\neval = [1]", "expected a string"),
        ] {
            let message = resolve(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text:?} gave: {message}");
        }
    }
}
