//! Training from Python: the core's run, a step at a time.

mod steps;

use crate::asked::{Asked, Brought};
use crate::callbacks::Callbacks;
use crate::convert::{layers, to_python};
use crate::device::open;
use crate::drive::drive;
use crate::environment::Environments;
use crate::error::OrRaise;
use crate::example::{Example, Extras};
use crate::group::Group;
use crate::model::Model;
use crate::reward::Function;
use crate::shown::{Shown, Watcher};
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};
use srft::error::Error;
use srft::metrics::StepReport;
use srft::records;
use srft::run::{OnFile, Run, RunFolder};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// A run: a model, its optimiser, its problems, and a folder that keeps what happened.
///
///     trainer = srft.Trainer({"objective.method": "srft", "train.steps": 50})
///     for report in trainer:          # or tqdm(trainer)
///         print(report["step"], report["reward"], report["entropy"])
///     print(trainer.evaluate())
///
/// `config` is a dict of settings (`"section.key"`, as `srft config` prints them), or the path of a
/// TOML file; None keeps a default. `out` is the run's folder, which `srft report` and
/// `srft train --resume` read too; with None it is a temporary one that goes with the trainer. A run that is
/// there already is an error, unless `overwrite`: then it is removed, and nothing else in the folder is.
///
/// `environment` is data and judge in one: an object with a length and entries `{"question": …, "answer": …, …}` by their
/// number (or an iterator over them), and `score_answer(answer, entry) -> score in [0, 1]`, such as
/// `reasoning_gym.create_dataset("chain_sum")`. Questions are users' messages where the model has a chat template; the answer
/// is what follows `data.answer_after`, or is in the last `<answer>…</answer>`, or else the whole response. What the
/// scorer raises, and what is no such number, is counted as `unscored`. Nothing in this process can end a scorer that
/// hangs but an interrupt. An environment has no demonstrations: take a method without, such as grpo. In `suites`
/// environments may stand, too.
///
/// `examples`, a list of `Example`s, take the built-in task's place; `suites`, a dict of lists by name,
/// are evaluated on (else a tenth of the examples). `reward` is a function `(example, response) ->
/// score in [0, 1]`, which judges rollouts, demonstrations and evaluation, or the name of a verifier; a half
/// or more is right, None leaves the response out. A response that `rollout.max_new_tokens` cut (44 by
/// default, 512 with a model of yours) is wrong, and the function is not asked. What it raises ends the step
/// before the update, and comes out of `step()`. `rewards` are more such functions by name, each alone or as a
/// pair `(weight, function)`: the reward is the weighted mean of all, the answer's weight being
/// `reward.answer_weight`; a negative weight rewards 1 - score. `report["rewards"]` has their means.
///
/// An interrupt (Ctrl-C, Jupyter's stop button) is raised within two seconds. A step that can end in that
/// time is whole; a longer one is dropped, and done again, with the same numbers, when iterating goes on.
/// The interpreter is free for other threads while a step computes; they, and a reward function, can read
/// everything but `model`.
#[pyclass(frozen, weakref, module = "srft")]
pub struct Trainer {
    state: Mutex<State>,
    shown: Mutex<Shown>,
    functions: Vec<Arc<Function>>,
    environments: Option<Arc<Environments>>,
    extras: Arc<Extras>,
}

/// What a step changes.
struct State {
    run: Run,
    /// The report of a step that is done, where an interrupt came before it was given.
    kept: Option<StepReport>,
    has_warned: bool,
    adapter: String,
    /// The folder, where nobody asked for one.
    _temporary: Option<TempDir>,
}

