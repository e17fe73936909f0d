//! Environments: objects of Python's that are data and judge in one, as reasoning-gym's data sets are.

use crate::error::{exception, input};
use crate::example::{Example, Extras};
use crate::gym::{answer_in, described, unless_interrupted};
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use pyo3::{PyTraverseError, PyVisit};
use srft::data::shape::Content;
use srft::error::Error;
use srft::reward::{Part, Scores, Submission};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

/// Most entries of an environment that does not say how many it has.
const MOST: usize = 100_000;

/// What judges an answer to an entry.
pub const SCORE: &str = "score_answer";

/// Whether an object is one, and not a list of examples.
pub fn is_environment(given: &Bound<'_, PyAny>) -> PyResult<bool> {
    given.hasattr(SCORE)
}

/// The entries of an environment as examples; `place` names it in errors.
pub fn entries(environment: &Bound<'_, PyAny>, place: &str) -> PyResult<Vec<Py<Example>>> {
    if !is_environment(environment)? {
        let what = format!("{place} is a {} without {SCORE}", environment.get_type());
        let next = "give an object with entries {\"question\", \"answer\", ...} and \
                    score_answer(answer, entry); a list of examples is examples=";
        return Err(input(what, next));
    }
    let py = environment.py();
    let mut examples = Vec::new();
    let mut take = |entry: PyResult<Bound<'_, PyAny>>| {
        let at = format!("entry {} of {place}", examples.len());
        let entry = entry.map_err(|raised| broken(py, raised, &at))?;
        examples.push(Py::new(py, example(&entry, &at)?)?);
        Ok::<_, PyErr>(examples.len())
    };
    if environment.hasattr("__len__")? && environment.hasattr("__getitem__")? {
        let length = environment.len().map_err(|raised| broken(py, raised, place))?;
        for index in 0..length {
            take(environment.get_item(index))?;
        }
    } else {
        for entry in environment.try_iter()? {
            if take(entry)? > MOST {
                let what = format!("{place} goes on after {MOST} entries");
                return Err(input(what, "give one with a length, or an end"));
            }
        }
    }
    if examples.is_empty() {
        return Err(input(format!("{place} has no entries"), "give at least one"));
    }
    Ok(examples)
}

/// What an environment raised, but for an interrupt.
fn broken(py: Python<'_>, raised: PyErr, place: &str) -> PyErr {
    if !raised.is_instance_of::<PyException>(py) {
        return raised;
    }
    let what = format!("the environment raised {}", described(py, &raised));
    let error = exception(Error::input(what).at(place).next("mend the environment"));
    error.set_cause(py, Some(raised));
    error
}

fn example(entry: &Bound<'_, PyAny>, at: &str) -> PyResult<Example> {
    let py = entry.py();
    let wrong = |what: &str| {
        input(
            format!("{at}: {what}"),
            "an entry is a dict {\"question\": text, \"answer\": text, ...}",
        )
    };
    let entry = match entry.cast::<PyDict>() {
        Ok(entry) => entry.clone(),
        Err(_) => py
            .get_type::<PyDict>()
            .call1((entry,))
            .and_then(|made| Ok(made.cast_into::<PyDict>()?))
            .map_err(|_| wrong(&format!("it is a {}", entry.get_type())))?,
    };
    let question = entry.get_item("question")?.ok_or_else(|| wrong("it has no question"))?;
    let Ok(question) = question.cast::<PyString>() else {
        return Err(wrong(&format!("its question is a {}", question.get_type())));
    };
    // Some have no one right answer: the scorer knows what is right.
    let answer =
        entry.get_item("answer")?.map_or_else(|| "None".into(), |answer| answer.to_string());
    let content = Content::Question(question.to_str()?.into());
    Ok(Example::made(py, content, &answer, "", Some(entry.unbind())))
}

/// Environments as the judge of answers to their entries.
pub struct Environments {
    /// By the names of their suites; none once Python's collector found them in a cycle of their own.
    by_suite: Mutex<BTreeMap<String, Py<PyAny>>>,
    /// What an answer follows; empty: see [`answer_in`].
    marker: String,
    /// The entries.
    extras: Arc<Extras>,
}

impl Environments {
    /// Of environments by the names of their suites.
    pub fn new(
        by_suite: BTreeMap<String, Py<PyAny>>,
        marker: &str,
        extras: Arc<Extras>,
    ) -> Arc<Self> {
        let (by_suite, marker) = (Mutex::new(by_suite), marker.into());
        Arc::new(Self { by_suite, marker, extras })
    }

    /// Shows the environments to Python's collector.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(all) = self.by_suite.try_lock() {
            all.values().try_for_each(|one| visit.call(one))?; // else they are in use, so alive
        }
        self.extras.traverse(visit)
    }

    /// Lets go of them.
    pub fn clear(&self) {
        if let Ok(mut all) = self.by_suite.lock() {
            all.clear();
        }
    }

    fn score(&self, py: Python<'_>, submission: &Submission<'_>) -> PyResult<f64> {
        let Submission { example, response, .. } = submission;
        let by_suite = self.by_suite.lock().ok();
        let environment =
            by_suite.and_then(|all| all.get(&example.suite).map(|one| one.clone_ref(py)));
        let environment = environment.ok_or_else(|| {
            input("no environment judges this", "give the suite as an environment")
        })?;
        let entry = self.extras.example(py, example)?.extra(py);
        let answer = answer_in(py, response, &self.marker)?;
        let score = environment.bind(py).call_method1(SCORE, (answer, entry))?;
        let value: f64 = score.extract().unwrap_or(f64::NAN);
        match (0.0..=1.0).contains(&value) {
            true => Ok(value),
            false => Err(PyValueError::new_err(format!("{SCORE} gave {score}, expected 0 to 1"))),
        }
    }
}

impl fmt::Debug for Environments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("environments in Python")
    }
}

impl Part for Environments {
    fn name(&self) -> &'static str {
        "the environment"
    }

    fn scores(&self, submissions: &[Submission]) -> Result<Scores, Error> {
        Python::attach(|py| {
            let score = |s: &Submission| {
                let score = if s.finished { self.score(py, s) } else { Ok(0.0) };
                unless_interrupted(py, score)
            };
            submissions.iter().map(score).collect()
        })
    }
}
