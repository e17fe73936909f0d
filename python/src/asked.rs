//! What a trainer is made from: settings, examples, suites, a reward.

use crate::environment::{Environments, entries, is_environment};
use crate::error::{OrRaise, input};
use crate::example::{Example, Extras, written_out};
use crate::gym::InProcess;
use crate::reward::{Function, verifier_named};
use pyo3::prelude::*;
use pyo3::types::{PyMapping, PyString};
use srft::config::{Config, NamedReward, RewardBy};
use srft::run::{GIVEN, Given, Program};
use srft_hub::{Hub, Unwatched, fetched};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The name of the examples that a trainer is given.
const TRAIN: &str = "train";

/// Reads what a config names; tasks are made by the interpreter that runs.
static READS: Program = Program { tasks: &InProcess };

/// What a trainer is asked for.
pub struct Asked {
    /// Every setting.
    pub config: Config,
    /// Examples and judge.
    pub given: Given,
    /// The functions that reward.
    pub functions: Vec<Arc<Function>>,
    /// The environments that judge.
    pub environments: Option<Arc<Environments>>,
    /// The examples' own dicts.
    pub extras: Arc<Extras>,
}

/// What a caller brings besides settings.
#[derive(Default)]
pub struct Brought<'a, 'py> {
    /// Problems to train on.
    pub examples: Option<Vec<Py<Example>>>,
    /// The same, and their judge.
    pub environment: Option<&'a Bound<'py, PyAny>>,
    /// Examples to evaluate on, or environments, by name.
    pub suites: Option<&'a Bound<'py, PyAny>>,
    /// Judges the answer: a function, or a verifier's name.
    pub reward: Option<&'a Bound<'py, PyAny>>,
    /// Others by their names: functions, or pairs of a weight and a function.
    pub rewards: Option<&'a Bound<'py, PyAny>>,
}

