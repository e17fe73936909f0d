//! Problems: the built-in task's, and anyone's own.

use crate::convert::{to_json, to_python};
use crate::episode::Episode;
use crate::error::{OrRaise, input, wrong_type};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};
use serde_json::{Map, Value};
use srft::config::{Data, unknown};
use srft::data::builtin;
use srft::records::{self, Layout};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// A problem with its gold answer and, where there is one, a teacher's demonstration.
///
/// `extra` is a dict of whatever else a reward function wants to know; it is kept as it is. `templated` says
/// that prompt and demonstration have their special tokens written out, as a chat template does, so that none is
/// put around them, and `learned` which byte ranges of both the assistant wrote; `Tokenizer.chat` makes such
/// examples of messages.
#[pyclass(frozen, weakref, module = "srft")]
pub struct Example {
    /// What the core knows of it; nothing is in its `extra`.
    pub record: records::Example,
    extra: Py<PyDict>,
}

#[pymethods]
impl Example {
    #[new]
    #[pyo3(signature = (
        prompt, answer = "", demonstration = None, *, suite = "", extra = None, templated = false,
        learned = Vec::new()
    ))]
    #[expect(clippy::too_many_arguments, reason = "Python names them")]
    fn new(
        py: Python<'_>,
        prompt: String,
        answer: &str,
        demonstration: Option<String>,
        suite: &str,
        extra: Option<Py<PyDict>>,
        templated: bool,
        learned: Vec<(usize, usize)>,
    ) -> PyResult<Self> {
        let text = [&prompt, demonstration.as_deref().unwrap_or_default()].concat();
        let learned: Vec<_> = learned.into_iter().map(|(start, end)| start..end).collect();
        let rises = learned.windows(2).all(|pair| pair[0].end <= pair[1].start);
        if !rises || learned.iter().any(|range| text.get(range.clone()).is_none()) {
            return Err(input(
                "`learned` has ranges that are not in the text",
                "give rising byte ranges",
            ));
        }
        let record = records::Example {
            suite: suite.into(),
            prompt,
            demonstration,
            answer: answer.into(),
            layout: Layout { templated, learned },
            extra: Map::new(),
        };
        Ok(Self { record, extra: extra.unwrap_or_else(|| PyDict::new(py).unbind()) })
    }

    /// The prompt as the model reads it.
    #[getter]
    fn prompt(&self) -> &str {
        &self.record.prompt
    }

    /// The gold answer.
    #[getter]
    fn answer(&self) -> &str {
        &self.record.answer
    }

    /// The teacher's response, without end-of-text; or None.
    #[getter]
    fn demonstration(&self) -> Option<&str> {
        self.record.demonstration.as_deref()
    }

    /// The suite it is reported under.
    #[getter]
    fn suite(&self) -> &str {
        &self.record.suite
    }

    /// What else a reward function may know: the dict that was given.
    #[getter]
    fn extra(&self, py: Python<'_>) -> Py<PyDict> {
        self.extra.clone_ref(py)
    }

    /// Whether its special tokens are written out.
    #[getter]
    fn templated(&self) -> bool {
        self.record.layout.templated
    }

    /// Byte ranges of prompt and demonstration that the assistant wrote, where a template says so.
    #[getter]
    fn learned(&self) -> Vec<(usize, usize)> {
        self.record.layout.learned.iter().map(|range| (range.start, range.end)).collect()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let records::Example { suite, prompt, answer, demonstration, .. } = &self.record;
        let demonstration = match demonstration {
            Some(text) => format!("{text:?}"),
            None => "None".into(),
        };
        let mut shown =
            format!("Example({prompt:?}, answer={answer:?}, demonstration={demonstration}");
        if !suite.is_empty() {
            shown += &format!(", suite={suite:?}");
        }
        if self.templated() {
            shown += ", templated=True";
        }
        if !self.learned().is_empty() {
            shown += &format!(", learned={:?}", self.learned());
        }
        if !self.extra.bind(py).is_empty() {
            shown += &format!(", extra={}", self.extra.bind(py).repr()?);
        }
        Ok(shown + ")")
    }

    fn __eq__(&self, py: Python<'_>, other: &Self) -> PyResult<bool> {
        Ok(self.record == other.record && self.extra.bind(py).eq(other.extra.bind(py))?)
    }

    fn __hash__(&self) -> u64 {
        let records::Example { suite, prompt, answer, demonstration, .. } = &self.record;
        let mut hasher = DefaultHasher::new();
        (suite, prompt, answer, demonstration).hash(&mut hasher);
        hasher.finish()
    }

    fn __getnewargs_ex__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        let records::Example { suite, prompt, answer, demonstration, .. } = &self.record;
        let named = PyDict::new(py);
        named.set_item("suite", suite)?;
        named.set_item("extra", &self.extra)?;
        named.set_item("templated", self.templated())?;
        named.set_item("learned", self.learned())?;
        Ok(((prompt, answer, demonstration).into_pyobject(py)?, named))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.extra)
    }
}

