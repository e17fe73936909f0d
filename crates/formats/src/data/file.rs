//! The user's own data: a file of rows as JSONL, JSON, CSV or Parquet. Anything doubtful is an error with its
//! file and line; nothing is guessed.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Deserializer, Value};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::iter::once;

use super::columns::named;
use super::fields::{self, Bad, Record, Records, kind, listed};
use super::packed;
use super::shape::{self, Needs, Row};
use crate::config::Columns;
use crate::error::{Error, Result};
use crate::hub::as_path;

/// Bad lines shown in one error: enough to see a pattern, few enough to read.
const MAX_BAD_LINES: usize = 5;

/// How a Parquet file begins.
const PARQUET: &[u8] = b"PAR1";

/// An example of a valid row, for errors.
fn expected(needs: Needs) -> String {
    let answer = if needs.answer { r#", "answer": "4""# } else { "" };
    let text = if needs.answer { "" } else { r#", or {"text": "2+2=4"}"# };
    format!(
        r#"each row must be an object such as {{"prompt": "2+2=", "response": "2+2=4"{answer}}} or {{"messages": [{{"role": "user", "content": "2+2="}}, {{"role": "assistant", "content": "4"}}]{answer}}}{text}; in CSV and Parquet the columns have these names"#
    )
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// The examples in the file's order; equal ones stay apart.
    pub rows: Vec<Row>,
    /// What their numbers count.
    pub numbered: Numbered,
    /// Notes for the user.
    pub notes: Vec<String>,
}

/// What a row's number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbered {
    /// Lines of a text.
    Lines,
    /// Rows of a binary table.
    Rows,
}

impl Numbered {
    /// The place of a row; 0 is the whole file.
    pub fn at(self, file: &str, number: usize) -> String {
        match (number, self) {
            (0, _) => file.to_string(),
            (_, Self::Lines) => format!("{file}:{number}"),
            (_, Self::Rows) => format!("{file}: row {number}"),
        }
    }

    /// What is counted, in the plural.
    pub fn what(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Rows => "rows",
        }
    }
}

/// Reads the rows of a file; its name tells the format and is the place in errors.
pub fn parse<'a>(bytes: impl Into<Cow<'a, [u8]>>, file: &str, needs: Needs) -> Result<Rows> {
    parse_columns(bytes, file, &Columns::default(), needs)
}

/// [`parse`] of a file whose columns have names of their own.
pub fn parse_columns<'a>(
    bytes: impl Into<Cow<'a, [u8]>>,
    file: &str,
    columns: &Columns,
    needs: Needs,
) -> Result<Rows> {
    let bytes = bytes.into();
    if bytes.trim_ascii().is_empty() {
        return Err(Error::input("no examples: the file is empty").at(file).next(expected(needs)));
    }
    if packed::begins(&bytes, PARQUET) || extension(file) == "parquet" {
        let records = super::parquet::records(bytes.into_owned());
        return rows(records, Numbered::Rows, file, columns, needs);
    }
    let text = bytes.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(&bytes).trim_ascii_end();
    let records = reader(file, text)?(utf8(text, file)?);
    rows(records, Numbered::Lines, file, columns, needs)
}

/// The rows in a file's records.
fn rows(
    records: Records,
    numbered: Numbered,
    file: &str,
    columns: &Columns,
    needs: Needs,
) -> Result<Rows> {
    let (mut rows, mut bad, mut hidden) = (Vec::new(), Vec::new(), 0);
    for record in records {
        let row = record.and_then(|(line, fields)| {
            let row = named(columns, fields).and_then(|fields| shape::row(line, fields, needs));
            row.map_err(|reason| Bad { line, reason })
        });
        match row {
            Ok(row) => rows.push(row),
            Err(_) if bad.len() == MAX_BAD_LINES => hidden += 1,
            Err(Bad { line, reason }) => bad.push(format!("{}: {reason}", numbered.at(file, line))),
        }
    }
    if hidden > 0 {
        bad.push(format!("and {hidden} more bad {}", numbered.what()));
    }
    if !bad.is_empty() {
        return Err(Error::input(bad.join("\n")).next(expected(needs)));
    }
    if rows.is_empty() {
        return Err(Error::input("no examples: the file has no rows")
            .at(file)
            .next(expected(needs)));
    }
    let mut ignored = BTreeSet::new();
    ignored.extend(rows.iter().flat_map(|row| row.extra.keys()));
    let note = || format!("{file}: ignored columns: {} (passed to --reward-cmd)", listed(&ignored));
    let notes = Vec::from_iter((!ignored.is_empty()).then(note));
    Ok(Rows { rows, numbered, notes })
}

