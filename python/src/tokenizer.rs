//! Text to tokens and back, and conversations as a model's chat template writes them.

use crate::contents::Contents;
use crate::convert::to_json;
use crate::error::{OrRaise, exception, input, wrong_type};
use crate::example::Example;
use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::Value;
use srft::config;
use srft::error::{Error, Result};
use srft::model::ModelFolder;
use srft::records::Layout;
use srft::run::{data_template, open_model};
use srft::text;
use srft_hub::{Hub, Unwatched, fetched_base, fetched_model};
use std::path::PathBuf;
use std::sync::Arc;

/// Text to tokens and back, as a `tokenizer.json` says.
#[pyclass(frozen, weakref, module = "srft")]
pub struct Tokenizer(pub text::Tokenizer, /** The folder that it is of. */ pub Arc<ModelFolder>);

#[pymethods]
impl Tokenizer {
    /// Reads a model folder's `tokenizer.json`; "tiny" is the built-in model's. `base` is as in `Model.load`.
    #[staticmethod]
    #[pyo3(signature = (path = None, *, base = None))]
    fn load(path: Option<PathBuf>, base: Option<PathBuf>) -> PyResult<Self> {
        let folder = folder_of(path, base).or_raise()?;
        Ok(Self(folder.tokenizer().or_raise()?, Arc::new(folder)))
    }

    /// Token ids of a text that starts a sequence (with begin-of-text, where the tokenizer has it and
    /// the text hasn't), or with `continuation=True` of one that goes on, such as a response: uint32 [N].
    /// `special=False` puts nothing before a text that has its special tokens written out.
    #[pyo3(signature = (text, *, continuation = false, special = true))]
    fn encode<'py>(
        &self,
        py: Python<'py>,
        text: &str,
        continuation: bool,
        special: bool,
    ) -> PyResult<Bound<'py, PyArray1<u32>>> {
        let ids = match (continuation, special) {
            (true, _) => self.0.encode_continuation(text),
            (_, false) => self.0.pieces(text).map(|pieces| pieces.ids),
            (_, true) => self.0.encode(text),
        };
        Ok(PyArray1::from_vec(py, ids.or_raise()?))
    }

    /// A conversation as the model's chat template writes it: an `Example` to sample from or to train on.
    ///
    /// `messages` is a list of dicts with "role" and "content". Where the assistant speaks last, that is the
    /// demonstration, and its prompt is what stands before; else the prompt ends where the assistant is asked.
    /// `Example(messages=...)` is the same for whatever model reads it, learns all of the assistant's turns, not
    /// the last alone, and says what the other arguments are. A template that writes the date writes 26 July 2024.
    #[pyo3(signature = (
        messages, answer = "", *, tools = None, chat_template_kwargs = None, suite = "", extra = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "Python names them")]
    fn chat(
        &self,
        py: Python<'_>,
        messages: Bound<'_, PyAny>,
        answer: &str,
        tools: Option<Bound<'_, PyAny>>,
        chat_template_kwargs: Option<Bound<'_, PyAny>>,
        suite: &str,
        extra: Option<Py<PyDict>>,
    ) -> PyResult<Example> {
        let given = Contents { tools, chat_template_kwargs, ..Contents::conversation(messages) };
        let example = Example::made(py, given.read(Layout::default())?, answer, suite, None);
        let record = example.written(&self.1, false).or_raise()?;
        Ok(Example::of(py, record)?.with_extra(extra))
    }

    /// The text that the chat template writes for messages, as transformers' method of this name does with
    /// `tokenize=False`: with `add_generation_prompt` it ends where the assistant is asked. `tools` is a list of dicts,
    /// and what else is given are further variables of the template, such as `enable_thinking=False`. Its special tokens
    /// are written out: `encode(text, special=False)` makes ids of it.
    #[pyo3(signature = (messages, *, tools = None, add_generation_prompt = false, **kwargs))]
    fn apply_chat_template(
        &self,
        messages: &Bound<'_, PyAny>,
        tools: Option<&Bound<'_, PyAny>>,
        add_generation_prompt: bool,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<String> {
        let messages = to_json(messages, "messages")?;
        let Some(messages) = messages.as_array().filter(|m| m.iter().all(Value::is_object)) else {
            return Err(input(
                "messages are not a list of dicts",
                "give {\"role\", \"content\"} each",
            ));
        };
        let tools = tools.map(|tools| to_json(tools, "tools")).transpose()?;
        let given = kwargs.map(|given| to_json(given.as_any(), "kwargs")).transpose()?;
        let given = given.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
        let template = data_template(&self.1).or_raise()?.ok_or_else(|| {
            let next = "use a chat model, or put its chat_template.jinja into the model's folder";
            exception(Error::input("the model has no chat template").at(&self.1.place).next(next))
        })?;
        template.render(messages, tools.as_ref(), add_generation_prompt, &given).or_raise()
    }

    /// The text of token ids, without begin- and end-of-text and padding.
    fn decode(&self, ids: &Bound<'_, PyAny>) -> PyResult<String> {
        Ok(self.0.decode(&token_ids(ids)?))
    }

    /// Each token as the vocabulary spells it.
    fn pieces(&self, ids: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
        Ok(self.0.spelled(&token_ids(ids)?))
    }

    /// V, gaps included.
    fn __len__(&self) -> usize {
        self.0.vocab_size()
    }

    fn __repr__(&self) -> String {
        format!("Tokenizer({} tokens)", self.0.vocab_size())
    }
}

/// A list of token ids: an array of whole numbers, or a sequence of them.
pub fn token_ids(given: &Bound<'_, PyAny>) -> PyResult<Vec<u32>> {
    if let Ok(array) = given.cast::<PyArray1<u32>>() {
        return Ok(array.to_vec()?);
    }
    given.extract().map_err(|_| {
        let got = given.getattr("dtype").unwrap_or_else(|_| given.get_type().into_any());
        wrong_type("tokens", &got, "a list of token ids: whole numbers from 0 on")
    })
}

/// A folder, an adapter's over `base` where that is given; without a path the built-in model's.
pub fn folder_of(path: Option<PathBuf>, base: Option<PathBuf>) -> Result<ModelFolder> {
    let mut model = config::Model::default();
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    model.path = path.map_or_else(|| "tiny".into(), text);
    model.base = base.map(text).unwrap_or_default();
    let hub = Hub::from_env(false, Box::new(Unwatched));
    model.path = fetched_model(&model.path, &hub)?;
    match model.base.is_empty() {
        true => model.base = fetched_base(&model.path, &hub)?.unwrap_or_default(),
        false => model.base = fetched_model(&model.base, &hub)?,
    }
    open_model(&model)
}
