//! Training from Python: the core's run, a step at a time.

use crate::convert::{layers, to_python};
use crate::device::open;
use crate::error::{OrRaise, input};
use crate::example::Example;
use crate::group::Group;
use crate::model::Model;
use crate::reward::Function;
use pollster::block_on;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit};
use srft::config::Config;
use srft::error::{Error, Result};
use srft::eval::Score;
use srft::metrics::StepReport;
use srft::records;
use srft::run::{GIVEN, Given, Observer, Run, RunFolder};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, TryLockError};
use tempfile::TempDir;

/// A run: a model, its optimiser, its problems, and a folder that keeps what happened.
///
///     trainer = srft.Trainer({"objective.method": "srft", "train.steps": 50})
///     for report in trainer:          # or tqdm(trainer)
///         print(report["step"], report["reward"], report["entropy"])
///     print(trainer.evaluate())
///
/// `config` is a dict of settings (`"section.key"`, as `srft config` prints them), or the path of a
/// TOML file. `out` is the run's folder, which `srft report` and `srft train --resume` read too; with
/// None it is a temporary one that goes with the trainer.
///
/// `examples`, a list of `Example`s, take the built-in task's place; `suites`, a dict of lists by name,
/// are evaluated on (else a tenth of the examples). `reward` is a function `(example, response) ->
/// score in [0, 1]`, which judges training and evaluation; a half or more is right, None leaves the
/// rollout out. What it raises ends the step before the update, and comes out of `step()`.
///
/// An interrupt (Ctrl-C, Jupyter's stop button) comes between steps: the last one is whole, and
/// iterating again goes on. The interpreter is free for other threads while a step computes.
#[pyclass(frozen, module = "srft")]
pub struct Trainer {
    state: Mutex<State>,
    reward: Option<Arc<Function>>,
}

/// What a step changes.
struct State {
    run: Run,
    /// What the last step trained on.
    groups: Vec<records::Group>,
    adapter: String,
    /// The folder, where nobody asked for one.
    _temporary: Option<TempDir>,
}

/// Keeps what the run tells.
#[derive(Default)]
struct Latest(Option<StepReport>);

impl Observer for Latest {
    fn evaluated(&mut self, _step: u32, _scores: &[Score]) {}

    fn stepped(&mut self, report: &StepReport, _of: u32) {
        self.0 = Some(report.clone());
    }

    fn saved(&mut self, _path: &Path) {}
}

/// The name of the examples that a trainer is given.
const TRAIN: &str = "train";

/// What Python gives a run, and the settings that say so.
fn given(
    examples: Option<Vec<Py<Example>>>,
    suites: Option<&Bound<'_, PyDict>>,
    reward: Option<&Arc<Function>>,
) -> PyResult<(Given, Vec<String>)> {
    let records = |list: Vec<Py<Example>>| list.iter().map(|e| e.get().0.clone()).collect();
    let (mut given, mut settings) = (Given::default(), Vec::new());
    if let Some(examples) = examples {
        settings.push(format!("data.train=[\"{GIVEN}{TRAIN}\"]"));
        given.examples.insert(TRAIN.into(), records(examples));
    }
    let mut names = Vec::new();
    for (name, list) in suites.into_iter().flatten() {
        let name: String = name.extract()?;
        let is_plain = !name.contains(['/', '\\']) && name.trim() == name && !name.is_empty();
        if !is_plain || name == TRAIN {
            let next = format!("use letters and digits, and not {TRAIN:?}");
            return Err(input(format!("a suite is called {name:?}"), &next));
        }
        names.push(format!("{GIVEN}{name}"));
        given.examples.insert(name, records(list.extract()?));
    }
    if !names.is_empty() {
        settings.push(format!("data.eval={}", toml::Value::from(names)));
    }
    if let Some(reward) = reward {
        settings.push("data.verifier=\"given\"".into());
        given.judge = Some(reward.clone());
    }
    Ok((given, settings))
}

/// What a trainer is asked for.
struct Asked {
    config: Config,
    given: Given,
    reward: Option<Arc<Function>>,
}

