//! Every setting, defined once: name, unit, default, and where its value comes from.
//!
//! `settings.rs` is the table of keys with the check of each key, `rules.rs` the checks across keys;
//! this file turns a method's preset, a TOML file and flags into one [`Config`]. [`Settings`] may hold
//! any values; a `Config` is always valid, and changes only into another valid one.

mod choices;
mod columns;
mod methods;
mod named;
mod presets;
mod resume;
mod rules;
mod settings;
mod value;

pub use choices::*;
pub use columns::Columns;
pub use methods::Method;
pub use named::{ANSWER, NamedReward, RewardBy};
pub use resume::Change;
pub use rules::Config;
pub use settings::*;

use crate::error::{Error, Result};
use toml::{Table, Value};
use value::Setting;

impl Config {
    /// Resolves `layers`, later over earlier, on top of the defaults and the method's preset.
    ///
    /// A layer is the name of its source (for messages) and a table of sections, as read from TOML. If
    /// a later layer names another method, the `[objective]` section that came with the earlier one is
    /// dropped, and what else its preset set: `--config RUN/config.toml --method grpo` is plain GRPO.
    pub fn resolve(layers: &[(String, Table)]) -> Result<Self> {
        let spelled =
            |(place, layer): &(String, Table)| (place.clone(), named::spelled_out(layer.clone()));
        let layers: Vec<(String, Table)> = layers.iter().map(spelled).collect();
        let mut named = Vec::with_capacity(layers.len());
        for (place, layer) in &layers {
            check_keys(layer).map_err(|e| e.at(place))?;
            named.push(method_of(layer).map_err(|e| e.at(place))?);
        }
        let mut settings = Settings::default();
        settings.lay(&presets::of_model(&layers))?;
        let method = named.iter().flatten().last().copied();
        if let Some(method) = method {
            settings.lay(&method.preset())?;
        }
        for ((place, mut layer), named) in layers.into_iter().zip(named) {
            if let Some(other) = named.filter(|named| Some(*named) != method) {
                for (section, keys) in other.preset() {
                    let own = layer.get_mut(&section).and_then(Value::as_table_mut);
                    own.into_iter()
                        .for_each(|own| own.retain(|key, value| keys.get(key) != Some(value)));
                }
                layer.remove("objective");
            }
            settings.lay(&layer).map_err(|e| e.at(place))?;
        }
        Self::new(settings)
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

    /// A layer from a flag of the command line for one key, `section.key`; the text is read as the type
    /// of that key.
    pub fn flag(flag: &str, key: &str, text: &str) -> (String, Table) {
        let (section, name) = key.split_once('.').expect("a full key");
        let defaults = Settings::default().to_table();
        let number = match defaults[section][name] {
            Value::Integer(_) => text.parse().ok().map(Value::Integer),
            Value::Float(_) => text.parse().ok().map(Value::Float),
            _ => None,
        };
        Self::one_key(flag, section, name, number.unwrap_or_else(|| text.into()))
    }

    /// A layer of one key; `place` is the name of its source.
    pub fn one_key(
        place: &str,
        section: &str,
        key: &str,
        value: impl Into<Value>,
    ) -> (String, Table) {
        let keys = Table::from_iter([(key.to_string(), value.into())]);
        (place.into(), Table::from_iter([(section.to_string(), Value::Table(keys))]))
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
        Ok(Self::one_key(&format!("--set {text}"), section, key, value))
    }
}

impl Settings {
    /// The objective of update `step`, counted from 0: the configured one, or in the second stage that
    /// method's preset. μ has its value at that step, `prefix_end` that of the prefix's share, and a temperature, a limit or a divisor of 0 is
    /// replaced by what it stands for.
    pub fn objective_at(&self, step: u32) -> Objective {
        // 0.7 is a little less in binary; its product with 10 must still be 7.
        let share = self.objective.second_share * (1.0 + 2.0 * f64::EPSILON);
        let second = (f64::from(self.train.steps) * share) as u32;
        let first = self.train.steps.saturating_sub(second);
        let (mut objective, step) = match Method::named(&self.objective.second) {
            Some(method) if step >= first => (method.objective(), step - first),
            _ => (self.objective.clone(), step),
        };
        objective.mu = objective.mu_at(step);
        match objective.prefix_at(step) {
            Some(share) => objective.prefix_end = share,
            None => objective.prefix = Prefix::None,
        }
        if objective.temperature == 0.0 {
            // A greedy run has no rollouts.
            let sampled = self.rollout.temperature;
            objective.temperature = if sampled > 0.0 { sampled } else { 1.0 };
        }
        if objective.soft_limit == 0 {
            objective.soft_limit = self.rollout.max_new_tokens;
        }
        if objective.aggregate_constant == 0.0 {
            objective.aggregate_constant = self.rollout.max_new_tokens as f64;
        }
        objective
    }

    /// The objective of each stage, in order.
    pub fn stages(&self) -> Vec<Objective> {
        let second = Method::named(&self.objective.second).map(Method::objective);
        std::iter::once(self.objective.clone()).chain(second).collect()
    }

    /// Lays a layer, whose keys are known, over these settings.
    fn lay(&mut self, layer: &Table) -> Result<()> {
        for (section, keys) in layer {
            for (key, value) in keys.as_table().into_iter().flatten() {
                self.set(section, key, value).map_err(|wrong| {
                    Error::input(format!("{section}.{key} = {value} is {wrong}"))
                        .next("`srft config` prints every key with its values and meaning")
                })?;
            }
        }
        Ok(())
    }

