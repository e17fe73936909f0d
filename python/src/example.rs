//! Problems, and what models and judges make of them.

use crate::contents::Contents;
use crate::convert::{to_json, to_python};
use crate::error::wrong_type;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};
use serde_json::{Map, Value};
use srft::data::render;
use srft::data::shape::{Content, Row};
use srft::error::Result;
use srft::model::ModelFolder;
use srft::records::{self, Layout};
use srft::run::data_template;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// A problem with its gold answer and, where there is one, a teacher's demonstration.
///
/// Text is read as it is. A conversation is a list of messages, dicts with "role" and "content" (and "tool_calls",
/// ...), and becomes text by the chat template of the model that reads it, as a row of a data file does:
/// `Example(messages=[...])`, where a last message of the assistant's is the demonstration, or with a list as
/// `prompt` and one as `demonstration`. `tools` is a list of dicts that the template shows to the model,
/// `chat_template_kwargs` a dict of further variables such as "enable_thinking".
///
/// `extra` is a dict of whatever else a reward function wants to know; it is kept as it is. `templated` says
/// that prompt and demonstration are text with its special tokens written out, as a chat template does, so that
/// none is put around them, and `learned` which byte ranges of both the assistant wrote.
#[pyclass(frozen, weakref, module = "srft")]
pub struct Example {
    /// What the core knows of it; nothing is in its `extra`.
    row: Row,
    extra: Py<PyDict>,
}

#[pymethods]
impl Example {
    #[new]
    #[pyo3(signature = (
        prompt = None, answer = "", demonstration = None, *, messages = None, tools = None,
        chat_template_kwargs = None, suite = "", extra = None, templated = false, learned = Vec::new()
    ))]
    #[expect(clippy::too_many_arguments, reason = "Python names them")]
    fn new(
        py: Python<'_>,
        prompt: Option<Bound<'_, PyAny>>,
        answer: &str,
        demonstration: Option<Bound<'_, PyAny>>,
        messages: Option<Bound<'_, PyAny>>,
        tools: Option<Bound<'_, PyAny>>,
        chat_template_kwargs: Option<Bound<'_, PyAny>>,
        suite: &str,
        extra: Option<Py<PyDict>>,
        templated: bool,
        learned: Vec<(usize, usize)>,
    ) -> PyResult<Self> {
        let learned: Vec<_> = learned.into_iter().map(|(start, end)| start..end).collect();
        let layout = Layout { templated, learned };
        let given = Contents { prompt, demonstration, messages, tools, chat_template_kwargs };
        Ok(Self::made(py, given.read(layout)?, answer, suite, extra))
    }

    /// The prompt as the model reads it; a list of messages where no template has written it yet.
    #[getter]
    fn prompt<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &self.row.content {
            Content::Chat(chat) => to_python(py, &chat.messages),
            _ => Ok(PyString::new(py, self.text().0).into_any()),
        }
    }

    /// The gold answer.
    #[getter]
    fn answer(&self) -> &str {
        self.row.answer.as_deref().unwrap_or_default()
    }

    /// The teacher's response, without end-of-text, or a list of messages; None where there is none.
    #[getter]
    fn demonstration<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match &self.row.content {
            Content::Chat(chat) if chat.response.is_empty() => Ok(None),
            Content::Chat(chat) => to_python(py, &chat.response).map(Some),
            _ => Ok(self.text().1.map(|text| PyString::new(py, text).into_any())),
        }
    }

    /// The suite it is reported under.
    #[getter]
    fn suite(&self) -> &str {
        &self.row.suite
    }

    /// What else a reward function may know: the dict that was given.
    #[getter]
    pub fn extra(&self, py: Python<'_>) -> Py<PyDict> {
        self.extra.clone_ref(py)
    }

    /// Whether its special tokens are written out.
    #[getter]
    fn templated(&self) -> bool {
        self.text().2.templated
    }

    /// Byte ranges of prompt and demonstration that the assistant wrote, where a template says so.
    #[getter]
    fn learned(&self) -> Vec<(usize, usize)> {
        self.text().2.learned.iter().map(|range| (range.start, range.end)).collect()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (_, named) = self.__getnewargs_ex__(py)?;
        let mut shown = Vec::new();
        for (name, value) in named {
            let is_plain =
                value.is_none() || matches!(value.len(), Ok(0)) || value.is(PyBool::new(py, false));
            let text = match value.cast::<PyString>() {
                Ok(text) => format!("{:?}", text.to_str()?),
                Err(_) => value.repr()?.to_string(),
            };
            match name.to_string().as_str() {
                "prompt" => shown.push(text),
                name @ ("answer" | "demonstration") => shown.push(format!("{name}={text}")),
                _ if is_plain => {}
                name => shown.push(format!("{name}={text}")),
            }
        }
        Ok(format!("Example({})", shown.join(", ")))
    }

    fn __eq__(&self, py: Python<'_>, other: &Self) -> PyResult<bool> {
        Ok(self.row == other.row && self.extra.bind(py).eq(other.extra.bind(py))?)
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        serde_json::to_string(&self.row).expect("a plain record").hash(&mut hasher);
        hasher.finish()
    }

    fn __getnewargs_ex__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        let named = PyDict::new(py);
        match &self.row.content {
            // One response ends the conversation, and may follow another of the assistant's.
            Content::Chat(chat) if chat.response.len() == 1 => {
                let messages = [&chat.messages[..], &chat.response[..]].concat();
                named.set_item("messages", to_python(py, &messages)?)?;
            }
            _ => named.set_item("prompt", self.prompt(py)?)?,
        }
        named.set_item("answer", self.answer())?;
        if !named.contains("messages")? {
            named.set_item("demonstration", self.demonstration(py)?)?;
        }
        if let Content::Chat(chat) = &self.row.content {
            named.set_item("tools", to_python(py, &chat.tools)?)?;
            named.set_item("chat_template_kwargs", to_python(py, &chat.template_arguments)?)?;
        }
        named.set_item("suite", self.suite())?;
        named.set_item("templated", self.templated())?;
        named.set_item("learned", self.learned())?;
        named.set_item("extra", &self.extra)?;
        Ok((PyTuple::empty(py), named))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> std::result::Result<(), PyTraverseError> {
        visit.call(&self.extra)
    }
}