/// The format at the end of a file's name; a `.gz` behind it is dropped.
fn extension(file: &str) -> String {
    let file = as_path(file);
    let name = file.rsplit(['/', '\\']).next().unwrap_or(&file);
    let name = name.strip_suffix(".gz").or(name.strip_suffix(".GZ")).unwrap_or(name);
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => extension.to_ascii_lowercase(),
        _ => String::new(),
    }
}

type Reader = for<'a> fn(&'a str) -> Records<'a>;

/// The reader for a file, chosen by its name and, where that says nothing, by its first characters.
fn reader(file: &str, bytes: &[u8]) -> Result<Reader> {
    let extension = extension(file);
    let mut marks = bytes.iter().filter(|byte| !byte.is_ascii_whitespace());
    let starts = (marks.next(), marks.next());
    match (extension.as_str(), starts) {
        ("csv", _) => Ok(super::csv::records),
        // pandas and others name JSONL files .json too, and people name an array .jsonl.
        (_, (Some(b'{'), _)) => Ok(json_objects),
        ("json" | "jsonl", (Some(b'['), _)) | (_, (Some(b'['), Some(b'{' | b']'))) => {
            Ok(json_array)
        }
        ("json", _) => Ok(json_array),
        ("jsonl", _) => Ok(json_lines),
        _ => Err(Error::input("the file's name doesn't tell its format").at(file).next(
            "name it .jsonl (one object per line), .json (an array of objects), .csv or .parquet",
        )),
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

/// JSONL: one object per line.
fn json_lines(text: &str) -> Records<'_> {
    Box::new(text.lines().enumerate().map(|(index, line)| match line.trim().is_empty() {
        true => Err(Bad {
            line: index + 1,
            reason: "blank line; they are allowed only at the end of the file".into(),
        }),
        false => object(line, index + 1),
    }))
}

/// Objects: one per line as JSONL, pretty-printed over several lines, or one that holds the list of
/// rows.
fn json_objects(text: &str) -> Records<'_> {
    let mut values = Deserializer::from_str(text).into_iter::<IgnoredAny>();
    let first = values.next().map(|first| first.map(|_| values.byte_offset()));
    let is_spread = match first {
        // One value over several lines, or everything on one line: then no line is a row by itself.
        Some(Ok(end)) => text[..end].trim_start().contains('\n') || !text.contains('\n'),
        // A line with a bracket alone begins a value that spans lines.
        _ => text.trim_start().lines().next().is_some_and(|line| line.trim().len() == 1),
    };
    if !is_spread {
        return json_lines(text);
    }
    let values: serde_json::Result<Vec<&RawValue>> =
        Deserializer::from_str(text).into_iter().collect();
    match values.map_err(|e| Bad { line: e.line(), reason: fields::reason(&e) }) {
        Ok(values) if values.len() == 1 => match rows_within(values[0], text) {
            Ok(Some(rows)) => located(rows, text),
            Ok(None) => located(values, text),
            Err(bad) => Box::new(once(Err(bad))),
        },
        Ok(values) => located(values, text),
        Err(bad) => Box::new(once(Err(bad))),
    }
}

