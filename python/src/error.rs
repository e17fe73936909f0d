//! The core's errors as exceptions, with the same words.

use pyo3::exceptions::{PyArithmeticError, PyException, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};
use srft::error::{Error, Kind};

/// The exception classes: the base first, then one a kind.
struct Classes {
    base: Py<PyType>,
    input: Py<PyType>,
    machine: Py<PyType>,
    numbers: Py<PyType>,
}

static CLASSES: PyOnceLock<Classes> = PyOnceLock::new();

impl Classes {
    fn get(py: Python<'_>) -> PyResult<&Self> {
        CLASSES.get_or_try_init(py, || {
            // Classes of two bases: `except ValueError` works as well.
            let class = |name: &str, doc: &str, bases: &[Bound<'_, PyType>]| {
                let body = PyDict::new(py);
                body.set_item("__doc__", doc)?;
                body.set_item("__module__", "srft")?;
                let made = py.get_type::<PyType>().call1((name, PyTuple::new(py, bases)?, body))?;
                Ok::<_, PyErr>(made.cast_into::<PyType>()?.unbind())
            };
            let base = class(
                "Error",
                "What failed, where, and what to do next: str(e) has all three, and e.what, e.place and \
                 e.next have one each.",
                &[py.get_type::<PyException>()],
            )?;
            let kind = |name, doc, also| class(name, doc, &[base.bind(py).clone(), also]);
            Ok(Self {
                input: kind(
                    "InputError",
                    "The input is wrong: a setting, an example, a model folder. A ValueError too.",
                    py.get_type::<PyValueError>(),
                )?,
                machine: kind(
                    "MachineError",
                    "The machine failed: no adapter, a lost device, a full disk. A RuntimeError too.",
                    py.get_type::<PyRuntimeError>(),
                )?,
                numbers: kind(
                    "NumbersError",
                    "The numbers are wrong: a failed self-test, a loss that is not finite. An \
                     ArithmeticError too.",
                    py.get_type::<PyArithmeticError>(),
                )?,
                base,
            })
        })
    }

    fn of(&self, kind: Kind) -> &Py<PyType> {
        match kind {
            Kind::Input => &self.input,
            Kind::Machine => &self.machine,
            Kind::Numbers => &self.numbers,
            Kind::Interrupted => &self.base,
        }
    }
}

/// Adds the classes to the module.
pub fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let classes = Classes::get(module.py())?;
    module.add("Error", &classes.base)?;
    module.add("InputError", &classes.input)?;
    module.add("MachineError", &classes.machine)?;
    module.add("NumbersError", &classes.numbers)
}

/// What the program calls a thing, and what it is here.
const WORDS: [(&str, &str); 18] = [
    ("give a file for evaluation with --eval-data", "give suites="),
    ("--eval-data", "suites="),
    ("add --data F.jsonl", "give examples="),
    ("or give a file with --data", "or give examples="),
    ("--data", "examples="),
    ("--resume", "Trainer.resume"),
    ("or another --out", "another out=, or overwrite=True"),
    ("--overwrite", "overwrite=True"),
    ("--out", "out="),
    ("--accept-changes", "accept_changes=True"),
    ("`srft devices` lists them", "srft.devices() lists them"),
    ("from `srft devices`", "from srft.devices()"),
    ("--device ", "device="),
    ("--device", "device="),
    ("leave out --base (model.base)", "leave out base= (\"model.base\")"),
    ("--base DIR", "base=DIR (in a trainer's settings {\"model.base\": DIR})"),
    ("--base", "base="),
    ("with --model", "as the model"),
];

/// How the program takes up a run, before the run's folder.
const RESUME: &str = "srft train --resume ";

/// The program's words in Python's: its flags are arguments here, and `--set key=value` is a setting.
pub fn in_python(text: &str) -> String {
    let mut told = text.to_string();
    if let Some((before, rest)) = text.split_once(RESUME) {
        let (folder, after) = rest.split_at(rest.find(", or ").unwrap_or(rest.len()));
        told = format!("{before}srft.Trainer.resume({folder:?}){after}");
    }
    told = WORDS.iter().fold(told, |told, (from, to)| told.replace(from, to));
    while let Some((before, rest)) = told.split_once("--set ") {
        let end = rest.find([' ', ',', ';']).unwrap_or(rest.len());
        let (setting, after) = rest.split_at(end);
        let (key, value) = setting.split_once('=').unwrap_or((setting, "..."));
        told = format!("{before}{{\"{key}\": {value}}}{after}");
    }
    told
}

/// The exception of an error.
pub fn exception(mut error: Error) -> PyErr {
    error.what = in_python(&error.what);
    error.place = error.place.as_deref().map(in_python);
    error.next = error.next.as_deref().map(in_python);
    Python::attach(|py| {
        let raised = || -> PyResult<PyErr> {
            let class = Classes::get(py)?.of(error.kind).bind(py);
            let value = class.call1((error.to_string(),))?;
            value.setattr("what", &error.what)?;
            value.setattr("place", &error.place)?;
            value.setattr("next", &error.next)?;
            Ok(PyErr::from_value(value))
        };
        raised().unwrap_or_else(|e| e)
    })
}

/// An exception for input that is wrong.
pub fn input(what: impl Into<String>, next: &str) -> PyErr {
    exception(Error::input(what).next(next))
}

/// A TypeError: `what` is given as `got`.
pub fn wrong_type(what: &str, got: &Bound<'_, PyAny>, expected: &str) -> PyErr {
    PyTypeError::new_err(format!("{what}: got {got}, expected {expected}"))
}

/// The core's results in Python's.
pub trait OrRaise<T> {
    /// The value, or the exception of its error.
    fn or_raise(self) -> PyResult<T>;
}

impl<T> OrRaise<T> for srft::error::Result<T> {
    fn or_raise(self) -> PyResult<T> {
        self.map_err(exception)
    }
}
