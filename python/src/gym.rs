//! reasoning-gym's tasks in the interpreter that runs, by the same program as `srft train --task` uses.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use srft::data::gym::{INDEX, Problems, SCRIPT, TASK, Tasks, refused};
use srft::error::{Error, Result};
use srft::names::REASONING_GYM;
use srft::reward::{Part, Scores, Submission};
use std::cell::RefCell;
use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;

/// The program's functions.
static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

fn module(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    let made = || {
        let code = CString::new(SCRIPT).expect("no NUL");
        PyModule::from_code(py, &code, c"gym_adapter.py", c"srft_reasoning_gym").map(Bound::unbind)
    };
    MODULE.get_or_try_init(py, made).map(|module| module.bind(py))
}

thread_local! {
    /// An interrupt that came while a scorer ran; whoever asks for scores waits for them in the same thread.
    static INTERRUPT: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

/// A score, or why there is none; an interrupt, which is no mistake of a scorer's, ends the judging.
pub fn unless_interrupted(
    py: Python<'_>,
    score: PyResult<f64>,
) -> Result<std::result::Result<f64, String>> {
    match score {
        Err(raised) if !raised.is_instance_of::<PyException>(py) => {
            let why = Error::machine(raised.to_string());
            INTERRUPT.set(Some(raised));
            Err(why)
        }
        score => Ok(score.map_err(|raised| described(py, &raised))),
    }
}

/// That interrupt, once.
pub fn interrupted() -> Option<PyErr> {
    INTERRUPT.take()
}

/// The answer in a response: what follows the last marker, or stands in the last `<answer>…</answer>`, or all of it.
pub fn answer_in<'py>(
    py: Python<'py>,
    response: &str,
    marker: &str,
) -> PyResult<Bound<'py, PyAny>> {
    module(py)?.call_method1("answer_in", (response, marker))
}

/// What was raised, as the program says it.
pub fn described(py: Python<'_>, error: &PyErr) -> String {
    let named = || module(py)?.call_method1("described", (error.value(py),))?.extract();
    named().unwrap_or_else(|_: PyErr| error.to_string())
}

/// Makes problems and judges answers in this process, in which nothing can be broken off for its time.
#[derive(Debug)]
pub struct InProcess;

impl Tasks for InProcess {
    fn problems(&self, task: &str, _: Duration) -> Result<Arc<Problems>> {
        Python::attach(|py| {
            let made = || -> PyResult<Problems> {
                let module = module(py)?;
                let size: usize = module.call_method1("size", (task,))?.extract()?;
                let problem = |index| module.call_method1("problem", (task, index))?.extract();
                (0..size).map(problem).collect()
            };
            let place = format!("{REASONING_GYM}{task}");
            match made() {
                Ok(problems) if problems.is_empty() => {
                    Err(refused("the task has no problems").at(place))
                }
                Ok(problems) => Ok(Arc::new(problems)),
                Err(error) => Err(refused(&described(py, &error)).at(place)),
            }
        })
    }

    fn judge(&self, marker: &str, _: Duration) -> Arc<dyn Part> {
        Arc::new(Scorer(marker.into()))
    }
}

#[derive(Debug)]
struct Scorer(String);

impl Scorer {
    fn score(&self, py: Python<'_>, submission: &Submission<'_>) -> PyResult<f64> {
        let Submission { example, response, finished } = submission;
        if !finished {
            return Ok(0.0);
        }
        let task = example.extra.get(TASK).and_then(|task| task.as_str());
        let index = example.extra.get(INDEX).and_then(|index| index.as_u64());
        module(py)?.call_method1("score", (task, index, *response, &self.0))?.extract()
    }
}

impl Part for Scorer {
    fn name(&self) -> &'static str {
        "reasoning_gym"
    }

    fn scores(&self, submissions: &[Submission]) -> std::result::Result<Scores, Error> {
        Python::attach(|py| {
            let score = |s: &Submission| unless_interrupted(py, self.score(py, s));
            submissions.iter().map(score).collect()
        })
    }
}
