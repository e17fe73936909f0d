//! Rewards: the core's verifiers, or a function of Python's.

use crate::episode::Episode;
use crate::error::{OrRaise, exception, input};
use crate::example::{Examples, Extras};
use numpy::PyArray1;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyString;
use pyo3::{PyTraverseError, PyVisit};
use srft::config::{Comparison, MathForm, RewardValues, Rewarded};
use srft::data::builtin;
use srft::error::Error;
use srft::records;
use srft::reward::{Grader, Part, Scores, Submission, Verifier};
use std::fmt;
use std::sync::{Arc, Mutex};

/// A reward function: `(example, response) -> float in [0, 1]`.
///
/// What it raises ends the step before the update; the exception waits here to be raised in the caller.
pub struct Function {
    /// None once Python's collector found it in a cycle of its own.
    function: Mutex<Option<Py<PyAny>>>,
    raised: Mutex<Option<PyErr>>,
    /// Of the examples that it is asked about.
    extras: Arc<Extras>,
}

impl Function {
    /// Wraps a callable.
    pub fn new(function: &Bound<'_, PyAny>, extras: Arc<Extras>) -> PyResult<Arc<Self>> {
        if !function.is_callable() {
            return Err(PyTypeError::new_err(format!(
                "reward is a {}, expected a function (example, response) -> a score from 0 to 1",
                function.get_type()
            )));
        }
        let function = Mutex::new(Some(function.clone().unbind()));
        Ok(Arc::new(Self { function, raised: Mutex::new(None), extras }))
    }

    /// What it raised, once.
    pub fn raised(&self) -> Option<PyErr> {
        self.raised.lock().ok()?.take()
    }

    /// Shows the callable to Python's collector.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(function) = self.function.try_lock() {
            visit.call(&*function)?; // else it is in use, so alive
        }
        self.extras.traverse(visit)
    }

    /// Lets go of the callable.
    pub fn clear(&self) {
        if let Ok(mut function) = self.function.lock() {
            function.take();
        }
    }

    fn callable(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let function = self.function.lock().ok();
        let callable = function.and_then(|f| f.as_ref().map(|f| f.clone_ref(py)));
        callable.ok_or_else(|| PyRuntimeError::new_err("the reward function is gone"))
    }

    fn score(&self, py: Python<'_>, submission: &Submission<'_>) -> PyResult<Option<f64>> {
        let example = self.extras.example(py, submission.example)?;
        let score = self.callable(py)?.bind(py).call1((example, submission.response))?;
        if score.is_none() {
            return Ok(None);
        }
        let value: f64 = score.extract().map_err(|_| {
            let got = score.get_type();
            PyTypeError::new_err(format!("the reward function gave a {got}, expected a number"))
        })?;
        match (0.0..=1.0).contains(&value) {
            true => Ok(Some(value)),
            false => Err(PyValueError::new_err(format!(
                "the reward function gave {value} for {:?}, expected 0 to 1",
                submission.response
            ))),
        }
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a reward function in Python")
    }
}

impl Part for Function {
    fn name(&self) -> &'static str {
        "the reward function"
    }

    fn scores(&self, submissions: &[Submission]) -> Result<Scores, Error> {
        Python::attach(|py| {
            let mut scores = Vec::with_capacity(submissions.len());
            for submission in submissions {
                // A response that was cut off is wrong, whatever it says.
                let score = match submission.finished {
                    true => self.score(py, submission),
                    false => Ok(Some(0.0)),
                };
                match score {
                    Ok(score) => {
                        scores.push(score.ok_or_else(|| "it gave None, which is no score".into()));
                    }
                    Err(raised) => {
                        let why = Error::machine(raised.to_string());
                        if let Ok(mut slot) = self.raised.lock() {
                            slot.get_or_insert(raised);
                        }
                        return Err(why);
                    }
                }
            }
            Ok(scores)
        })
    }
}

/// Who judges.
pub struct Judge {
    grader: Grader,
    function: Option<Arc<Function>>,
}

/// A verifier by its name.
pub fn verifier_named(name: &Bound<'_, PyString>) -> PyResult<Comparison> {
    let name = name.to_str()?;
    let all = Comparison::ALL.iter().copied();
    // A function takes the place of those that judge elsewhere.
    let own = all.filter(|c| c.is_of_answers());
    own.clone().find(|c| c.name() == name).ok_or_else(|| {
        let names: Vec<&str> = own.map(Comparison::name).collect();
        input(
            format!("no verifier `{name}`"),
            &format!("one of: {}; or a function", names.join(", ")),
        )
    })
}

