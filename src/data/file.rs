//! The user's own data: a file of rows as JSONL, JSON or CSV. Every doubt is an error with its file
//! and line; nothing is guessed.

use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeSet;

use super::fields::{self, Bad, Record, Records, kind, listed};
use super::shape::{self, Needs, Row};
use crate::error::{Error, Result};

/// Bad lines shown in one error: enough to see a pattern, few enough to read.
const MAX_BAD_LINES: usize = 5;

const EXPECTED: &str = concat!(
    r#"each row must be an object such as {"prompt": "2+2=", "response": "2+2=4", "answer": "4"} "#,
    r#"or {"messages": [{"role": "user", "content": "2+2="}, "#,
    r#"{"role": "assistant", "content": "4"}]}; in CSV the header has the names"#,
);

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// The examples in the file's order; equal ones stay apart.
    pub rows: Vec<Row>,
    /// What the user should hear.
    pub notes: Vec<String>,
}

/// Reads the rows of a file; its name tells the format and gives errors their place.
pub fn parse(bytes: &[u8], file: &str, needs: Needs) -> Result<Rows> {
    let bytes = bytes.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(bytes).trim_ascii_end();
    if bytes.is_empty() {
        return Err(Error::input("no examples: the file is empty").at(file).next(EXPECTED));
    }
    let records = reader(file, bytes)?(utf8(bytes, file)?);
    let (mut rows, mut bad, mut hidden) = (Vec::new(), Vec::new(), 0);
    for record in records {
        let row = record.and_then(|(line, fields)| {
            shape::row(line, fields, needs).map_err(|reason| Bad { line, reason })
        });
        match row {
            Ok(row) => rows.push(row),
            Err(_) if bad.len() == MAX_BAD_LINES => hidden += 1,
            Err(Bad { line, reason }) => bad.push(format!("{file}:{line}: {reason}")),
        }
    }
    if hidden > 0 {
        bad.push(format!("and {hidden} more bad lines"));
    }
    if !bad.is_empty() {
        return Err(Error::input(bad.join("\n")).next(EXPECTED));
    }
    if rows.is_empty() {
        return Err(Error::input("no examples: the file has no rows").at(file).next(EXPECTED));
    }
    let mut ignored = BTreeSet::new();
    ignored.extend(rows.iter().flat_map(|row| row.extra.keys()));
    let note = || format!("{file}: ignored columns: {} (passed to --reward-cmd)", listed(&ignored));
    let notes = Vec::from_iter((!ignored.is_empty()).then(note));
    Ok(Rows { rows, notes })
}

/// A file's name without its folders and its last extension: the suite's name in reports.
pub fn stem(file: &str) -> &str {
    split_name(file).0
}

/// A file's name without its folders, in two: before the last full stop and after it.
fn split_name(file: &str) -> (&str, &str) {
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => (stem, extension),
        _ => (name, ""),
    }
}

type Reader = for<'a> fn(&'a str) -> Records<'a>;

/// The reader for a file, by its name and, where that says nothing, by its first character.
fn reader(file: &str, bytes: &[u8]) -> Result<Reader> {
    let (stem, extension) = split_name(file);
    let is_object = bytes.trim_ascii_start().starts_with(b"{");
    match extension.to_ascii_lowercase().as_str() {
        "jsonl" => Ok(json_lines),
        "csv" => csv(file),
        "parquet" => Err(Error::input("Parquet can't be read").at(file).next(format!(
            "convert it: python -c \"import pandas; pandas.read_parquet(r'{file}')\
             .to_json('{stem}.jsonl', orient='records', lines=True)\""
        ))),
        // pandas and others call JSONL .json too.
        _ if is_object => Ok(json_lines),
        "json" => Ok(json_array),
        _ => Err(Error::input("the file's name doesn't tell its format")
            .at(file)
            .next("name it .jsonl (an object a line), .json (an array of objects) or .csv")),
    }
}

fn utf8<'a>(bytes: &'a [u8], file: &str) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|e| {
        let line = 1 + newlines(&bytes[..e.valid_up_to()]);
        Error::input("the file is not UTF-8 text")
            .at(format!("{file}:{line}"))
            .next("save it as UTF-8")
    })
}

fn newlines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'\n').count()
}

/// JSONL: an object a line.
fn json_lines(text: &str) -> Records<'_> {
    Box::new(text.lines().enumerate().map(|(index, line)| match line.trim().is_empty() {
        true => Err(Bad {
            line: index + 1,
            reason: "blank line; they may stand at the end of the file only".into(),
        }),
        false => object(line, index + 1),
    }))
}

