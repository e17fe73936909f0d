//! CSV (RFC 4180): a header with the fields' names, then one record per row. An empty cell means that
//! the field is missing; a cell that holds objects, such as messages, is JSON.

use csv::{ReaderBuilder, StringRecord};
use serde_json::{Map, Value};
use std::iter::{empty, from_fn, once};

use super::fields::{self, Bad, Records, Result};

/// The objects in the rows of a text.
pub fn records(text: &str) -> Records<'_> {
    let mut lines = lines(text);
    let Some(first) = lines.next() else { return Box::new(empty()) };
    match first.and_then(|(line, cells)| at(line, names(&cells))) {
        Ok((_, names)) => Box::new(lines.map(move |record| {
            let (line, cells) = record?;
            at(line, object(&names, &cells))
        })),
        Err(bad) => Box::new(once(Err(bad))),
    }
}

fn at<T>(line: usize, result: Result<T>) -> Result<(usize, T), Bad> {
    result.map(|value| (line, value)).map_err(|reason| Bad { line, reason })
}

/// Records and the lines on which they start. The csv crate's own line count skips blank lines, and it
/// would let an unclosed quote swallow the rest of the file.
fn lines(text: &str) -> impl Iterator<Item = Result<(usize, StringRecord), Bad>> {
    let mut reader =
        ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut line = 1;
    from_fn(move || {
        let start = reader.position().byte() as usize;
        let mut cells = StringRecord::new();
        if !reader.read_record(&mut cells).expect("a text in memory") {
            return None;
        }
        let read = &text[start..reader.position().byte() as usize];
        let record = read.trim_start_matches(['\r', '\n']);
        let first = line + newlines(&read[..read.len() - record.len()]);
        line += newlines(read);
        Some(match record.matches('"').count() % 2 {
            0 => Ok((first, cells)),
            _ => at(first, Err("a quote is not closed; a quote in a cell is written \"\"".into())),
        })
    })
}

fn newlines(text: &str) -> usize {
    text.matches('\n').count()
}

/// The fields' names. A column without a name, such as pandas' index, is named by its number.
fn names(header: &StringRecord) -> Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for (index, cell) in header.iter().enumerate() {
        let name = match cell.trim() {
            "" => format!("column {}", index + 1),
            name => name.to_string(),
        };
        if names.contains(&name) {
            return Err(format!("column `{name}` is in the header twice"));
        }
        names.push(name);
    }
    Ok(names)
}

fn object(names: &[String], cells: &StringRecord) -> Result<Map<String, Value>> {
    if cells.len() != names.len() {
        return Err(format!("{} cells, but the header has {}", cells.len(), names.len()));
    }
    let pairs = names.iter().zip(cells).filter(|(_, cell)| !cell.is_empty());
    pairs.map(|(name, cell)| Ok((name.clone(), value(name, cell)?))).collect()
}

/// A cell's value. Ordinary text may begin with a bracket (`[INST] …`), but hardly with a bracket and a
/// brace.
fn value(name: &str, cell: &str) -> Result<Value> {
    let starts =
        |open: &str| open.chars().try_fold(cell, |rest, c| rest.trim_start().strip_prefix(c));
    let is_json = match name {
        "prompt" | "response" | "completion" | "messages" => starts("[{").is_some(),
        "chat_template_kwargs" => starts("{").is_some(),
        _ => false,
    };
    if !is_json {
        return Ok(cell.into());
    }
    fields::parse(cell).map_err(|e| {
        format!("`{name}` is {}; json.dumps would write it as JSON", fields::reason(&e))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each record as its line and its object, or the line and the reason.
    fn read(text: &str) -> Vec<(usize, String)> {
        let shown = |record: Result<(usize, Map<String, Value>), Bad>| match record {
            Ok((line, fields)) => (line, Value::Object(fields).to_string()),
            Err(bad) => (bad.line, bad.reason),
        };
        records(text).map(shown).collect()
    }

    #[test]
    fn cells_become_fields_on_the_line_where_their_record_starts() {
        for (text, line, object) in [
            ("prompt,answer\na,4.50", 2, r#"{"prompt":"a","answer":"4.50"}"#),
            ("prompt, answer \r\n\r\n\r\n a ,\r\n", 4, r#"{"prompt":" a "}"#),
            ("\n\nprompt\n\"a\nb\"\n", 4, r#"{"prompt":"a\nb"}"#),
            ("prompt\n\"say \"\"hi\"\", then go\"", 2, r#"{"prompt":"say \"hi\", then go"}"#),
            (",prompt,\n0,é,\n", 2, r#"{"column 1":"0","prompt":"é"}"#),
            ("prompt\n[INST] a", 2, r#"{"prompt":"[INST] a"}"#),
            ("answer\n\"[{\"", 2, r#"{"answer":"[{"}"#),
            ("messages\n\"[ {\"\"role\"\": 1}]\"", 2, r#"{"messages":[{"role":1}]}"#),
            ("chat_template_kwargs\n\"{\"\"a\"\": 1}\"", 2, r#"{"chat_template_kwargs":{"a":1}}"#),
        ] {
            assert_eq!(read(text), [(line, object.to_string())], "{text:?}");
        }
    }

    #[test]
    fn lines_are_counted_through_cells_and_blank_lines() {
        let text = "id\n\n\"a\r\nb\"\r\n\r\nc\n\nd";
        let lines: Vec<usize> = read(text).into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [3, 6, 8]);
    }

    #[test]
    fn each_kind_of_bad_record_is_found_and_those_after_it_too() {
        for (text, expected) in [
            (
                "a,b\n1\n2,3,4\n",
                [(2, "1 cells, but the header has 2"), (3, "3 cells, but")].to_vec(),
            ),
            ("a\n\"1\n2\n", vec![(2, "a quote is not closed")]),
            (
                "a,b\n1,5\" disk\n2,3",
                vec![(2, "a quote is not closed"), (3, r#"{"a":"2","b":"3"}"#)],
            ),
            ("a,b, a\n1,2,3", vec![(1, "column `a` is in the header twice")]),
            ("\"a\n1", vec![(1, "a quote is not closed")]),
            ("prompt\n[{'role': 'user'}]", vec![(2, "`prompt` is not JSON: key must be a string")]),
            ("messages\n\"[{\"\"a\"\":1,\"\"a\"\":2}]\"", vec![(2, "field `a` is given twice")]),
        ] {
            let found = read(text);
            assert_eq!(found.len(), expected.len(), "{text:?}: {found:?}");
            for ((line, reason), (expected_line, expected)) in found.iter().zip(expected) {
                assert_eq!(*line, expected_line, "{text:?}: {reason}");
                assert!(reason.contains(expected), "{text:?}: {reason}");
            }
        }
    }
}