impl Asked {
    /// `layers` hold what stands below the settings that come with what is given.
    fn read(
        mut layers: Vec<(String, toml::Table)>,
        examples: Option<Vec<Py<Example>>>,
        suites: Option<&Bound<'_, PyDict>>,
        reward: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let reward = reward.map(Function::new).transpose()?;
        let (given, settings) = given(examples, suites, reward.as_ref())?;
        for setting in &settings {
            layers.push(Config::setting(setting).or_raise()?);
        }
        Ok(Self { config: Config::resolve(&layers).or_raise()?, given, reward })
    }
}

impl Trainer {
    /// Works on the run with the interpreter let go; nobody waits for a step of another thread.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut State) -> Result<T> + Send,
    ) -> PyResult<T> {
        py.detach(|| match self.state.try_lock() {
            Ok(mut state) => {
                let done = work(&mut state);
                // What the reward function raised is the reason for whatever else went wrong.
                match self.reward.as_ref().and_then(|function| function.raised()) {
                    Some(raised) => Err(raised),
                    None => done.or_raise(),
                }
            }
            Err(TryLockError::WouldBlock) => {
                Err(input("the trainer is in a step", "wait; its reward function cannot use it"))
            }
            Err(TryLockError::Poisoned(_)) => {
                Err(Error::machine("a step of this trainer broke off")
                    .next("make a new one; Trainer.resume takes up its last checkpoint"))
                .or_raise()
            }
        })
    }

    fn of(
        (run, adapter, temporary): (Run, String, Option<TempDir>),
        reward: Option<Arc<Function>>,
    ) -> Self {
        let state = State { run, groups: Vec::new(), adapter, _temporary: temporary };
        Self { state: Mutex::new(state), reward }
    }
}

#[pymethods]
impl Trainer {
    #[new]
    #[pyo3(signature = (config = None, *, out = None, examples = None, suites = None, reward = None))]
    fn new(
        py: Python<'_>,
        config: Option<&Bound<'_, PyAny>>,
        out: Option<PathBuf>,
        examples: Option<Vec<Py<Example>>>,
        suites: Option<&Bound<'_, PyDict>>,
        reward: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let Asked { config, given, reward } =
            Asked::read(layers(config)?, examples, suites, reward)?;
        let made = py.detach(|| {
            let temporary = match out {
                Some(_) => None,
                None => Some(tempfile::tempdir().map_err(|e| {
                    Error::machine(format!("no temporary folder: {e}")).next("give one with out=")
                })?),
            };
            let path = temporary.as_ref().map(|folder| folder.path().join("run")).or(out);
            let selected = open(&config.run.device)?;
            let run = Run::create_with(config, &given, &selected, &path.unwrap_or_default())?;
            Ok((run, selected.name, temporary))
        });
        Ok(Self::of(made.or_raise()?, reward))
    }

