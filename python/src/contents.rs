//! What an example is made of: text, or messages by the rules of a data file's rows.

use crate::convert::to_json;
use crate::error::{input, wrong_type};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyString;
use serde_json::Value;
use srft::data::shape::{Content, Needs, row};
use srft::records::Layout;

/// What an example is made of, as `Example` is given it.
#[derive(Default)]
pub struct Contents<'py> {
    pub prompt: Option<Bound<'py, PyAny>>,
    pub demonstration: Option<Bound<'py, PyAny>>,
    pub messages: Option<Bound<'py, PyAny>>,
    pub tools: Option<Bound<'py, PyAny>>,
    pub chat_template_kwargs: Option<Bound<'py, PyAny>>,
}

impl<'py> Contents<'py> {
    /// A conversation alone.
    pub fn conversation(messages: Bound<'py, PyAny>) -> Self {
        Self { messages: Some(messages), ..Self::default() }
    }

    /// Text as it is; anything else by the rules of a data file's rows.
    pub fn read(self, layout: Layout) -> PyResult<Content> {
        let text = |given: &Option<Bound<'_, PyAny>>, name| match given {
            None => Ok(None),
            Some(given) => match given.cast::<PyString>() {
                Ok(text) => Ok(Some(Value::from(text.to_str()?))),
                Err(_) => match to_json(given, name)? {
                    list @ Value::Array(_) => Ok(Some(list)),
                    _ => {
                        let expected = "text, or a list of messages";
                        Err(wrong_type(name, given.get_type().as_any(), expected))
                    }
                },
            },
        };
        let json = |given: &Option<Bound<'_, PyAny>>, name| {
            given.as_ref().map(|given| to_json(given, name)).transpose()
        };
        let fields = [
            ("prompt", text(&self.prompt, "prompt")?),
            ("completion", text(&self.demonstration, "demonstration")?),
            ("messages", json(&self.messages, "messages")?),
            ("tools", json(&self.tools, "tools")?),
            ("chat_template_kwargs", json(&self.chat_template_kwargs, "chat_template_kwargs")?),
        ];
        match fields {
            [(_, Some(Value::String(prompt))), (_, response), (_, None), (_, None), (_, None)]
                if !matches!(response, Some(Value::Array(_))) =>
            {
                let response = response.and_then(|text| text.as_str().map(String::from));
                require_within(&layout, &prompt, response.as_deref().unwrap_or_default())?;
                Ok(Content::Made { prompt, response, layout })
            }
            [(_, None), _, (_, None), ..] => {
                Err(PyTypeError::new_err("an example needs a prompt, or messages"))
            }
            fields => {
                if layout != Layout::default() {
                    let next = "leave them out: the chat template knows both";
                    return Err(input("`templated` and `learned` are of text", next));
                }
                let given =
                    fields.into_iter().filter_map(|(name, value)| Some((name.into(), value?)));
                let needs = Needs { response: false, answer: false };
                let row = row(0, given.collect(), needs).map_err(|what| {
                    let next = "write it as in a data file: messages are a list of {\"role\", \
                                \"content\"}";
                    input(what.replace("`completion`", "`demonstration`"), next)
                })?;
                Ok(row.content)
            }
        }
    }
}

/// Refuses ranges that are not in the text.
fn require_within(layout: &Layout, prompt: &str, demonstration: &str) -> PyResult<()> {
    let (learned, text) = (&layout.learned, [prompt, demonstration].concat());
    let rises = learned.windows(2).all(|pair| pair[0].end <= pair[1].start);
    match rises && learned.iter().all(|range| text.get(range.clone()).is_some()) {
        true => Ok(()),
        false => {
            Err(input("`learned` has ranges that are not in the text", "give rising byte ranges"))
        }
    }
}