impl Asked {
    /// `layers` hold what stands below the settings that come with what is given.
    pub fn read(
        py: Python<'_>,
        mut layers: Vec<(String, toml::Table)>,
        brought: Brought<'_, '_>,
    ) -> PyResult<Self> {
        let Brought { examples, environment, suites, reward, rewards } = brought;
        let mut lists: Vec<(String, Vec<Py<Example>>)> = Vec::new();
        let mut environments = BTreeMap::new();
        let mut settings = Vec::new();
        let named = reward.and_then(|reward| reward.cast::<PyString>().ok());
        if let Some(environment) = environment {
            if examples.is_some() {
                return Err(input("examples= and environment= are given", "leave one out"));
            }
            lists.push((TRAIN.into(), entries(environment, "environment")?));
            environments.insert(TRAIN.into(), environment.clone().unbind());
        } else if let Some(examples) = examples {
            lists.push((TRAIN.into(), examples));
        } else if named.is_some() {
            let what = "a verifier's name, but no examples";
            return Err(input(what, "give examples=; the built-in task has its own verifier"));
        }
        if !lists.is_empty() {
            settings.push(format!("data.train=[\"{GIVEN}{TRAIN}\"]"));
        }
        let mut names = Vec::new();
        for (name, given) in suites.map(named_lists).transpose()?.unwrap_or_default() {
            let list = match is_environment(&given)? {
                true => {
                    environments.insert(name.clone(), given.clone().unbind());
                    entries(&given, &format!("the suite {name:?}"))?
                }
                false => given.extract()?,
            };
            names.push(format!("{GIVEN}{name}"));
            lists.push((name, list));
        }
        if !names.is_empty() {
            settings.push(format!("data.eval={}", toml::Value::from(names)));
        }
        // A reward of the caller's takes the place of the environments' own scores.
        let judged = !environments.is_empty() && reward.is_none();
        if judged && environments.len() < lists.len() {
            let next = "give environments alone, or a reward= that judges both";
            return Err(input("environments beside lists of examples", next));
        }
        match (named, reward) {
            (Some(name), _) => {
                settings.push(format!("data.verifier={:?}", verifier_named(name)?.name()));
            }
            (None, Some(_)) => settings.push("data.verifier=\"given\"".into()),
            (None, None) if judged => settings.push("data.verifier=\"given\"".into()),
            (None, None) => {}
        }
        for setting in &settings {
            layers.push(Config::setting(setting).or_raise()?);
        }
        let config = Config::resolve(&layers).or_raise()?;
        let others = rewards.map(named_functions).transpose()?.unwrap_or_default();
        let theirs: Vec<NamedReward> = others
            .iter()
            .map(|(name, weight, _)| NamedReward::given(name, *weight).or_raise())
            .collect::<PyResult<_>>()?;
        // A run that is taken up names its rewards already.
        let config = config
            .with(|settings| {
                if !theirs.is_empty() {
                    settings.reward.named.retain(|r| r.by != RewardBy::Given);
                    settings.reward.named.extend(theirs);
                }
            })
            .or_raise()?;
        let hub = Hub::from_env(false, Box::new(Unwatched));
        let config = py.detach(|| fetched(&config, &hub)).or_raise()?;
        // A reward command reads what the examples carry; a function is given it as it is.
        let is_written = !config.reward_commands().is_empty();
        let (mut given, mut extras) = (Given::of(&READS), Extras::default());
        for (name, list) in lists {
            let row = |(index, example): (usize, &Py<Example>)| match is_written {
                false => Ok(extras.keep(py, example.get())),
                true => written_out(py, example.get(), &format!("{name}[{index}].extra")),
            };
            let rows = list.iter().enumerate().map(row).collect::<PyResult<Vec<_>>>()?;
            given.examples.insert(name, rows);
        }
        let extras = Arc::new(extras);
        let reward = match reward.filter(|_| named.is_none()) {
            Some(reward) => Some(Function::new(reward, extras.clone())?),
            None => None,
        };
        given.judge = reward.clone().map(|function| function as _);
        let marker = &config.data.answer_after;
        let environments = judged.then(|| Environments::new(environments, marker, extras.clone()));
        if let Some(environments) = &environments {
            given.judge = Some(environments.clone());
        }
        let mut functions: Vec<Arc<Function>> = reward.into_iter().collect();
        for (name, _, function) in others {
            let function = Function::new(&function, extras.clone())?;
            functions.push(function.clone());
            given.rewards.insert(name, function);
        }
        Ok(Self { config, given, functions, environments, extras })
    }
}

/// Rewards by their names, each with its weight.
fn named_functions<'py>(
    rewards: &Bound<'py, PyAny>,
) -> PyResult<Vec<(String, f64, Bound<'py, PyAny>)>> {
    let mut named = Vec::new();
    for pair in rewards.cast::<PyMapping>()?.items()? {
        let (name, reward): (String, Bound<'py, PyAny>) = pair.extract()?;
        let (weight, function) = match reward.is_callable() {
            true => (1.0, reward),
            false => reward.extract().map_err(|_| {
                let what = format!("the reward {name:?} is {reward}");
                input(what, "give a function, or a pair of a weight and a function")
            })?,
        };
        named.push((name, weight, function));
    }
    Ok(named)
}

/// The suites by their names.
fn named_lists<'py>(suites: &Bound<'py, PyAny>) -> PyResult<Vec<(String, Bound<'py, PyAny>)>> {
    let mut lists = Vec::new();
    for pair in suites.cast::<PyMapping>()?.items()? {
        let (name, list): (String, Bound<'py, PyAny>) = pair.extract()?;
        let is_plain = !name.contains(['/', '\\']) && name.trim() == name && !name.is_empty();
        if !is_plain || name == TRAIN {
            let next = format!("use letters and digits, and not {TRAIN:?}");
            return Err(input(format!("a suite is called {name:?}"), &next));
        }
        lists.push((name, list));
    }
    Ok(lists)
}
