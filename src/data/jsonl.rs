//! The user's own data: one JSON object a line with `prompt`, `response` (a demonstration) and
//! `answer` (gold). Every doubt is an error with its file and line; nothing is guessed.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::records::Example;

/// The fields of a line.
const FIELDS: [&str; 3] = ["prompt", "response", "answer"];
/// Bad lines shown in one error: enough to see a pattern, few enough to read.
const MAX_BAD_LINES: usize = 5;

/// The fields that the method can't do without; `prompt` is always needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// A demonstration on every line: any method with a supervised term.
    pub response: bool,
    /// A gold answer on every line: any method with rewards, and every evaluation.
    pub answer: bool,
}

/// Reads the examples of a JSONL text; `file` gives errors their place and the suite its name (the
/// stem). Example i stands on line i + 1. Where `answer` isn't needed and isn't there, it is empty.
pub fn parse(text: &str, file: &str, needs: Needs) -> Result<Vec<Example>> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text).trim_end();
    if text.is_empty() {
        return Err(Error::input("no examples: the file is empty").at(file).next(EXPECTED));
    }
    let suite = stem(file);
    let (mut examples, mut bad) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        match example(line, suite, needs) {
            Ok(example) => examples.push(example),
            Err(reason) => bad.push(format!("{file}:{}: {reason}", index + 1)),
        }
    }
    if bad.is_empty() {
        return Ok(examples);
    }
    let hidden = bad.len().saturating_sub(MAX_BAD_LINES);
    bad.truncate(MAX_BAD_LINES);
    if hidden > 0 {
        bad.push(format!("and {hidden} more bad lines"));
    }
    Err(Error::input(bad.join("\n")).next(EXPECTED))
}

const EXPECTED: &str =
    r#"each line must be an object such as {"prompt": "2+2=", "response": "2+2=4", "answer": "4"}"#;

/// One line's example, or why there is none.
fn example(line: &str, suite: &str, needs: Needs) -> std::result::Result<Example, String> {
    if line.trim().is_empty() {
        return Err("blank line; they may stand at the end of the file only".into());
    }
    let Fields(fields) = serde_json::from_str(line).map_err(|e| json_reason(&e))?;
    let [mut prompt, mut response, mut answer] = [const { None }; 3];
    for (name, value) in fields {
        let slot = match name.as_str() {
            "prompt" => &mut prompt,
            "response" => &mut response,
            "answer" => &mut answer,
            _ => return Err(unknown_field(&name)),
        };
        if slot.is_some() {
            return Err(format!("field `{name}` stands here twice"));
        }
        *slot = Some(non_empty(&name, value)?);
    }
    let missing = |name: &str, why: &str| format!("no `{name}`, {why}");
    if needs.response && response.is_none() {
        return Err(missing("response", "which this method needs as demonstration"));
    }
    if needs.answer && answer.is_none() {
        return Err(missing("answer", "which the verifier needs as gold answer"));
    }
    Ok(Example {
        suite: suite.to_string(),
        prompt: prompt.ok_or_else(|| missing("prompt", "which every line needs"))?,
        demonstration: response,
        answer: answer.unwrap_or_default(),
    })
}

/// The text of a field.
fn non_empty(name: &str, value: Value) -> std::result::Result<String, String> {
    let kind = match &value {
        Value::String(text) if text.trim().is_empty() => {
            return Err(format!("`{name}` is empty; expected some text"));
        }
        Value::String(text) => return Ok(text.clone()),
        Value::Number(number) => {
            return Err(format!(
                "`{name}` is the number {number}; expected a string: write \"{number}\""
            ));
        }
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    Err(format!("`{name}` is {kind}; expected a string"))
}

fn unknown_field(name: &str) -> String {
    let nearest = FIELDS.iter().min_by_key(|field| strsim::levenshtein(name, field));
    let nearest = nearest.copied().unwrap_or_default();
    format!("unknown field `{name}`; the nearest known one is `{nearest}` (of {})", {
        FIELDS.map(|field| format!("`{field}`")).join(", ")
    })
}

/// serde_json's reason without its "at line 1", which isn't the file's line.
fn json_reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or(&text);
    match error.column() {
        0 => format!("not a JSON object: {reason}"),
        column => format!("not a JSON object: {reason}, column {column}"),
    }
}

/// A file's name without its folders and its last extension.
fn stem(file: &str) -> &str {
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => name,
    }
}