/// The rows in an object that is not a row itself but holds one list of objects under any name:
/// `{"data": [...]}`. `None` for a row.
fn rows_within<'a>(
    object: &'a RawValue,
    text: &str,
) -> std::result::Result<Option<Vec<&'a RawValue>>, Bad> {
    let fields: BTreeMap<String, &RawValue> =
        serde_json::from_str(object.get()).unwrap_or_default();
    if shape::CONTENT.iter().any(|name| fields.contains_key(*name)) {
        return Ok(None);
    }
    let rows = |value: &&'a RawValue| serde_json::from_str::<Vec<&RawValue>>(value.get()).ok();
    // A conversation under an unknown name is a list of objects too; then the object is a row with an
    // unknown field.
    let is_message = |row: &RawValue| {
        serde_json::from_str::<BTreeMap<String, IgnoredAny>>(row.get())
            .is_ok_and(|row| ["role", "from"].iter().any(|name| row.contains_key(*name)))
    };
    let holds_objects = |rows: &Vec<&RawValue>| {
        let are_objects = rows.iter().all(|row| row.get().starts_with('{'));
        are_objects && rows.first().is_some_and(|row| !is_message(row))
    };
    let lists = fields.iter().filter_map(|(name, v)| Some((name, rows(v).filter(holds_objects)?)));
    let (names, mut lists): (Vec<&String>, Vec<Vec<&RawValue>>) = lists.unzip();
    match lists.len() {
        0 | 1 => Ok(lists.pop()),
        _ => {
            let start = object.get().as_ptr().addr() - text.as_ptr().addr();
            let line = 1 + newlines(&text.as_bytes()[..start]);
            let names = listed(names);
            let reason =
                format!("one object with the lists {names}; give each as a file of its own");
            Err(Bad { line, reason })
        }
    }
}

/// JSON: one array of objects, however it is laid out.
fn json_array(text: &str) -> Records<'_> {
    match serde_json::from_str(text) {
        Ok(elements) => located(elements, text),
        Err(e) => {
            let reason = match e.is_data() {
                true => "expected an array of objects".into(),
                false => fields::reason(&e),
            };
            Box::new(once(Err(Bad { line: e.line(), reason })))
        }
    }
}

/// The objects in slices of the text, in order.
fn located<'a>(values: Vec<&'a RawValue>, text: &'a str) -> Records<'a> {
    let (mut line, mut read) = (1, 0);
    Box::new(values.into_iter().map(move |value| {
        let json = value.get();
        let start = json.as_ptr().addr() - text.as_ptr().addr();
        line += newlines(&text.as_bytes()[read..start]);
        read = start;
        object(json, line)
    }))
}

/// A row's answer as it is written.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    answer: &'a RawValue,
}

