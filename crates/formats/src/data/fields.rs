//! Fields as users write them: JSON without repeated keys, and the wording that errors use for names
//! and values.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, error::Category};

/// A value, or the reason why there is none; the file's reader adds the line.
pub type Result<T, E = String> = std::result::Result<T, E>;

/// The fields of a row and the line on which it starts.
pub type Record = Result<(usize, Map<String, Value>), Bad>;
/// A file's records, read lazily.
pub type Records<'a> = Box<dyn Iterator<Item = Record> + 'a>;

/// Why a row can't be read.
#[derive(Debug)]
pub struct Bad {
    /// The line of the error, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub reason: String,
}

/// At most two edits count as a misspelling; three are another word.
const NEAR: usize = 2;
/// Most names that one message lists.
const MAX_LISTED: usize = 10;

/// Reads one JSON value. An object that repeats a key is an error, where a map would silently keep
/// the last value.
pub fn parse(json: &str) -> serde_json::Result<Value> {
    serde_json::from_str(json).map(|Unique(value)| value)
}

/// serde_json's reason without its "at line 1", which is not the file's line.
pub fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or(&text);
    match (error.classify(), error.column()) {
        (Category::Data, _) => reason.to_string(),
        (_, 0) => format!("not JSON: {reason}"),
        (_, column) => format!("not JSON: {reason}, column {column}"),
    }
}

/// What a value is, in words.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The text of a field.
pub fn text((name, value): (&str, Value)) -> Result<String> {
    match value {
        Value::String(text) if text.trim().is_empty() => {
            Err(format!("`{name}` is empty; expected some text"))
        }
        Value::String(text) => Ok(text),
        Value::Number(number) => {
            Err(format!("`{name}` is the number {number}; expected a string: write \"{number}\""))
        }
        other => Err(format!("`{name}` is {}; expected a string", kind(&other))),
    }
}

/// The name among `known` that differs from `name` only in case and at most two edits.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    let distance = |known: &&str| strsim::levenshtein(&name, known);
    // Most names are ruled out by their length; a file may have millions.
    let possible = known.iter().copied().filter(|k| k.len().abs_diff(name.len()) <= NEAR);
    possible.min_by_key(distance).filter(|known| distance(known) <= NEAR)
}

/// Names in a list that stays short enough to read.
pub fn listed<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    let mut names = names.into_iter();
    let shown: Vec<String> =
        names.by_ref().take(MAX_LISTED).map(|name| format!("`{}`", name.as_ref())).collect();
    match names.count() {
        0 => shown.join(", "),
        hidden => format!("{} and {hidden} more", shown.join(", ")),
    }
}

/// A value whose objects, at any depth, repeat no key.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Values).map(Unique)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Unique(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if fields.contains_key(&name) {
                return Err(A::Error::custom(format!("field `{name}` is given twice")));
            }
            fields.insert(name, map.next_value::<Unique>()?.0);
        }
        Ok(fields.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_serde_json() {
        for json in [
            r#"{"z": 1, "a": [null, true, "é\n", -2, 4.50, 18446744073709551615], "m": {}}"#,
            r#"[{"a": 1}, {"a": 1}]"#,
            "0.1",
            "\"text\"",
        ] {
            let expected: Value = serde_json::from_str(json).unwrap();
            assert_eq!(parse(json).unwrap().to_string(), expected.to_string());
        }
    }

    #[test]
    fn reasons_tell_columns_and_no_lines() {
        for (json, expected) in [
            (r#"{"a": 1, "a": 1}"#, "field `a` is given twice"),
            (r#"[{"b": {"a": 1, "b": 2, "a": 3}}]"#, "field `a` is given twice"),
            (r#"{"a": 1"#, "not JSON: EOF while parsing an object, column 7"),
            ("{} {}", "not JSON: trailing characters, column 4"),
            ("[1e999]", "not JSON: number out of range, column 6"),
            ("", "not JSON: EOF while parsing a value"),
        ] {
            assert_eq!(reason(&parse(json).unwrap_err()), expected, "{json}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        assert!(parse(&"[".repeat(100_000)).unwrap_err().to_string().contains("recursion limit"));
    }

    #[test]
    fn a_slip_of_the_pen_or_two_is_near() {
        for (name, expected) in [
            ("answer", Some("answer")),
            ("Answers", Some("answer")),
            ("promt", Some("prompt")),
            ("rpomt", None),
            ("", None),
            ("приклад", None),
        ] {
            assert_eq!(nearest(name, &["prompt", "answer"]), expected, "{name}");
        }
        assert_eq!(nearest("prompt", &[]), None);
    }
}
