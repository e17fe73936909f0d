//! The built-in task.

use crate::error::OrRaise;
use crate::example::Example;
use pyo3::prelude::*;
use srft::config::{Data, unknown};
use srft::data::builtin;

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
    fn examples(&self, py: Python<'_>, seed: u64, n: u32) -> PyResult<Vec<Example>> {
        let data = Data::default();
        let record = |i: u32| match self.names.as_slice() {
            [name] => {
                let suite = builtin::suite(name).expect("named by a suite");
                builtin::train_example(suite, seed, i)
            }
            _ => builtin::training_example(&data, seed, u64::from(i)),
        };
        (0..n).map(|i| Example::of(py, record(i))).collect()
    }

    /// Up to `n` problems per suite that training never sees, in the order that evaluation takes them.
    #[pyo3(signature = (n = 200))]
    fn held_out(&self, py: Python<'_>, n: usize) -> PyResult<Vec<Example>> {
        let suites = self.names.iter().filter_map(|name| builtin::suite(name));
        let records = suites.flat_map(|suite| builtin::held_out(suite, n, 0));
        records.map(|record| Example::of(py, record)).collect()
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