impl Example {
    /// Of what was read.
    pub fn made(
        py: Python<'_>,
        content: Content,
        answer: &str,
        suite: &str,
        extra: Option<Py<PyDict>>,
    ) -> Self {
        let row = Row {
            line: 0,
            suite: suite.into(),
            content,
            answer: (!answer.is_empty()).then(|| answer.into()),
            extra: Map::new(),
        };
        Self { row, extra: extra.unwrap_or_else(|| PyDict::new(py).unbind()) }
    }

    /// From the core's record.
    pub fn of(py: Python<'_>, mut record: records::Example) -> PyResult<Self> {
        let extra = to_python(py, &std::mem::take(&mut record.extra))?;
        Ok(Self { row: record.into(), extra: extra.cast_into::<PyDict>()?.unbind() })
    }

    /// The same with another dict.
    pub fn with_extra(self, extra: Option<Py<PyDict>>) -> Self {
        Self { extra: extra.unwrap_or(self.extra), ..self }
    }

    /// Prompt, demonstration and layout of text.
    fn text(&self) -> (&str, Option<&str>, &Layout) {
        static NONE: Layout = Layout { templated: false, learned: Vec::new() };
        match &self.row.content {
            Content::Made { prompt, response, layout } => (prompt, response.as_deref(), layout),
            Content::Question(question) => (question, None, &NONE),
            _ => ("", None, &NONE),
        }
    }

    /// The record for a model: messages as its chat template writes them. Of a conversation imitation learns all
    /// of the assistant's turns, as by default of a file's, or the last.
    pub fn written(&self, folder: &ModelFolder, all_turns: bool) -> Result<records::Example> {
        let Content::Chat(_) = &self.row.content else { return Ok(self.judged(None)) };
        let template = data_template(folder)?;
        let written = render::example(self.row.clone(), "", template.as_ref(), all_turns);
        Ok(written.map_err(|e| e.at(&folder.place))?.0)
    }