impl Judge {
    /// The built-in one, a verifier by name, or a function; `extras` are those of what it will judge.
    pub fn of(reward: Option<&Bound<'_, PyAny>>, extras: Extras) -> PyResult<Self> {
        let verifier = match reward.map(|reward| reward.cast::<PyString>()) {
            Some(Ok(name)) => Verifier::new(verifier_named(name)?, None, MathForm::Strict),
            _ => builtin::verifier(),
        };
        let mut grader = Grader::of(verifier, Rewarded::Answer);
        let function = match reward.filter(|reward| !reward.is_instance_of::<PyString>()) {
            Some(reward) => Some(Function::new(reward, Arc::new(extras))?),
            None => None,
        };
        grader.judge = function.clone().map(|function| function as _);
        Ok(Self { grader, function })
    }
}

/// Rewards of (example, response, finished), in the values that training has.
pub fn grades_of(
    py: Python<'_>,
    judge: &Judge,
    responses: &[(&records::Example, &str, bool)],
    values: RewardValues,
) -> PyResult<Vec<f64>> {
    let submissions: Vec<Submission> = responses
        .iter()
        .map(|&(example, response, finished)| Submission { example, response, finished })
        .collect();
    if judge.function.is_none() {
        for Submission { example, .. } in &submissions {
            judge
                .grader
                .check_gold(&example.answer)
                .map_err(|e| exception(e.at(format!("{:?}", example.prompt))))?;
        }
    }
    let grades = py.detach(|| judge.grader.grade(&submissions));
    if let Some(raised) = judge.function.as_ref().and_then(|f| f.raised()) {
        return Err(raised);
    }
    let grades = grades.or_raise()?;
    let reward = |grade: Result<srft::reward::Grade, String>| match grade {
        Ok(grade) => Ok(f64::from(values.at(grade.score))),
        Err(why) => Err(exception(
            Error::input(format!("no reward: {why}"))
                .next("leave that episode out, or give it a score"),
        )),
    };
    grades.into_iter().map(reward).collect()
}

/// Rewards of episodes [number of episodes], float64: +1 where right and -1 where wrong, or with
/// `values="binary"` 1 and 0.
///
/// `examples` are those that the episodes were rolled out from. `reward` is None for the built-in
/// task's verifier (the answer is what follows the one ">"), the name of another (exact, numeric, math,
/// choice, regex), or a function `(example, response) -> score in [0, 1]`, which becomes
/// 2 * score - 1. An episode that the length limit cut is wrong, and a function is not asked.
#[pyfunction]
#[pyo3(signature = (examples, episodes, reward = None, *, values = "signed"))]
pub fn rewards<'py>(
    py: Python<'py>,
    examples: Examples<'py>,
    episodes: Vec<Py<Episode>>,
    reward: Option<Bound<'py, PyAny>>,
    values: &str,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let all = [RewardValues::Signed, RewardValues::Binary];
    let values = all
        .into_iter()
        .find(|v| v.name() == values)
        .ok_or_else(|| input(format!("no values `{values}`"), "signed or binary"))?;
    let mut extras = Extras::default();
    let count = examples.0.len();
    let examples = examples.0.iter().enumerate().map(|(index, example)| {
        let answers = |e: &&Py<Episode>| count == 1 || e.get().prompt == index;
        let asked = episodes.iter().filter(answers).find_map(|e| e.get().asked.as_deref());
        extras.keep_judged(py, example.get(), asked)
    });
    let examples: Vec<_> = examples.collect();
    let judge = Judge::of(reward.as_ref(), extras)?;
    let mut responses = Vec::with_capacity(episodes.len());
    for episode in &episodes {
        let episode = episode.get();
        let example = of_episode(&examples, episode)?;
        responses.push((example, episode.response.as_str(), !episode.truncated));
    }
    Ok(PyArray1::from_vec(py, grades_of(py, &judge, &responses, values)?))
}

/// The example that an episode answers; its `prompt` counts them.
fn of_episode<'a>(
    examples: &'a [records::Example],
    episode: &Episode,
) -> PyResult<&'a records::Example> {
    let (prompt, count) = (episode.prompt, examples.len());
    let fits =
        |e: &&records::Example| episode.asked.as_ref().is_none_or(|asked| *asked == e.prompt);
    // Groups of a step count prompts their own way; one example needs no counting.
    let at = if count == 1 && episode.asked.is_some() { 0 } else { prompt };
    examples.get(at).filter(fits).ok_or_else(|| {
        let asked = episode.asked.as_ref().map_or(String::new(), |asked| format!(", {asked:?}"));
        input(
            format!("an episode answers prompt {prompt} of {count}{asked}"),
            "give the examples that it was rolled out from, all of them in their order",
        )
    })
}
