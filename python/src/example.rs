//! Problems: the built-in task's, and anyone's own.

use crate::convert::to_python;
use crate::error::{OrRaise, input};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pythonize::depythonize;
use srft::config::{Data, unknown};
use srft::data::builtin;
use srft::records::{self, Layout};

/// A problem with its gold answer and, where there is one, a teacher's demonstration.
///
/// `extra` is a dict of whatever else a reward function wants to know.
#[pyclass(frozen, module = "srft")]
#[derive(Clone)]
pub struct Example(pub records::Example);

#[pymethods]
impl Example {
    #[new]
    #[pyo3(signature = (prompt, answer = "", demonstration = None, *, suite = "", extra = None))]
    fn new(
        prompt: String,
        answer: &str,
        demonstration: Option<String>,
        suite: &str,
        extra: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let extra = match extra {
            Some(extra) => depythonize(extra)?,
            None => Default::default(),
        };
        Ok(Self(records::Example {
            suite: suite.into(),
            prompt,
            demonstration,
            answer: answer.into(),
            layout: Layout::default(),
            extra,
        }))
    }

    /// The prompt as the model reads it.
    #[getter]
    fn prompt(&self) -> &str {
        &self.0.prompt
    }

    /// The gold answer.
    #[getter]
    fn answer(&self) -> &str {
        &self.0.answer
    }

    /// The teacher's response, without end-of-text; or None.
    #[getter]
    fn demonstration(&self) -> Option<&str> {
        self.0.demonstration.as_deref()
    }

    /// The suite it is reported under.
    #[getter]
    fn suite(&self) -> &str {
        &self.0.suite
    }

    /// What else a reward function may know.
    #[getter]
    fn extra<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.0.extra)
    }

    fn __repr__(&self) -> String {
        let records::Example { prompt, answer, demonstration, .. } = &self.0;
        let demonstration = match demonstration {
            Some(text) => format!("{text:?}"),
            None => "None".into(),
        };
        format!("Example({prompt:?}, answer={answer:?}, demonstration={demonstration})")
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

/// One example, or several.
#[derive(FromPyObject)]
pub enum Examples<'py> {
    /// One.
    One(Bound<'py, Example>),
    /// Several.
    Many(Vec<Bound<'py, Example>>),
}

impl Examples<'_> {
    /// The records.
    pub fn records(&self) -> Vec<records::Example> {
        match self {
            Self::One(example) => vec![example.get().0.clone()],
            Self::Many(examples) => examples.iter().map(|e| e.get().0.clone()).collect(),
        }
    }
}

/// The built-in arithmetic task, or one of its suites: `srft.task("arithmetic")`.
///
/// In distribution: add, sub, mul, mod, sort. Out of distribution, never trained on: two, ord, rank.
#[pyclass(frozen, module = "srft")]
pub struct Task {
    /// Of suites; several for the whole task.
    names: Vec<&'static str>,
}

#[pymethods]
impl Task {
    /// The names of its suites.
    #[getter]
    fn suites(&self) -> Vec<&'static str> {
        self.names.clone()
    }

    /// `n` training problems with the teacher's demonstrations, the same for the same seed: those that
    /// a `Trainer` with that seed trains on, suites in turn.
    #[pyo3(signature = (seed = 0, n = 1))]
    fn examples(&self, seed: u64, n: u32) -> Vec<Example> {
        if let [name] = self.names.as_slice() {
            let suite = builtin::suite(name).expect("named by a suite");
            return (0..n).map(|i| Example(builtin::train_example(suite, seed, i))).collect();
        }
        let data = Data::default();
        let example = |cursor| Example(builtin::training_example(&data, seed, cursor));
        (0..u64::from(n)).map(example).collect()
    }

    /// Up to `n` problems a suite that training never sees, in the order that evaluation takes them.
    #[pyo3(signature = (n = 200))]
    fn held_out(&self, n: usize) -> Vec<Example> {
        let suites = self.names.iter().filter_map(|name| builtin::suite(name));
        suites.flat_map(|suite| builtin::held_out(suite, n, 0)).map(Example).collect()
    }

    fn __repr__(&self) -> String {
        format!("Task({})", self.names.join(", "))
    }
}

/// The built-in task: "arithmetic" for all of it, or the name of a suite.
#[pyfunction]
#[pyo3(signature = (name = "arithmetic"))]
pub fn task(name: &str) -> PyResult<Task> {
    let all = builtin::suites().iter().map(|suite| suite.name);
    if name == "arithmetic" {
        return Ok(Task { names: all.collect() });
    }
    match builtin::suite(name) {
        Some(suite) => Ok(Task { names: vec![suite.name] }),
        None => Err(unknown("task", name, all.chain(["arithmetic"]))).or_raise(),
    }
}

/// The example of each episode; `prompt` counts them.
pub fn of_episode(examples: &[records::Example], prompt: usize) -> PyResult<&records::Example> {
    examples.get(prompt).ok_or_else(|| {
        let count = examples.len();
        input(
            format!("an episode answers prompt {prompt} of {count}"),
            "give the examples that it was rolled out from, all of them in their order",
        )
    })
}