/// An object's fields in order, repeated ones included: a map would silently keep the last.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Fields;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("an object with `prompt`, `response` and `answer`")
            }

            fn visit_map<A>(self, mut map: A) -> std::result::Result<Fields, A::Error>
            where
                A: MapAccess<'de>,
            {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Needs = Needs { response: true, answer: true };
    const NONE: Needs = Needs { response: false, answer: false };
    const GOOD: &str = r#"{"prompt": "2+2=", "response": "2+2=4", "answer": "4"}"#;

    #[test]
    fn a_good_file_gives_its_examples_in_order() {
        let text =
            format!("\u{FEFF}{GOOD}\r\n{GOOD}\n{{\"answer\":\"5\",\"prompt\":\"é\"}}\n\n \n");
        let examples = parse(&text, "folder/my.sums.jsonl", NONE).unwrap();
        assert_eq!(examples.len(), 3, "equal lines stay separate examples");
        assert_eq!(examples[0], examples[1]);
        assert_eq!(examples[0].suite, "my.sums");
        assert_eq!(examples[0].prompt, "2+2=");
        assert_eq!(examples[0].demonstration.as_deref(), Some("2+2=4"));
        assert_eq!((examples[2].prompt.as_str(), examples[2].answer.as_str()), ("é", "5"));
        assert_eq!(examples[2].demonstration, None);
    }

    #[test]
    fn an_answer_that_is_not_needed_may_be_absent() {
        let examples = parse(r#"{"prompt": "a", "response": "b"}"#, "x", NONE).unwrap();
        assert_eq!((examples[0].suite.as_str(), examples[0].answer.as_str()), ("x", ""));
    }

    #[test]
    fn each_kind_of_bad_line_says_what_was_expected() {
        for (line, reason) in [
            ("", "blank line"),
            ("{\"prompt\": \"a\"", "not a JSON object: EOF while parsing an object, column 14"),
            ("[1]", "expected an object with `prompt`"),
            ("\"text\"", "expected an object with `prompt`"),
            ("{} {}", "trailing characters"),
            ("{'prompt': 'a'}", "key must be a string"),
            (r#"{"response": "a", "answer": "b"}"#, "no `prompt`"),
            (r#"{"prompt": "a", "answer": "b"}"#, "no `response`, which this method needs"),
            (r#"{"prompt": "a", "response": "b"}"#, "no `answer`, which the verifier needs"),
            (r#"{"prompt": "", "response": "b", "answer": "c"}"#, "`prompt` is empty"),
            (r#"{"prompt": "a", "response": " ", "answer": "c"}"#, "`response` is empty"),
            (r#"{"prompt": "a", "response": "b", "answer": 4.5}"#, r#"write "4.5""#),
            (r#"{"prompt": null}"#, "`prompt` is null; expected a string"),
            (r#"{"prompt": true}"#, "`prompt` is a boolean; expected a string"),
            (r#"{"prompt": ["a"]}"#, "`prompt` is an array; expected a string"),
            (r#"{"prompt": {"a": 1}}"#, "`prompt` is an object; expected a string"),
            (r#"{"prompt": "a", "prompt": "b"}"#, "field `prompt` stands here twice"),
            (r#"{"promt": "a"}"#, "unknown field `promt`; the nearest known one is `prompt`"),
            (r#"{"Answers": "a"}"#, "unknown field `Answers`; the nearest known one is `answer`"),
        ] {
            let text = format!("{GOOD}\n{line}\n{GOOD}\n");
            let error = parse(&text, "data.jsonl", ALL).unwrap_err();
            assert!(error.what.starts_with("data.jsonl:2: "), "{line}: {error}");
            assert!(error.what.contains(reason), "{line}: {error}");
            assert!(!error.what.contains("line 1"), "{line}: {error}");
        }
    }

    #[test]
    fn five_bad_lines_are_shown_and_the_rest_counted() {
        let text = format!("{GOOD}\n{}", "{}\n".repeat(7));
        let error = parse(&text, "data.jsonl", NONE).unwrap_err();
        let lines: Vec<&str> = error.what.lines().collect();
        assert_eq!(lines.len(), 6);
        assert!(lines[0].starts_with("data.jsonl:2: ") && lines[4].starts_with("data.jsonl:6: "));
        assert_eq!(lines[5], "and 2 more bad lines");
    }

    #[test]
    fn an_empty_file_is_an_error() {
        for text in ["", "\n \n", "\u{FEFF}"] {
            let error = parse(text, "data.jsonl", NONE).unwrap_err();
            assert_eq!(error.place.as_deref(), Some("data.jsonl"));
        }
    }

    #[test]
    fn stems_of_all_platforms() {
        for (file, expected) in [
            ("a.jsonl", "a"),
            ("/x/y.z/a.b.jsonl", "a.b"),
            (r"C:\data\sums.jsonl", "sums"),
            ("plain", "plain"),
            (".jsonl", ".jsonl"),
        ] {
            assert_eq!(stem(file), expected);
        }
    }
}