    /// The record for a judge. No template has written the messages: their prompt is what was `asked`, where that
    /// is known, else what the last message of each says.
    pub fn judged(&self, asked: Option<&str>) -> records::Example {
        let (prompt, demonstration, layout) = match &self.row.content {
            Content::Chat(chat) => {
                let prompt = asked.map(String::from).or_else(|| chat.messages.last().map(said));
                (prompt.unwrap_or_default(), chat.response.last().map(said), Layout::default())
            }
            _ => {
                let (prompt, demonstration, layout) = self.text();
                (prompt.into(), demonstration.map(String::from), layout.clone())
            }
        };
        records::Example {
            suite: self.row.suite.clone(),
            prompt,
            demonstration,
            answer: self.answer().into(),
            layout,
            ..Default::default()
        }
    }
}

/// What a message says.
fn said(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

/// The `extra` dicts of examples while the core holds their records: each record has its number here.
#[derive(Default)]
pub struct Extras(Vec<Py<PyDict>>);

/// What a record's number is called in its `extra`.
const NUMBER: &str = "of the example in Python";

impl Extras {
    /// An example for a run, whose `extra` is kept here.
    pub fn keep(&mut self, py: Python<'_>, example: &Example) -> Row {
        Row { extra: self.number(py, example), ..example.row.clone() }
    }

    /// The same for a judge, of episodes that were `asked` something.
    pub fn keep_judged(
        &mut self,
        py: Python<'_>,
        example: &Example,
        asked: Option<&str>,
    ) -> records::Example {
        records::Example { extra: self.number(py, example), ..example.judged(asked) }
    }

    fn number(&mut self, py: Python<'_>, example: &Example) -> Map<String, Value> {
        let mut extra = Map::new();
        if !example.extra.bind(py).is_empty() {
            extra.insert(NUMBER.into(), self.0.len().into());
            self.0.push(example.extra.clone_ref(py));
        }
        extra
    }

    /// The example of a record.
    pub fn example(&self, py: Python<'_>, record: &records::Example) -> PyResult<Example> {
        let number = record.extra.get(NUMBER).and_then(Value::as_u64);
        match number.and_then(|number| self.0.get(number as usize)) {
            Some(extra) => Ok(Example {
                row: records::Example { extra: Map::new(), ..record.clone() }.into(),
                extra: extra.clone_ref(py),
            }),
            None => Example::of(py, record.clone()),
        }
    }

    /// Shows the dicts to Python's collector, which can empty them.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> std::result::Result<(), PyTraverseError> {
        self.0.iter().try_for_each(|extra| visit.call(extra))
    }
}

/// An example with its `extra` as JSON, for a program that reads it; `place` names it.
pub fn written_out(py: Python<'_>, example: &Example, place: &str) -> PyResult<Row> {
    let extra = to_json(example.extra.bind(py).as_any(), place)?;
    let extra = extra.as_object().cloned().unwrap_or_default();
    Ok(Row { extra, ..example.row.clone() })
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

/// What a model is asked.
pub enum Prompt {
    /// An example's prompt.
    Example(Py<Example>),
    /// Text.
    Text(String),
}

impl Prompt {
    /// The record for a model.
    pub fn written(&self, folder: &ModelFolder) -> Result<records::Example> {
        match self {
            Self::Example(example) => example.get().written(folder, true),
            Self::Text(text) => Ok(records::Example { prompt: text.clone(), ..Default::default() }),
        }
    }
}

impl<'py> FromPyObject<'_, 'py> for Prompt {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(example) = given.cast::<Example>() {
            return Ok(Self::Example(example.to_owned().unbind()));
        }
        match given.cast::<PyString>() {
            Ok(text) => Ok(Self::Text(text.to_str()?.into())),
            Err(_) => Err(wrong_type("a prompt", given.get_type().as_any(), "text, or an Example")),
        }
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
