//! Records and settings, there and back.

use crate::error::{OrRaise, input};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use pythonize::{depythonize, pythonize};
use srft::config::Config;
use srft::platform::read_text;
use std::path::PathBuf;
use toml::{Table, Value};

/// A record as dicts, lists and numbers.
pub fn to_python<'py>(
    py: Python<'py>,
    record: &impl serde::Serialize,
) -> PyResult<Bound<'py, PyAny>> {
    Ok(pythonize(py, record)?)
}

/// The layers of settings: a TOML file's, or a dict's with `"section.key"` or nested sections.
pub fn layers(given: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<(String, Table)>> {
    let Some(given) = given else { return Ok(Vec::new()) };
    let Ok(dict) = given.cast::<PyDict>() else {
        let path: PathBuf = given.extract().map_err(|_| {
            input(
                format!("the config is a {}", given.get_type()),
                "give a dict, such as {\"train.steps\": 50}, or the path of a TOML file",
            )
        })?;
        let text = read_text(&path).or_raise()?;
        return Ok(vec![Config::layer(&text, &path.display().to_string()).or_raise()?]);
    };
    let mut table = Table::new();
    for (key, value) in dict.iter() {
        let key = key.cast::<PyString>()?.to_string();
        let value: Value = depythonize(&value).map_err(|e| {
            input(
                format!("{key}: {e}"),
                "settings are numbers, texts, lists of texts, true and false",
            )
        })?;
        match (key.split_once('.'), value) {
            (Some((section, name)), value) => {
                section_of(&mut table, section)?.insert(name.into(), value);
            }
            (None, Value::Table(keys)) => section_of(&mut table, &key)?.extend(keys),
            (None, _) => {
                return Err(input(
                    format!("`{key}` is a section, not a value"),
                    "write \"section.key\", as srft config prints them",
                ));
            }
        }
    }
    Ok(vec![("config".into(), table)])
}

fn section_of<'a>(table: &'a mut Table, name: &str) -> PyResult<&'a mut Table> {
    let slot = table.entry(name).or_insert_with(|| Value::Table(Table::new()));
    slot.as_table_mut().ok_or_else(|| input(format!("`{name}` is given twice"), "leave one out"))
}
