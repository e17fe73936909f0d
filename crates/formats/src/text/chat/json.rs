//! Converts JSON to a template's values, and back as Python's `json.dumps` writes it.

use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};
use serde_json::Value as Json;

use super::repr::{MAX_DEPTH, number, text};

/// A JSON value as a template sees it.
pub fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(yes) => Value::from(*yes),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::from_iter(items.iter().map(value)),
        Json::Object(fields) => {
            Value::from_pairs(fields.iter().map(|(k, v)| (k.as_str(), value(v))))
        }
        Json::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(n), _) => Value::from(n),
            (_, Some(n)) => Value::from(n),
            _ => Value::from(n.as_f64()),
        },
    }
}

/// transformers' `tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`,
/// which, unlike Jinja's, doesn't escape HTML.
pub fn tojson(
    state: &State,
    value: &Value,
    positional: Rest<Value>,
    named: Kwargs,
) -> Result<String, Error> {
    let argument = |index: usize, name| match positional.get(index) {
        Some(value) => Ok(Some(value.clone())),
        None => named.get::<Option<Value>>(name),
    };
    let is_true = |value: Option<Value>| value.is_some_and(|v| v.is_true());
    let ensure_ascii = is_true(argument(0, "ensure_ascii")?);
    let indent = argument(1, "indent")?.filter(|v| !v.is_none());
    let separators = argument(2, "separators")?.filter(|v| !v.is_none());
    let sort_keys = is_true(argument(3, "sort_keys")?);
    named.assert_all_used()?;

    let indent = match indent {
        None => None,
        Some(text) if text.as_str().is_some() => Some(text.to_string()),
        Some(width) => {
            let width = i64::try_from(width)?.max(0) as usize;
            state.consume_fuel(width as u64 / 64)?;
            Some(" ".repeat(width))
        }
    };
    let (between_items, after_key) = match separators {
        Some(pair) => {
            let part = |index| text(state, &pair.get_item_by_index(index)?);
            (part(0)?, part(1)?)
        }
        None => (if indent.is_some() { "," } else { ", " }.into(), ": ".into()),
    };
    let mut writer = Writer {
        state,
        ensure_ascii,
        indent,
        between_items,
        after_key,
        sort_keys,
        text: String::new(),
        depth: 0,
    };
    writer.value(value)?;
    Ok(writer.text)
}

struct Writer<'a> {
    state: &'a State<'a, 'a>,
    ensure_ascii: bool,
    indent: Option<String>,
    between_items: String,
    after_key: String,
    sort_keys: bool,
    text: String,
    depth: usize,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value) -> Result<(), Error> {
        self.state.consume_fuel(1)?;
        match value.kind() {
            ValueKind::None => self.text.push_str("null"),
            ValueKind::Bool => self.text.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.text.push_str(&number(value)),
            ValueKind::String => self.string(value.as_str().unwrap_or_default())?,
            ValueKind::Map => {
                let mut keys = value.try_iter()?.collect::<Vec<_>>();
                if self.sort_keys {
                    keys.sort();
                }
                self.items("{", keys, "}", |writer, key| {
                    writer.key(&key)?;
                    writer.text.push_str(&writer.after_key);
                    writer.value(&value.get_item(&key)?)
                })?;
            }
            ValueKind::Seq | ValueKind::Iterable => {
                let items = value.try_iter()?.collect();
                self.items("[", items, "]", |writer, item| writer.value(&item))?;
            }
            kind => return Err(not_json(kind)),
        }
        Ok(())
    }

    fn items(
        &mut self,
        open: &str,
        items: Vec<Value>,
        close: &str,
        write: impl Fn(&mut Self, Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.depth == MAX_DEPTH {
            return Err(Error::new(ErrorKind::BadSerialization, "nested too deeply for JSON"));
        }
        self.text.push_str(open);
        let some = !items.is_empty();
        let around = self.between_items.len() + self.after_key.len();
        self.state.consume_fuel((items.len() * around) as u64 / 64)?;
        self.depth += 1;
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.text.push_str(&self.between_items);
            }
            self.new_line()?;
            write(self, item)?;
        }
        self.depth -= 1;
        if some {
            self.new_line()?;
        }
        self.text.push_str(close);
        Ok(())
    }

    fn new_line(&mut self) -> Result<(), Error> {
        if let Some(indent) = &self.indent {
            self.state.consume_fuel((indent.len() * self.depth) as u64 / 64)?;
            self.text.push('\n');
            self.text.push_str(&indent.repeat(self.depth));
        }
        Ok(())
    }

    /// Python converts keys of these kinds to strings; other kinds are an error there too.
    fn key(&mut self, key: &Value) -> Result<(), Error> {
        match key.kind() {
            ValueKind::String => self.string(key.as_str().unwrap_or_default()),
            ValueKind::None | ValueKind::Bool | ValueKind::Number => {
                self.text.push('"');
                self.value(key)?;
                self.text.push('"');
                Ok(())
            }
            kind => Err(not_json(kind)),
        }
    }

    fn string(&mut self, text: &str) -> Result<(), Error> {
        self.state.consume_fuel(text.len() as u64 / 64)?;
        self.text.push('"');
        for c in text.chars() {
            match c {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\u{8}' => self.text.push_str("\\b"),
                '\u{c}' => self.text.push_str("\\f"),
                c if c < ' ' || (self.ensure_ascii && c > '~') => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        self.text.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => self.text.push(c),
            }
        }
        self.text.push('"');
        Ok(())
    }
}

fn not_json(kind: ValueKind) -> Error {
    Error::new(ErrorKind::BadSerialization, format!("{kind} has no form in JSON"))
}