/// The object written from line `line` on.
fn object(json: &str, line: usize) -> Record {
    match fields::parse(json) {
        Ok(Value::Object(mut fields)) => {
            // An answer is compared as it was written: for some, 4.50 is not 4.5.
            if let Some(answer @ (Value::Number(_) | Value::Bool(_))) = fields.get_mut("answer") {
                let written = serde_json::from_str::<Answer>(json).map(|row| row.answer.get());
                *answer = written.map_or_else(|_| answer.to_string(), String::from).into();
            }
            Ok((line, fields))
        }
        Ok(other) => {
            let kind = kind(&other);
            let reason = format!("{kind}; expected an object with `prompt`, `messages` or `text`");
            Err(Bad { line, reason })
        }
        Err(e) => Err(Bad { line: line + e.line().saturating_sub(1), reason: fields::reason(&e) }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::shape::Content;
    use super::*;

    const ALL: Needs = Needs { response: true, answer: true };
    const NONE: Needs = Needs { response: false, answer: false };
    const ANSWER: Needs = Needs { response: false, answer: true };
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

    /// `{"data": [...]}` (datasets #372), one object and several, pretty-printed (ChatGLM3 #985).
    #[test]
    fn datasets_372_rows_are_found_however_they_are_laid_out() {
        let pretty = GOOD.replace(", ", ",\n ").replace('{', "{\n ").replace('}', "\n}");
        for (file, text, lines) in [
            ("a.json", format!(r#"{{"data": [{GOOD}, {GOOD}]}}"#), vec![1, 1]),
            (
                "a.jsonl",
                format!("{{\n\"version\": 1,\n\"rows\": [\n{GOOD},\n{pretty}]}}"),
                vec![4, 5],
            ),
            ("a.json", pretty.clone(), vec![1]),
            ("a.jsonl", format!("\n{pretty}\n{pretty}\r\n\n{GOOD}"), vec![2, 7, 13]),
            ("a.jsonl", format!("{GOOD}{GOOD}"), vec![1, 1]),
            ("a.jsonl", format!("{GOOD}\r{GOOD}\r"), vec![1, 1]),
            ("a.jsonl", format!("[\n{GOOD},\n{GOOD}\n]"), vec![2, 3]),
        ] {
            let rows = parse(text.as_bytes(), file, ALL).unwrap();
            assert_eq!(lines_of(&rows), lines, "{text}");
        }
    }

    #[test]
    fn what_is_no_list_of_rows_is_one_error() {
        for (text, line, reason) in [
            (
                format!(r#"{{"train": [{GOOD}], "test": [{GOOD}]}}"#),
                1,
                "the lists `test`, `train`; give each",
            ),
            (r#"{"prompt": {"0": "a"}, "answer": {"0": "b"}}"#.into(), 1, "`prompt` is an object"),
            (r#"{"data": []}"#.into(), 1, "only `data`"),
            (
                r#"{"conversations": [{"from": "human", "value": "a"}]}"#.into(),
                1,
                "only `conversations`",
            ),
            (r#"{"data": {"rows": [{"a": 1}]}}"#.into(), 1, "only `data`"),
            (format!("{{\n\"data\": [\n{GOOD}\n{GOOD}]}}"), 4, "not JSON: expected `,` or `]`"),
            ("{\n\"prompt\": \"a\",\n}".into(), 3, "not JSON: key must be a string"),
            (format!("{{\n\"prompt\": \"a\"}}\n{GOOD}\nmore"), 4, "not JSON: expected value"),
        ] {
            let error = parse(text.as_bytes(), "a.json", NONE).unwrap_err();
            assert!(error.what.starts_with(&format!("a.json:{line}: ")), "{text}: {error}");
            assert!(error.what.contains(reason) && !error.what.contains('\n'), "{text}: {error}");
        }
    }

    /// A number or a boolean as answer becomes the text that CSV would have, to the last digit.
    #[test]
    fn an_answer_is_kept_as_it_is_written() {
        for (written, expected) in [
            ("204", "204"),
            ("4.50", "4.50"),
            ("-1.0e3", "-1.0e3"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
            ("true", "true"),
        ] {
            let line = format!(r#"{{"prompt": "a", "answer": {written} }}"#);
            for (file, text) in
                [("a.jsonl", format!("{line}\n{line}")), ("a.json", format!("[{line}]"))]
            {
                let rows = parse(text.as_bytes(), file, NONE).unwrap();
                assert_eq!(rows.rows[0].answer.as_deref(), Some(expected));
            }
        }
    }

    #[test]
    fn bad_rows_of_an_array_are_found_on_their_lines() {
        for (text, line, reason) in [
            (format!("[\n{GOOD},\n[1],\n{GOOD}]"), 3, "an array; expected an object with `prompt`"),
            (format!("[\n{GOOD},\n{{\n\"prompt\": 1}}]"), 3, "`prompt` is the number 1"),
            ("[{\n\"a\": 1,\n\"a\": 2\n}]".into(), 3, "field `a` is given twice"),
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
            (r#"{"prompt": "a", "prompt": "b"}"#, "field `prompt` is given twice"),
            (r#"{"prompt": "a", "answer": "b"}"#, "no `response`"),
            (r#"{"prompt": "a", "completion": "b", "answer": [4]}"#, "`answer` is an array"),
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
            ("a.txt", &array, None),
            ("a.txt", "[INST] hi", Some("name it .jsonl")),
            ("a.jsonl", &array, None),
            ("a.csv.GZ", table, None),
            ("a.json.gz", &array, None),
            ("a.gz", table, Some("name it .jsonl")),
            ("b/a.parquet", GOOD, Some("in CSV and Parquet the columns have these names")),
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
    fn columns_go_by_their_own_names_in_every_format() {
        let columns = Columns::new(&["user=q".into(), "answer=a".into()]).unwrap();
        let table = "q,a\n2+2?,4.50";
        let lines = r#"{"q": "2+2?", "a": "4.50"}"#;
        let [table, lines] = [("d.csv", table), ("d.jsonl", lines)].map(|(file, text)| {
            let rows = parse_columns(text.as_bytes(), file, &columns, ANSWER).unwrap().rows;
            (rows[0].content.clone(), rows[0].answer.clone(), rows[0].extra.clone())
        });
        assert_eq!(table, lines);
        assert_eq!(table.1.as_deref(), Some("4.50"));
        let error = parse_columns(b"q,b\n1,2".as_slice(), "d.csv", &columns, ANSWER).unwrap_err();
        assert!(error.to_string().contains("d.csv:2: no column `a`"), "{error}");
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
}
