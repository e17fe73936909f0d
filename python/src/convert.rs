//! Records, settings and arrays, there and back.

use crate::error::{OrRaise, input, wrong_type};
use numpy::{PyArrayDyn, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyList, PyMapping, PyString, PyTuple};
use pythonize::pythonize;
use serde_json::{Map, Number, Value};
use srft::config::Config;
use srft::platform::read_text;
use std::path::PathBuf;
use toml::Table;

/// A record as dicts, lists and numbers.
pub fn to_python<'py>(
    py: Python<'py>,
    record: &impl serde::Serialize,
) -> PyResult<Bound<'py, PyAny>> {
    // By way of JSON: a pair of numbers is a list in every record, as it is in the run's files.
    let plain = serde_json::to_value(record).expect("a plain record");
    Ok(pythonize(py, &plain)?)
}

/// Levels of dicts and lists that are followed.
const DEEPEST: usize = 100;

/// What Python gave as plain JSON; `place` names it in errors, such as `extra.size`. Numbers of numpy, arrays
/// and paths are taken as well; what holds itself is refused, and so is what JSON has no word for.
pub fn to_json(value: &Bound<'_, PyAny>, place: &str) -> PyResult<Value> {
    json(value, place, &mut Vec::new())
}

/// `around` holds what the value is in.
fn json(value: &Bound<'_, PyAny>, place: &str, around: &mut Vec<usize>) -> PyResult<Value> {
    if value.is_none() {
        return Ok(Value::Null);
    }
    if let Ok(value) = value.cast::<PyBool>() {
        return Ok(value.is_true().into());
    }
    if value.is_instance_of::<PyInt>() {
        let number = value.extract::<i64>().map(Number::from);
        let number = number.or_else(|_| value.extract::<u64>().map(Number::from));
        let small =
            |_| input(format!("{place}: {value} has more than 64 bits"), "write it as text");
        return number.map(Value::Number).map_err(small);
    }
    if let Ok(value) = value.cast::<PyFloat>() {
        let number = Number::from_f64(value.value()).map(Value::Number);
        return number.ok_or_else(|| {
            input(format!("{place} is {}", value.value()), "give a finite number, or None")
        });
    }
    if let Ok(value) = value.cast::<PyString>() {
        return Ok(value.to_str()?.into());
    }
    let id = value.as_ptr() as usize;
    if around.contains(&id) || around.len() == DEEPEST {
        let what = match around.contains(&id) {
            true => format!("{place} holds itself"),
            false => format!("{place} is more than {DEEPEST} levels deep"),
        };
        return Err(input(what, "give plain values"));
    }
    around.push(id);
    let converted = nested(value, place, around);
    around.pop();
    converted
}

fn nested(value: &Bound<'_, PyAny>, place: &str, around: &mut Vec<usize>) -> PyResult<Value> {
    if let Ok(mapping) = value.cast::<PyMapping>() {
        let mut map = Map::new();
        for pair in mapping.items()? {
            let (key, value) = pair.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
            let Ok(key) = key.extract::<String>() else {
                return Err(input(
                    format!("{place} has the key {}", key.repr()?),
                    "keys are texts",
                ));
            };
            let value = json(&value, &format!("{place}.{key}"), around)?;
            map.insert(key, value);
        }
        return Ok(Value::Object(map));
    }
    if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        let items = value.try_iter()?.enumerate();
        let items = items.map(|(index, item)| json(&item?, &format!("{place}[{index}]"), around));
        return Ok(Value::Array(items.collect::<PyResult<_>>()?));
    }
    if let Ok(path) = value.extract::<PathBuf>() {
        return Ok(path.to_string_lossy().into());
    }
    // numpy's numbers and arrays.
    if let Ok(plain) = value.call_method0("tolist") {
        return json(&plain, place, around);
    }
    Err(input(
        format!("{place} is a {}", value.get_type()),
        "give texts, numbers, true and false, or lists and dicts of them",
    ))
}

/// The layers of settings: a TOML file's, or a mapping's with `"section.key"` or nested sections. What is
/// None keeps its default.
pub fn layers(given: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<(String, Table)>> {
    let Some(given) = given else { return Ok(Vec::new()) };
    let Ok(mapping) = given.cast::<PyMapping>() else {
        let path: PathBuf = given.extract().map_err(|_| {
            input(
                format!("the config is a {}", given.get_type()),
                "give a dict, such as {\"train.steps\": 50}, or the path of a TOML file",
            )
        })?;
        let text = read_text(&path).or_raise()?;
        return Ok(vec![Config::layer(&text, &path.display().to_string()).or_raise()?]);
    };
    let Value::Object(settings) = to_json(mapping.as_any(), "config")? else {
        unreachable!("a mapping is an object")
    };
    let mut sections: Map<String, Value> = Map::new();
    for (key, value) in settings {
        match (key.split_once('.'), value) {
            (_, Value::Null) => {}
            (Some((section, name)), value) => {
                section_of(&mut sections, section)?.insert(name.into(), value);
            }
            (None, Value::Object(keys)) => {
                let given = keys.into_iter().filter(|(_, value)| !value.is_null());
                section_of(&mut sections, &key)?.extend(given);
            }
            (None, _) => {
                return Err(input(
                    format!("`{key}` is a section, not a value"),
                    "write \"section.key\", as srft config prints them",
                ));
            }
        }
    }
    let table = Table::try_from(sections).map_err(|e| {
        input(format!("config: {e}"), "settings are numbers, texts, true and false")
    })?;
    Ok(vec![("config".into(), table)])
}

fn section_of<'a>(
    sections: &'a mut Map<String, Value>,
    name: &str,
) -> PyResult<&'a mut Map<String, Value>> {
    let slot = sections.entry(name).or_insert_with(|| Map::new().into());
    slot.as_object_mut().ok_or_else(|| input(format!("`{name}` is given twice"), "leave one out"))
}

/// Real numbers as float64, in whatever shape and type they come; `what` names them in errors.
pub fn floats<'py>(value: &Bound<'py, PyAny>, what: &str) -> PyResult<Bound<'py, PyArrayDyn<f64>>> {
    let array = value.py().import("numpy")?.call_method1("asarray", (value,))?;
    let kind: String = array.getattr("dtype")?.getattr("kind")?.extract()?;
    if !"biufO".contains(&kind) {
        return Err(wrong_type(what, &array.getattr("dtype")?, "real numbers"));
    }
    let array = array.call_method1("astype", ("float64",))?;
    Ok(array.cast_into::<PyArrayDyn<f64>>()?)
}

/// The same as a list, one number for each of something.
pub fn float_list(value: &Bound<'_, PyAny>, what: &str) -> PyResult<Vec<f64>> {
    let array = floats(value, what)?;
    let shape = array.getattr("shape")?;
    if shape.len()? != 1 {
        return Err(input(format!("{what} have the shape {shape}"), "give a list of numbers"));
    }
    let values = array.to_vec()?;
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(values),
        Some(at) => {
            Err(input(format!("number {at} of {what} is {}", values[at]), "give finite numbers"))
        }
    }
}