/// JSON: one array of objects, however it is laid out.
fn json_array(text: &str) -> Records<'_> {
    let elements: Vec<&RawValue> = match serde_json::from_str(text) {
        Ok(elements) => elements,
        Err(e) => {
            let reason = match e.is_data() {
                true => "expected an array of objects".into(),
                false => fields::reason(&e),
            };
            return Box::new(std::iter::once(Err(Bad { line: e.line(), reason })));
        }
    };
    let (mut line, mut read) = (1, 0);
    Box::new(elements.into_iter().map(move |element| {
        let json = element.get();
        // The elements are slices of the text.
        let start = json.as_ptr().addr() - text.as_ptr().addr();
        line += newlines(&text.as_bytes()[read..start]);
        read = start;
        object(json, line)
    }))
}

/// The object that is written from `line` on.
fn object(json: &str, line: usize) -> Record {
    match fields::parse(json) {
        Ok(Value::Object(fields)) => Ok((line, fields)),
        Ok(other) => {
            let kind = kind(&other);
            let reason = format!("{kind}; expected an object with `prompt`, `messages` or `text`");
            Err(Bad { line, reason })
        }
        Err(e) => Err(Bad { line: line + e.line().saturating_sub(1), reason: fields::reason(&e) }),
    }
}

#[cfg(target_family = "wasm")]
fn csv(file: &str) -> Result<Reader> {
    Err(Error::input("a browser can't read CSV").at(file).next("convert it to JSONL"))
}

#[cfg(not(target_family = "wasm"))]
fn csv(_: &str) -> Result<Reader> {
    Ok(super::csv::records)
}

#[cfg(test)]
mod tests {
    use super::super::shape::Content;
    use super::*;

    const ALL: Needs = Needs { response: true, answer: true };
    const NONE: Needs = Needs { response: false, answer: false };
    const GOOD: &str = r#"{"prompt": "2+2=", "response": "2+2=4", "answer": "4"}"#;

    fn lines_of(rows: &Rows) -> Vec<usize> {
        rows.rows.iter().map(|row| row.line).collect()
    }

    #[test]
    fn json_lines_give_their_rows_in_order() {
        let text =
            format!("\u{FEFF}{GOOD}\r\n{GOOD}\n{{\"answer\":\"5\",\"prompt\":\"é\"}}\n\n \n");
        let rows = parse(text.as_bytes(), "folder/my.sums.jsonl", NONE).unwrap();
        assert_eq!(lines_of(&rows), [1, 2, 3], "equal lines stay separate rows");
        assert_eq!(rows.rows[0].content, rows.rows[1].content);
        assert_eq!(rows.rows[2].answer.as_deref(), Some("5"));
        let Content::Completion { prompt, response } = &rows.rows[2].content else { panic!() };
        assert_eq!((prompt.as_str(), response), ("é", &None));
        assert_eq!(rows.notes, [""; 0]);
    }

    #[test]
    fn an_array_may_be_laid_out_in_any_way() {
        for (text, lines) in [
            (format!("[{GOOD},{GOOD}]"), vec![1, 1]),
            (
                format!("\u{FEFF}\n[\n\n  {GOOD}\n,{GOOD}, {{\n\"prompt\":\r\n\"a\"\n}} ]\n"),
                vec![4, 5, 5],
            ),
        ] {
            let rows = parse(text.as_bytes(), "data.json", NONE).unwrap();
            assert_eq!(lines_of(&rows), lines, "{text}");
        }
    }

