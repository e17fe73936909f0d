//! Python's `str` and `repr` of a template's values.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

/// How deep lists and objects may nest when printed: about Python's own limit.
pub const MAX_DEPTH: usize = 1000;

/// `str(value)`: a string unchanged, undefined as nothing, else its `repr`.
pub fn text(state: &State, value: &Value) -> Result<String, Error> {
    let mut text = value.as_str().unwrap_or_default().to_string();
    if !matches!(value.kind(), ValueKind::String | ValueKind::Undefined) {
        write(state, value, 0, &mut text)?;
    }
    Ok(text)
}

fn write(state: &State, value: &Value, depth: usize, text: &mut String) -> Result<(), Error> {
    state.consume_fuel(1)?;
    if depth > MAX_DEPTH {
        return Err(Error::new(ErrorKind::InvalidOperation, "nested too deeply to be printed"));
    }
    match value.kind() {
        ValueKind::String => {
            let string = value.as_str().unwrap_or_default();
            state.consume_fuel(string.len() as u64 / 64)?;
            quote(string, text);
        }
        ValueKind::Number => text.push_str(&number(value)),
        ValueKind::Undefined => text.push_str("Undefined"),
        ValueKind::Seq | ValueKind::Iterable => {
            let tuple = value.is_tuple();
            text.push(if tuple { '(' } else { '[' });
            for (index, item) in value.try_iter()?.enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                write(state, &item, depth + 1, text)?;
            }
            text.push_str(match (tuple, value.len()) {
                (true, Some(1)) => ",)",
                (true, _) => ")",
                (false, _) => "]",
            });
        }
        ValueKind::Map => {
            text.push('{');
            for (index, key) in value.try_iter()?.enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                write(state, &key, depth + 1, text)?;
                text.push_str(": ");
                write(state, &value.get_item(&key)?, depth + 1, text)?;
            }
            text.push('}');
        }
        _ => text.push_str(&value.to_string()),
    }
    Ok(())
}

/// A number: the shortest digits that read back as it, with an exponent below 1e-4 and from 1e16 on.
pub fn number(value: &Value) -> String {
    let float = match f64::try_from(value.clone()) {
        Ok(float) if !value.is_integer() => float,
        _ => return value.to_string(),
    };
    let scientific = format!("{float:e}");
    match scientific.split_once('e').map(|(digits, power)| (digits, power.parse::<i32>())) {
        Some((_, Ok(-4..16))) => format!("{float:?}"),
        Some((digits, Ok(power))) => {
            let sign = if power < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", power.abs())
        }
        _ => value.to_string(),
    }
}

fn quote(string: &str, text: &mut String) {
    let quote = if string.contains('\'') && !string.contains('"') { '"' } else { '\'' };
    text.push(quote);
    for c in string.chars() {
        match c {
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\\' => text.push_str("\\\\"),
            c if c == quote => text.extend(['\\', c]),
            c if is_printable(c) => text.push(c),
            c => text.push_str(&match u32::from(c) {
                code @ ..=0xff => format!("\\x{code:02x}"),
                code @ ..=0xffff => format!("\\u{code:04x}"),
                code => format!("\\U{code:08x}"),
            }),
        }
    }
    text.push(quote);
}

/// Python's `str.isprintable`. Rust's `escape_debug` uses the same Unicode categories; after a letter,
/// it does not escape marks.
fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~') || ['a', c].iter().collect::<String>().escape_debug().eq(['a', c])
}