#[pymethods]
impl Trainer {
    #[new]
    #[pyo3(signature = (
        config = None, *, out = None, examples = None, environment = None, suites = None, reward = None,
        rewards = None, overwrite = false
    ))]
    #[expect(clippy::too_many_arguments, reason = "Python names them")]
    fn new(
        py: Python<'_>,
        config: Option<&Bound<'_, PyAny>>,
        out: Option<PathBuf>,
        examples: Option<Vec<Py<Example>>>,
        environment: Option<&Bound<'_, PyAny>>,
        suites: Option<&Bound<'_, PyAny>>,
        reward: Option<&Bound<'_, PyAny>>,
        rewards: Option<&Bound<'_, PyAny>>,
        overwrite: bool,
    ) -> PyResult<Self> {
        let brought = Brought { examples, environment, suites, reward, rewards };
        let Asked { config, given, functions, environments, extras } =
            Asked::read(py, layers(config)?, brought)?;
        let made = py.detach(|| {
            let temporary = match out {
                Some(_) => None,
                None => Some(tempfile::tempdir().map_err(|e| {
                    Error::machine(format!("no temporary folder: {e}")).next("give one with out=")
                })?),
            };
            let path = temporary.as_ref().map(|folder| folder.path().join("run")).or(out);
            let (path, selected) =
                (path.unwrap_or_default(), open(&config.run.device, config.run.precision)?);
            if overwrite {
                RunFolder::remove(&path)?;
            }
            let run = Run::create_with(config, &given, &selected, &path)?;
            Self::of((run, selected.name, temporary), (functions, environments), extras)
        });
        py.check_signals()?;
        made.or_raise()
    }

    /// Takes up the run in a folder at its latest checkpoint, bit for bit on the same adapter; `config`
    /// changes some of its settings, those on which no number of a run depends. Examples, suites and a
    /// reward function that it began with must be given again; other examples, or files that changed since,
    /// are an error unless `accept_changes`.
    #[staticmethod]
    #[pyo3(signature = (
        out, config = None, *, examples = None, environment = None, suites = None, reward = None,
        rewards = None, accept_changes = false
    ))]
    #[expect(clippy::too_many_arguments, reason = "Python names them")]
    fn resume(
        py: Python<'_>,
        out: PathBuf,
        config: Option<&Bound<'_, PyAny>>,
        examples: Option<Vec<Py<Example>>>,
        environment: Option<&Bound<'_, PyAny>>,
        suites: Option<&Bound<'_, PyAny>>,
        reward: Option<&Bound<'_, PyAny>>,
        rewards: Option<&Bound<'_, PyAny>>,
        accept_changes: bool,
    ) -> PyResult<Self> {
        let mut all = vec![OnFile::of(&out).config_layer().or_raise()?];
        all.extend(layers(config)?);
        let brought = Brought { examples, environment, suites, reward, rewards };
        let Asked { config, given, functions, environments, extras } =
            Asked::read(py, all, brought)?;
        let resumed = py.detach(|| {
            let selected = open(&config.run.device, config.run.precision)?;
            let run = Run::resume_with(config, &given, accept_changes, &selected, &out)?;
            Self::of((run, selected.name, None), (functions, environments), extras)
        });
        py.check_signals()?;
        resumed.or_raise()
    }

    /// One step of the algorithm: rollouts, rewards, advantages, loss, update. Returns its report, a
    /// dict of the metrics that docs/metrics.md defines. What the config says is due after it
    /// (evaluation, checkpoint, samples) is done as well. Where an interrupt or an error came after the
    /// update, the next call does what is left of that step, and returns its report.
    fn step<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.stepped(py)?)
    }

    /// Trains to the end, as `srft train` does: evaluates the base, does all steps that are left, and what `finish()`
    /// does. Returns the summary.
    ///
    /// `callbacks` are told of it, one or a list. A function is called as `(values, step)` after every step and
    /// evaluation, with a flat dict of numbers such as "reward/accuracy" and "eval/SUITE/accuracy": `wandb.log` and the like
    /// are such functions. An object has any of these methods: `begin(config)`, `step(report)`, `evaluation(step, scores)`,
    /// `log(values, step)`, `end(summary)`, where the summary is None if the run ends too early. `srft.track` makes
    /// objects that feed trackio, W&B and MLflow.
    ///
    /// What ends the run too early, an interrupt or an error of a callback's, a reward's or the machine's, leaves it
    /// saved, and is raised: calling `run()` again goes on.
    #[pyo3(signature = (callbacks = None))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        callbacks: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let callbacks = Callbacks::of(callbacks)?;
        let done = self.run_to_end(py, &callbacks);
        if done.is_err() {
            // What failed is the news; if this fails too, the last checkpoint is there.
            let _ = self.save(py, None, false);
        }
        callbacks.end(done.as_ref().ok())?;
        done
    }

    /// Scores the present policy on the suites: a list of dicts with "suite", "ood" (out of
    /// distribution), "n" problems, "accuracy" (avg@k) and "pass" (pass@k), each with its 95% interval
    /// (Wilson's), "interval" and "pass_interval". The run's folder keeps it, and the best policy so far.
    fn evaluate<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let scores = self.with(py, |state| drive(state.run.scores(&mut Watcher(&self.shown))))?;
        to_python(py, &scores)
    }

    /// Writes a checkpoint to go on from into the run's folder, or with a path the model alone, as
    /// `Model.load` reads it, by the rules of `Model.save`. Returns the path.
    #[pyo3(signature = (path = None, *, overwrite = false))]
    fn save(&self, py: Python<'_>, path: Option<PathBuf>, overwrite: bool) -> PyResult<PathBuf> {
        self.with(py, |state| match path {
            None => drive(state.run.save(&mut Watcher(&self.shown))),
            Some(path) => {
                let storage = state.run.config().checkpoint.dtype;
                let model = &state.run.trainer().learner.policy;
                drive(state.run.base().export(&path, model, storage, overwrite))?;
                Ok(path)
            }
        })
    }

    /// The last evaluation, a checkpoint, and `summary.json`; returns the summary as a dict.
    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let summary = self.with(py, |state| drive(state.run.finish(&mut Watcher(&self.shown))))?;
        to_python(py, &summary)
    }

    /// The reports of all steps so far.
    #[getter]
    fn reports<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.shown(|shown| shown.reports.clone()))
    }

    /// All evaluations so far: a list of dicts, one per suite and evaluation, with the "step" after which it
    /// was made (0 is the base) and what `evaluate()` gives.
    #[getter]
    fn evaluations<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.shown(Shown::evaluations))
    }

    /// What the last step trained on: a list of `Group`s; empty before the first.
    #[getter]
    fn groups(&self, py: Python<'_>) -> PyResult<Vec<Group>> {
        let (groups, vocabulary) = self.shown(|shown| (shown.groups.clone(), shown.vocabulary));
        let group = |group: &records::Group| Group::of(py, group.clone(), &self.extras, vocabulary);
        groups.iter().map(group).collect()
    }

    /// The policy as it is now.
    #[getter]
    fn model(&self, py: Python<'_>) -> PyResult<Model> {
        self.with(py, |state| {
            let (base, trainer) = (state.run.base().clone(), state.run.trainer());
            let (policy, tokenizer) =
                (trainer.learner.policy.clone(), trainer.learner.tokenizer.clone());
            Ok(Model::of(base, policy, tokenizer, state.adapter.clone()))
        })
    }

    /// Every setting, by "section.key".
    #[getter]
    fn config<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.shown(|shown| shown.config.to_json()))
    }

    /// What there is to say of its data and its model: a list of sentences, such as how many examples were
    /// dropped.
    #[getter]
    fn notes(&self) -> Vec<String> {
        self.shown(|shown| shown.notes.clone())
    }

    /// The run's folder.
    #[getter]
    fn out(&self) -> PathBuf {
        self.shown(|shown| shown.out.clone())
    }

    /// Updates done.
    #[getter]
    fn steps_done(&self) -> u32 {
        self.shown(|shown| shown.step())
    }

    /// Steps that are left of train.steps.
    fn __len__(&self) -> usize {
        self.shown(Shown::left)
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.is_done(py)? {
            true => Ok(None),
            false => self.step(py).map(Some),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> std::result::Result<(), PyTraverseError> {
        self.extras.traverse(&visit)?;
        self.environments.iter().try_for_each(|environments| environments.traverse(&visit))?;
        self.functions.iter().try_for_each(|function| function.traverse(&visit))
    }

    fn __clear__(&self) {
        self.environments.iter().for_each(|environments| environments.clear());
        for function in &self.functions {
            function.clear();
        }
    }

    fn __repr__(&self) -> String {
        self.shown(|shown| {
            let (method, steps) = (shown.config.objective.method.name(), shown.config.train.steps);
            format!("Trainer({method}, {} of {steps} steps)", shown.step())
        })
    }
}