    #[test]
    fn bad_rows_of_an_array_are_found_on_their_lines() {
        for (text, line, reason) in [
            (format!("[\n{GOOD},\n[1],\n{GOOD}]"), 3, "an array; expected an object with `prompt`"),
            (format!("[\n{GOOD},\n{{\n\"prompt\": 1}}]"), 3, "`prompt` is the number 1"),
            ("[{\n\"a\": 1,\n\"a\": 2\n}]".into(), 3, "field `a` stands here twice"),
            (format!("[{GOOD}\n{GOOD}]"), 2, "not JSON: expected `,` or `]`, column 1"),
            (format!("[\n{GOOD},\n]"), 3, "not JSON: trailing comma"),
            (format!("[\n{GOOD}\n]\n]"), 4, "not JSON: trailing characters"),
            ("\n\"a\"".into(), 2, "expected an array of objects"),
        ] {
            let error = parse(text.as_bytes(), "data.json", ALL).unwrap_err();
            assert!(error.what.starts_with(&format!("data.json:{line}: ")), "{text}: {error}");
            assert!(error.what.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn each_kind_of_bad_line_is_found_on_its_line() {
        for (line, reason) in [
            ("", "blank line"),
            ("{\"prompt\": \"a\"", "not JSON: EOF while parsing an object, column 14"),
            ("[1]", "an array; expected an object with `prompt`"),
            ("\"text\"", "a string; expected an object with `prompt`"),
            ("{} {}", "trailing characters"),
            ("{'prompt': 'a'}", "key must be a string"),
            (r#"{"prompt": "a", "prompt": "b"}"#, "field `prompt` stands here twice"),
            (r#"{"prompt": "a", "answer": "b"}"#, "no `response`"),
        ] {
            let text = format!("{GOOD}\n{line}\n{GOOD}\n");
            let error = parse(text.as_bytes(), "data.jsonl", ALL).unwrap_err();
            assert!(error.what.starts_with("data.jsonl:2: "), "{line}: {error}");
            assert!(error.what.contains(reason), "{line}: {error}");
            assert!(!error.what.contains("line 1"), "{line}: {error}");
        }
    }

    #[test]
    fn five_bad_lines_are_shown_and_the_rest_counted() {
        let text = format!("{GOOD}\n{}", "{}\n".repeat(7));
        let error = parse(text.as_bytes(), "data.jsonl", NONE).unwrap_err();
        let lines: Vec<&str> = error.what.lines().collect();
        assert_eq!(lines.len(), 6);
        assert!(lines[0].starts_with("data.jsonl:2: ") && lines[4].starts_with("data.jsonl:6: "));
        assert_eq!(lines[5], "and 2 more bad lines");
    }

    #[test]
    fn names_tell_the_format() {
        let array = format!("[{GOOD}]");
        let table = "prompt\n2+2=";
        for (file, text, error) in [
            ("a.JSONL", GOOD, None),
            ("a.json", &array, None),
            ("a.json", GOOD, None),
            ("a.csv", table, None),
            ("a", GOOD, None),
            ("a.txt", &format!(" {GOOD}"), None),
            ("a.txt", table, Some("name it .jsonl")),
            ("a.txt", &array, Some("name it .jsonl")),
            ("a.jsonl", &array, Some("each row must be an object")),
            ("b/a.parquet", GOOD, Some("pandas.read_parquet(r'b/a.parquet').to_json('a.jsonl', ")),
        ] {
            let next = parse(text.as_bytes(), file, NONE).err().and_then(|e| e.next);
            match (next, error) {
                (None, None) => {}
                (Some(next), Some(error)) => assert!(next.contains(error), "{file}: {next}"),
                (next, _) => panic!("{file}: {next:?}"),
            }
        }
    }

    #[test]
    fn files_without_rows_are_errors() {
        for (file, text) in [
            ("a.jsonl", ""),
            ("a.jsonl", "\n \n"),
            ("a.jsonl", "\u{FEFF}"),
            ("a.json", "[]"),
            ("a.csv", "prompt,answer\n"),
        ] {
            let error = parse(text.as_bytes(), file, NONE).unwrap_err();
            assert!(error.what.starts_with("no examples"), "{error}");
            assert_eq!(error.place.as_deref(), Some(file));
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_found_on_their_line() {
        let error = parse(b"{}\n{\"prompt\": \"\xe9\"}", "a.jsonl", NONE).unwrap_err();
        assert_eq!(error.place.as_deref(), Some("a.jsonl:2"));
    }

    #[test]
    fn ignored_columns_are_told_once() {
        let text = r#"{"prompt": "a", "level": 1}
            {"prompt": "a", "id": 1, "level": 2}"#;
        let rows = parse(text.as_bytes(), "a.jsonl", NONE).unwrap();
        assert_eq!(
            rows.notes,
            ["a.jsonl: ignored columns: `id`, `level` (passed to --reward-cmd)"]
        );
        assert_eq!(rows.rows[1].extra["id"], 1);
        let extra: Vec<String> = (10..22).map(|i| format!(r#""x{i}": 0"#)).collect();
        let text = format!(r#"{{"prompt": "a", {}}}"#, extra.join(", "));
        let rows = parse(text.as_bytes(), "a.jsonl", NONE).unwrap();
        assert!(rows.notes[0].contains("`x18`, `x19` and 2 more (passed"), "{:?}", rows.notes);
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
