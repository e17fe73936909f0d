//! Who is told what a run does, in Python: functions and objects of the caller's, and trackers.

use crate::convert::to_python;
use crate::error::{exception, input};
use pyo3::exceptions::{PyException, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use srft::error::Error;
use srft::eval::Score;
use srft::metrics::StepReport;
use srft::run::points;
use std::ffi::CString;

/// The methods of an object that is told, of which it has any.
const METHODS: [&str; 5] = ["begin", "step", "evaluation", "log", "end"];

/// Those who are told, in their order.
pub struct Callbacks<'py>(Vec<Bound<'py, PyAny>>);

impl<'py> Callbacks<'py> {
    /// One, or several.
    pub fn of(given: Option<&Bound<'py, PyAny>>) -> PyResult<Self> {
        let Some(given) = given else { return Ok(Self(Vec::new())) };
        if is_told(given)? {
            return Ok(Self(vec![given.clone()]));
        }
        let wrong = |given: &Bound<'_, PyAny>| {
            PyTypeError::new_err(format!(
                "a callback is {given}, expected a function (values, step), or an object with one of the methods \
                 begin(config), step(report), evaluation(step, scores), log(values, step), end(summary); \
                 srft.track(name) makes one of a tracker"
            ))
        };
        let items = match given.try_iter() {
            Ok(items) if !given.is_instance_of::<PyString>() => items,
            _ => return Err(wrong(given)),
        };
        let told = items.map(|item| {
            let item = item?;
            if is_told(&item)? { Ok(item) } else { Err(wrong(&item)) }
        });
        told.collect::<PyResult<_>>().map(Self)
    }

    /// The run begins: every setting.
    pub fn begin(&self, config: &Bound<'py, PyAny>) -> PyResult<()> {
        self.0.iter().try_for_each(|one| tell(one, "begin", (config.clone(),)))
    }

    /// A step is done.
    pub fn step(&self, py: Python<'py>, report: &StepReport) -> PyResult<()> {
        let plain = to_python(py, report)?;
        self.each("step", (plain,), points::of_step(report), report.step)
    }

    /// An evaluation after `step` steps is done.
    pub fn evaluation(&self, py: Python<'py>, step: u32, scores: &[Score]) -> PyResult<()> {
        let plain = to_python(py, &scores)?;
        self.each("evaluation", (step, plain), points::of_scores(scores), step)
    }

    fn each(
        &self,
        method: &str,
        arguments: impl IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error = PyErr>,
        points: Vec<(String, f64)>,
        step: u32,
    ) -> PyResult<()> {
        let Some(first) = self.0.first() else { return Ok(()) };
        let py = first.py();
        let arguments = arguments.into_pyobject(py)?;
        for one in &self.0 {
            tell(one, method, arguments.clone())?;
            let values = PyDict::new(py);
            points.iter().try_for_each(|(tag, value)| values.set_item(tag, value))?;
            tell(one, "log", (values, step))?;
        }
        Ok(())
    }

    /// The run ends; without a summary it did so too early, and what is raised then is not the reason.
    pub fn end(&self, summary: Option<&Bound<'py, PyAny>>) -> PyResult<()> {
        let mut first = Ok(());
        for one in &self.0 {
            let told = tell(one, "end", (summary.cloned(),));
            first = first.and(told); // the others end too
        }
        if summary.is_some() { first } else { Ok(()) }
    }
}

/// Whether it is a function, or an object with one of the methods.
fn is_told(one: &Bound<'_, PyAny>) -> PyResult<bool> {
    let is_class = one.is_instance_of::<PyType>();
    Ok(!is_class && (one.is_callable() || has_method(one)?))
}

fn has_method(one: &Bound<'_, PyAny>) -> PyResult<bool> {
    METHODS.iter().try_fold(false, |has, method| Ok(has || one.hasattr(*method)?))
}

/// Calls a method, if the object has it; a function is `log`.
fn tell<'py>(
    one: &Bound<'py, PyAny>,
    method: &str,
    arguments: impl pyo3::call::PyCallArgs<'py>,
) -> PyResult<()> {
    let done = match (has_method(one)?, method) {
        (true, _) if one.hasattr(method)? => one.call_method1(method, arguments),
        (false, "log") => one.call1(arguments),
        _ => return Ok(()),
    };
    let Err(raised) = done else { return Ok(()) };
    let py = one.py();
    // An interrupt or an exit is no fault of the callback.
    if !raised.is_instance_of::<PyException>(py) {
        return Err(raised);
    }
    let name = [one, &one.get_type()].map(|of| of.getattr("__qualname__"));
    let name = name.into_iter().flatten().next().map_or("of yours".into(), |name| name.to_string());
    let told =
        exception(Error::machine(format!("the callback {name} raised {raised}")).next(
            "mend it, or leave it out: run() goes on with the run, and so does Trainer.resume",
        ));
    told.set_cause(py, Some(raised));
    Err(told)
}

/// A callback that feeds a run's numbers to a tracker: "trackio", "wandb" or "mlflow".
///
///     trainer.run(callbacks=[srft.track("wandb", project="sums")])
///
/// The settings are what the library's own `init` takes (for MLflow `start_run`, and `experiment`); the config of the
/// run is added. The library is imported here, and is not installed with srft.
#[pyfunction]
#[pyo3(signature = (name, /, **settings))]
pub fn track<'py>(
    py: Python<'py>,
    name: &str,
    settings: Option<Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let made = || {
        let code = CString::new(include_str!("trackers.py")).expect("no NUL");
        PyModule::from_code(py, &code, c"trackers.py", c"srft_trackers").map(Bound::unbind)
    };
    let module = MODULE.get_or_try_init(py, made)?.bind(py);
    let known = module.getattr("TRACKERS")?;
    if !known.contains(name)? {
        let names: Vec<String> =
            known.try_iter()?.map(|name| name?.extract()).collect::<PyResult<_>>()?;
        let next = format!("one of: {}; or a callback of yours", names.join(", "));
        return Err(input(format!("no tracker `{name}`"), &next));
    }
    module.call_method1("track", (name, settings.unwrap_or_else(|| PyDict::new(py))))
}
