//! The environment in which transformers renders chat templates, where it differs from minijinja:
//! functions, filters and tests that must treat values as Python does.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State};

use super::repr::text;
use super::{date, json, methods};

/// Filters that minijinja has and Jinja lacks, or that no template uses, such as `pprint`.
const ADDED_FILTERS: [&str; 6] = ["bool", "chain", "lines", "pprint", "split", "zip"];

/// The environment, without templates.
pub fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_syntax(syntax());
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(methods::call);
    environment.set_formatter(print);
    // Errors then name what is undefined.
    environment.set_debug(true);
    for name in ADDED_FILTERS {
        environment.remove_filter(name);
    }
    environment.remove_global("debug");
    environment.add_function("raise_exception", raise_exception);
    environment.add_filter("tojson", json::tojson);
    environment.add_filter("string", text);
    environment.add_filter("trim", trim);
    for name in ["e", "escape"] {
        environment.add_filter(name, escape);
    }
    environment.add_test("sequence", is_sequence);
    environment.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
    set_clock(&mut environment, now);
    environment
}

/// transformers' syntax settings.
fn syntax() -> SyntaxConfig {
    let blocks = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    blocks.unwrap_or_default()
}

/// Sets the clock that `strftime_now` reads: seconds since 1970.
pub fn set_clock(
    environment: &mut Environment<'static>,
    clock: impl Fn() -> i64 + Send + Sync + 'static,
) {
    environment.add_function("strftime_now", move |format: &str| {
        date::strftime(format, clock()).map_err(|code| {
            Error::new(ErrorKind::InvalidOperation, format!("strftime_now doesn't know {code}"))
        })
    });
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// The message of a template's `raise_exception`.
#[derive(Debug)]
pub struct Raised(pub String);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

fn raise_exception(state: &State, message: &Value) -> Result<Value, Error> {
    let raised = Raised(text(state, message)?);
    Err(Error::new(ErrorKind::InvalidOperation, "raise_exception").with_source(raised))
}

fn print(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) => out.write_str(text)?,
        None => out.write_str(&text(state, value)?)?,
    }
    Ok(())
}

/// `strip` of any value's text.
fn trim(state: &mut State, value: &Value, chars: Option<Value>) -> Result<Value, Error> {
    let text = Value::from(text(state, value)?);
    methods::call(state, &text, "strip", chars.as_slice())
}

/// Escapes HTML's special characters as Python's markupsafe does.
fn escape(state: &State, value: &Value) -> Result<Value, Error> {
    if value.is_safe() {
        return Ok(value.clone());
    }
    let entities = [('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;"), ('\'', "&#39;"), ('"', "&#34;")];
    let mut escaped = text(state, value)?;
    for (c, entity) in entities {
        escaped = escaped.replace(c, entity);
    }
    Ok(Value::from_safe_string(escaped))
}

/// Whether Python would call it a sequence: it has a length and a lookup by key. minijinja's slices and
/// sums of lists are lazy iterators; Python's are lists.
fn is_sequence(value: &Value) -> bool {
    use ValueKind::{Iterable, Map, Seq, String, Undefined};
    matches!(value.kind(), Iterable | Map | Seq | String | Undefined)
}