    /// All keys, section by section, as a file has them.
    pub fn to_table(&self) -> Table {
        let mut table = Table::new();
        for (section, key, value) in self.flat() {
            let keys = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            keys.as_table_mut().expect("a section").insert(key.name.into(), value);
        }
        table
    }

    /// The resolved config as TOML with a comment before each key: what `srft config` prints and
    /// a run folder keeps.
    pub fn to_annotated_toml(&self) -> String {
        let mut values = self.values().into_iter();
        let mut text = String::new();
        for section in SECTIONS {
            let gap = if text.is_empty() { "" } else { "\n" };
            text += &format!("{gap}# {}\n[{}]\n", section.doc, section.name);
            for (key, value) in section.keys.iter().zip(&mut values) {
                text += &format!("# {}\n{} = {value}\n", key.doc, key.name);
            }
        }
        text
    }

    /// Every key as `section.key` with its value, as JSON.
    pub fn to_json(&self) -> serde_json::Map<String, serde_json::Value> {
        let json = |value| serde_json::to_value(value).expect("TOML without dates is JSON");
        let all = self.flat().into_iter();
        all.map(|(section, key, value)| (key.of(section), json(value))).collect()
    }

    /// Each key with its section and its value, in the order they are printed.
    fn flat(&self) -> Vec<(&'static str, &'static Key, Value)> {
        let keys = SECTIONS.iter().flat_map(|s| s.keys.iter().map(move |k| (s.name, k)));
        keys.zip(self.values()).map(|((section, key), value)| (section, key, value)).collect()
    }
}

impl Method {
    /// The objective that the method's preset gives.
    pub fn objective(self) -> Objective {
        let layer = Config::one_key(self.name(), "objective", "method", self.name());
        let config = Config::resolve(&[layer]).expect("a preset is valid");
        config.objective.clone()
    }
}

/// The method that a layer names.
fn method_of(layer: &Table) -> Result<Option<Method>> {
    let Some(value) = layer.get("objective").and_then(|o| o.get("method")) else {
        return Ok(None);
    };
    Method::read("method", value).map(Some).map_err(|_| {
        Error::input(format!("objective.method = {value} is not a known method"))
            .next(format!("one of: {}", Method::names().join(", ")))
    })
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
                    .flat_map(|s| s.keys.iter().map(move |k| k.of(s.name)))
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
        // What 0 stands for is put in.
        let second = Objective { temperature: 1.0, soft_limit: 44, ..Method::Grpo.objective() };
        assert_eq!(config.objective_at(6), second);
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
        let official = resolve("[objective]\nmethod = \"srft-official\"").unwrap();
        let official = official.with(|settings| settings.optimizer.lr = 0.5).unwrap();
        let printed = Config::layer(&official.to_annotated_toml(), "run/config.toml").unwrap();
        let gate = Config::setting("objective.sft_gate=reward").unwrap();
        let grpo = Config::setting("objective.method=grpo").unwrap();
        let config = Config::resolve(&[printed, gate, grpo]).unwrap();
        let expected = resolve("[objective]\nmethod = \"grpo\"\nsft_gate = \"reward\"").unwrap();
        let expected = expected.with(|settings| settings.optimizer.lr = 0.5).unwrap();
        assert_eq!((official.train.minibatches, config.train.minibatches), (2, 1));
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
            (
                "[objective]\nmethod = \"sft\"\nentropy_coeff = 0.01",
                "objective.entropy_coeff must be 0 unless objective.self_term is on",
            ),
            (
                "[objective]\nprefix_share = -0.1",
                "objective.prefix_share must be a share in [0, 1]",
            ),
            ("[objective]\nprefix_end = 1.5", "objective.prefix_end must be a share in [0, 1]"),
            (
                "[objective]\nprefix = \"share\"\nprefix_share = 0.5\nprefix_end = 0.6",
                "objective.prefix_end must be at most objective.prefix_share",
            ),
            (
                "[objective]\nprefix = \"share\"\nprefix_rollouts = 9",
                "objective.prefix_rollouts must be 0 (all), or at most",
            ),
            (
                "[objective]\nmethod = \"bread\"\nprefix_rollouts = 1",
                "objective.prefix another than success",
            ),
            (
                "[objective]\nmethod = \"sft\"\nprefix = \"share\"",
                "objective.prefix must be none unless a term on rollouts",
            ),
            ("[objective]\nprefix_learned = 0.2", "objective.prefix_learned must be 0 unless"),
            ("[objective]\nsft_over = \"prefix\"", "objective.sft_over must be demonstration"),
            ("[rollout]\nprompts = 1000000", "rollout.prompts must be"),
            ("[optimizer]\nlr = -1", "optimizer.lr must be positive"),
            ("[objective]\nmethod = \"ppo\"", "one of: srft"),
            ("a = ]", "c.toml:1"),
            ("[rollout]\ntemperature = 0", "rollout.temperature"),
            (
                "[rollout]\nstop = [\"a\", \"\"]",
                "rollout.stop must be a list without an empty text",
            ),
            ("[rollout]\nstop = 5", "expected a list of texts, like [\"one\", \"another\"]"),
            ("[data]\neval = [1]", "data.eval = [1] is not a list of texts"),
        ] {
            let message = resolve(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text:?} gave: {message}");
        }
    }
}