impl Example {
    /// From the core's record.
    pub fn of(py: Python<'_>, mut record: records::Example) -> PyResult<Self> {
        let extra = to_python(py, &std::mem::take(&mut record.extra))?;
        Ok(Self { record, extra: extra.cast_into::<PyDict>()?.unbind() })
    }

    /// The same with another dict.
    pub fn with_extra(self, extra: Option<Py<PyDict>>) -> Self {
        Self { extra: extra.unwrap_or(self.extra), ..self }
    }
}

/// The `extra` dicts of examples while the core holds their records: each record has its number here.
#[derive(Default)]
pub struct Extras(Vec<Py<PyDict>>);

/// What a record's number is called in its `extra`.
const NUMBER: &str = "of the example in Python";

impl Extras {
    /// The record of an example, whose `extra` is kept here.
    pub fn keep(&mut self, py: Python<'_>, example: &Example) -> records::Example {
        let mut record = example.record.clone();
        if !example.extra.bind(py).is_empty() {
            record.extra.insert(NUMBER.into(), self.0.len().into());
            self.0.push(example.extra.clone_ref(py));
        }
        record
    }

    /// The example of a record.
    pub fn example(&self, py: Python<'_>, record: &records::Example) -> PyResult<Example> {
        let number = record.extra.get(NUMBER).and_then(Value::as_u64);
        match number.and_then(|number| self.0.get(number as usize)) {
            Some(extra) => Ok(Example {
                record: records::Example { extra: Map::new(), ..record.clone() },
                extra: extra.clone_ref(py),
            }),
            None => Example::of(py, record.clone()),
        }
    }

    /// Shows the dicts to Python's collector, which can empty them.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.iter().try_for_each(|extra| visit.call(extra))
    }
}

/// The record of an example with its `extra` as JSON, for a program that reads it; `place` names it.
pub fn written_out(py: Python<'_>, example: &Example, place: &str) -> PyResult<records::Example> {
    let extra = to_json(example.extra.bind(py).as_any(), place)?;
    let extra = extra.as_object().cloned().unwrap_or_default();
    Ok(records::Example { extra, ..example.record.clone() })
}

/// One example, or several.
pub struct Examples<'py>(pub Vec<Bound<'py, Example>>);

impl<'py> FromPyObject<'_, 'py> for Examples<'py> {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match given.cast::<Example>() {
            Ok(example) => Ok(Self(vec![example.to_owned()])),
            Err(_) => {
                let expected = "an Example, or a list of them";
                let wrong = |_| wrong_type("examples", given.get_type().as_any(), expected);
                given.extract().map(Self).map_err(wrong)
            }
        }
    }
}

/// What a model is asked: an example, or text.
pub struct Prompt(pub records::Example, /** Whether an example was given. */ pub bool);

impl<'py> FromPyObject<'_, 'py> for Prompt {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(example) = given.cast::<Example>() {
            return Ok(Self(example.get().record.clone(), true));
        }
        let Ok(text) = given.cast::<PyString>() else {
            return Err(wrong_type("a prompt", given.get_type().as_any(), "text, or an Example"));
        };
        let record = records::Example {
            suite: String::new(),
            prompt: text.to_str()?.into(),
            demonstration: None,
            answer: String::new(),
            layout: Layout::default(),
            extra: Map::new(),
        };
        Ok(Self(record, false))
    }
}

/// One prompt, or several.
pub struct Prompts(pub Vec<Prompt>);

impl<'py> FromPyObject<'_, 'py> for Prompts {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if given.is_instance_of::<PyString>() || given.is_instance_of::<Example>() {
            return Ok(Self(vec![given.extract()?]));
        }
        let Ok(items) = given.try_iter() else {
            let expected = "text, an Example, or a list of them";
            return Err(wrong_type("prompts", given.get_type().as_any(), expected));
        };
        items.map(|item| item?.extract()).collect::<PyResult<_>>().map(Self)
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

    /// Up to `n` problems a suite that training never sees, in the order that evaluation takes them.
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

/// The example that an episode answers; its `prompt` counts them.
pub fn of_episode<'a>(
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