    /// Takes up the run in a folder at its latest checkpoint, bit for bit on the same adapter; `config`
    /// lays settings over its own, as far as a resumed run allows. Examples, suites and a reward
    /// function that it began with must be given again; other examples, or files that changed since, are
    /// an error unless `accept_changes`.
    #[staticmethod]
    #[pyo3(signature = (
        out, config = None, *, examples = None, suites = None, reward = None, accept_changes = false
    ))]
    fn resume(
        py: Python<'_>,
        out: PathBuf,
        config: Option<&Bound<'_, PyAny>>,
        examples: Option<Vec<Py<Example>>>,
        suites: Option<&Bound<'_, PyDict>>,
        reward: Option<&Bound<'_, PyAny>>,
        accept_changes: bool,
    ) -> PyResult<Self> {
        let mut all = vec![RunFolder::config_layer(&out).or_raise()?];
        all.extend(layers(config)?);
        let Asked { config, given, reward } = Asked::read(all, examples, suites, reward)?;
        let resumed = py.detach(|| {
            let selected = open(&config.run.device)?;
            let run = Run::resume_with(config, &given, accept_changes, &selected, &out)?;
            Ok((run, selected.name, None))
        });
        Ok(Self::of(resumed.or_raise()?, reward))
    }

    /// One step of the algorithm: rollouts, rewards, advantages, loss, update. Returns its report, a
    /// dict of the metrics that docs/metrics.md defines. What the config says is due after it
    /// (evaluation, checkpoint, samples) is done as well.
    fn step<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        // An interrupt that waits is raised before a step, not after one whose report it would lose.
        py.check_signals()?;
        let report = self.with(py, |state| {
            let steps = state.run.config().train.steps;
            if state.run.step() >= steps {
                return Err(Error::input(format!("all {steps} steps are done"))
                    .next("make a trainer with more train.steps"));
            }
            let mut latest = Latest::default();
            (_, state.groups) = block_on(state.run.advance(&mut latest))?;
            Ok(latest.0)
        })?;
        to_python(py, &report)
    }

    /// Scores the present policy on the suites: a list of dicts with "suite", "ood" (out of
    /// distribution), "n" problems, "accuracy" (avg@k) and "pass" (pass@k) with 95% margins. The run's
    /// folder keeps it, and the best policy so far.
    fn evaluate<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let scores = self.with(py, |state| block_on(state.run.scores(&mut Latest::default())))?;
        to_python(py, &scores)
    }

    /// Writes a checkpoint to go on from into the run's folder, or with a path the model alone, as
    /// `Model.load` reads it, by the rules of `Model.save`. Returns the path.
    #[pyo3(signature = (path = None, *, overwrite = false))]
    fn save(&self, py: Python<'_>, path: Option<PathBuf>, overwrite: bool) -> PyResult<PathBuf> {
        self.with(py, |state| match path {
            None => block_on(state.run.save(&mut Latest::default())),
            Some(path) => {
                let storage = state.run.config().checkpoint.dtype;
                let model = &state.run.trainer().model;
                block_on(state.run.base().export(&path, model, storage, overwrite))?;
                Ok(path)
            }
        })
    }

    /// The last evaluation, a checkpoint, and `summary.json`; returns the summary as a dict.
    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let summary = self.with(py, |state| block_on(state.run.finish(&mut Latest::default())))?;
        to_python(py, &summary)
    }

    /// The reports of all steps so far.
    #[getter]
    fn reports<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.with(py, |state| state.run.reports())?)
    }

    /// What the last step trained on: a list of `Group`s; empty before the first.
    #[getter]
    fn groups(&self, py: Python<'_>) -> PyResult<Vec<Group>> {
        let groups = self.with(py, |state| Ok(state.groups.clone()))?;
        groups.into_iter().map(|group| Group::of(py, group)).collect()
    }

    /// The policy as it is now.
    #[getter]
    fn model(&self, py: Python<'_>) -> PyResult<Model> {
        self.with(py, |state| {
            let trainer = state.run.trainer();
            Ok(Model {
                folder: Arc::new(state.run.base().clone()),
                policy: trainer.model.clone(),
                tokenizer: trainer.tokenizer.clone(),
                adapter: state.adapter.clone(),
            })
        })
    }

    /// Every setting, by "section.key".
    #[getter]
    fn config<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.with(py, |state| Ok(state.run.config().to_json()))?)
    }

    /// The run's folder.
    #[getter]
    fn out(&self, py: Python<'_>) -> PyResult<PathBuf> {
        self.with(py, |state| Ok(state.run.path().to_path_buf()))
    }

    /// Updates done.
    #[getter]
    fn steps_done(&self, py: Python<'_>) -> PyResult<u32> {
        self.with(py, |state| Ok(state.run.step()))
    }

    /// Steps that are left of train.steps.
    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.with(py, |state| Ok((state.run.config().train.steps - state.run.step()) as usize))
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.with(py, |state| Ok(state.run.is_done()))? {
            true => Ok(None),
            false => self.step(py).map(Some),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> std::result::Result<(), PyTraverseError> {
        self.reward.as_ref().map_or(Ok(()), |function| function.traverse(&visit))
    }

    fn __clear__(&self) {
        if let Some(function) = &self.reward {
            function.clear();
        }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |state| {
            let config = state.run.config();
            let (method, steps) = (config.objective.method.name(), config.train.steps);
            Ok(format!("Trainer({method}, {} of {steps} steps)", state.run.step()))
        })
    }
}
