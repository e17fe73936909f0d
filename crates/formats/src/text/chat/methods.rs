//! The methods of Python's strings, dictionaries and lists that chat templates call.

use minijinja::formatting::{FormatStyle, format};
use minijinja::value::{Kwargs, Tuple, Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};

use super::repr;

/// `value.method(args)` for a `value` that is no object with methods of its own.
pub fn call(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    match (value.kind(), value.as_str()) {
        (_, Some(text)) => of_string(state, text, method, args),
        (ValueKind::Map, _) => of_dict(state, value, method, args),
        (ValueKind::Seq | ValueKind::Iterable, _) => of_list(state, value, method, args),
        _ => Err(ErrorKind::UnknownMethod.into()),
    }
}

fn of_string(state: &State, text: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
    let none = || from_args::<()>(args);
    let one = || from_args::<(&str,)>(args).map(|(argument,)| argument);
    Ok(match method {
        "upper" => none().map(|()| text.to_uppercase())?.into(),
        "lower" => none().map(|()| text.to_lowercase())?.into(),
        "capitalize" => none().map(|()| capitalized(text))?.into(),
        "title" => none().map(|()| title(text))?.into(),
        "strip" | "lstrip" | "rstrip" => {
            let (chars,): (Option<&str>,) = from_args(args)?;
            // Each character may be searched in all of `chars`.
            charge(state, text.len(), chars.map_or(1, str::len))?;
            strip(text, chars, method != "rstrip", method != "lstrip").into()
        }
        "removeprefix" => text.strip_prefix(one()?).unwrap_or(text).into(),
        "removesuffix" => text.strip_suffix(one()?).unwrap_or(text).into(),
        "startswith" => any_of(args, |affix| text.starts_with(affix))?.into(),
        "endswith" => any_of(args, |affix| text.ends_with(affix))?.into(),
        "count" => text.matches(one()?).count().into(),
        "find" => position(text, text.find(one()?)).into(),
        "rfind" => position(text, text.rfind(one()?)).into(),
        "index" => match text.find(one()?) {
            None => return Err(invalid("substring not found")),
            found => position(text, found).into(),
        },
        "split" | "rsplit" => {
            let (separator, limit, named): (Option<Value>, Option<i64>, Kwargs) = from_args(args)?;
            let separator = separator.or(named.get("sep")?).filter(|s| !s.is_none());
            let limit = limit.or(named.get("maxsplit")?).unwrap_or(-1);
            named.assert_all_used()?;
            let separator = match &separator {
                None => None,
                Some(s) => Some(s.as_str().filter(|s| !s.is_empty()).ok_or_else(|| {
                    invalid(&format!("{method} needs a separator that is a string and not empty"))
                })?),
            };
            // A negative limit means no limit.
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            Value::from_iter(split(text, separator, limit, method == "rsplit"))
        }
        "splitlines" => none().map(|()| Value::from_iter(lines(text)))?,
        "partition" => {
            let separator = one()?;
            if separator.is_empty() {
                return Err(invalid("partition needs a separator that is not empty"));
            }
            let parts = match text.split_once(separator) {
                Some((before, after)) => [before, separator, after],
                None => [text, "", ""],
            };
            Value::from(Tuple::from(parts.map(Value::from)))
        }
        "replace" => {
            let (old, new, limit): (&str, &str, Option<i64>) = from_args(args)?;
            charge(state, text.len() / old.len().max(1) + 1, new.len())?;
            let limit = limit.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
            text.replacen(old, new, limit).into()
        }
        "join" => {
            let (items,): (&Value,) = from_args(args)?;
            let mut joined = String::new();
            for (index, item) in items.try_iter()?.enumerate() {
                let separator = if index > 0 { text } else { "" };
                let item = item.as_str().ok_or_else(|| {
                    invalid(&format!(
                        "item {index} of join is a {}, expected a string",
                        item.kind()
                    ))
                })?;
                charge(state, 1, 64 + separator.len() + item.len())?;
                joined.push_str(separator);
                joined.push_str(item);
            }
            joined.into()
        }
        "format" => {
            // Each field may be as long as the longest argument, or as wide as a number in the text
            // says.
            for number in text.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty()) {
                charge(state, 1, number.parse().unwrap_or(usize::MAX))?;
            }
            for argument in args {
                charge(state, text.matches('{').count(), repr::text(state, argument)?.len())?;
            }
            format(FormatStyle::StrFormat, text, args)?.into()
        }
        _ => return Err(ErrorKind::UnknownMethod.into()),
    })
}

fn of_dict(state: &State, dict: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    if method == "get" {
        let (key, default): (&Value, Option<Value>) = from_args(args)?;
        let found = dict.get_item(key)?;
        return Ok(if found.is_undefined() { default.unwrap_or(Value::from(())) } else { found });
    }
    charge(state, dict.len().unwrap_or(0), 64)?;
    let pairs = dict.as_object().and_then(|object| object.try_iter_pairs());
    let pairs = pairs.ok_or(ErrorKind::UnknownMethod)?;
    let items = match method {
        "keys" => pairs.map(|(key, _)| key).collect(),
        "values" => pairs.map(|(_, value)| value).collect(),
        "items" => pairs.map(|(key, value)| Value::from(Tuple::from([key, value]))).collect(),
        _ => return Err(ErrorKind::UnknownMethod.into()),
    };
    from_args::<()>(args).map(|()| items)
}

fn of_list(state: &State, list: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let one = || from_args::<(&Value,)>(args).map(|(argument,)| argument);
    charge(state, list.len().unwrap_or(0), 64)?;
    match method {
        "count" => {
            let wanted = one()?;
            Ok(list.try_iter()?.filter(|item| item == wanted).count().into())
        }
        "index" => {
            let wanted = one()?;
            let found = list.try_iter()?.position(|item| item == *wanted);
            found.map(Value::from).ok_or_else(|| invalid("index: the value is not in the list"))
        }
        _ => Err(ErrorKind::UnknownMethod.into()),
    }
}

/// Charges `count` times `size` bytes before they are made.
fn charge(state: &State, count: usize, size: usize) -> Result<(), Error> {
    state.consume_fuel(count.saturating_mul(size) as u64 / 64)
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, what.to_string())
}

/// White space by Python's `str.isspace`: Unicode's, and four ASCII separators.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `text` without `chars` (or white space) at its start or end, as asked.
fn strip<'a>(text: &'a str, chars: Option<&str>, start: bool, end: bool) -> &'a str {
    let goes = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
    let text = if start { text.trim_start_matches(goes) } else { text };
    if end { text.trim_end_matches(goes) } else { text }
}

/// Splits at most `limit` times, from the right if asked. Without a separator, words are split at runs
/// of white space, and white space at the ends is dropped.
fn split<'a>(text: &'a str, separator: Option<&str>, limit: usize, right: bool) -> Vec<&'a str> {
    let most = limit.saturating_add(1);
    let mut parts = match separator {
        Some(separator) if right => text.rsplitn(most, separator).collect(),
        Some(separator) => return text.splitn(most, separator).collect(),
        None => {
            let (mut words, mut rest) = (Vec::new(), strip(text, None, !right, right));
            while words.len() < limit {
                let cut = if right { rest.rfind(is_space) } else { rest.find(is_space) };
                let Some(cut) = cut else { break };
                let (before, after) = rest.split_at(cut);
                let (word, others) = if right { (after, before) } else { (before, after) };
                words.push(strip(word, None, true, true));
                rest = strip(others, None, !right, right);
            }
            words.extend(Some(rest).filter(|rest| !rest.is_empty()));
            words
        }
    };
    if right {
        parts.reverse();
    }
    parts
}

fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(is_line_end).unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        lines.push(line);
        let both = after.strip_prefix("\r\n");
        rest = both.unwrap_or_else(|| after.strip_prefix(is_line_end).unwrap_or(after));
    }
    lines
}

/// The line ends of `str.splitlines`.
fn is_line_end(c: char) -> bool {
    matches!(c, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// The index in characters; -1 for none.
fn position(text: &str, byte: Option<usize>) -> i64 {
    byte.map_or(-1, |byte| text[..byte].chars().count() as i64)
}

/// Whether `holds` is true for the argument, or for one of the strings in it.
fn any_of(args: &[Value], holds: impl Fn(&str) -> bool) -> Result<bool, Error> {
    let (given,): (&Value,) = from_args(args)?;
    if let Some(one) = given.as_str() {
        return Ok(holds(one));
    }
    let expected = || invalid("expected a string or a tuple of strings");
    for one in given.try_iter().map_err(|_| expected())? {
        if holds(one.as_str().ok_or_else(expected)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The first character in upper case, the rest in lower; of the two capitals of "ß" one stays.
fn capitalized(text: &str) -> String {
    let first: String = text.chars().take(1).collect();
    let capitals = first.to_uppercase();
    let small = capitals.chars().skip(1).flat_map(char::to_lowercase);
    // A sigma is written differently at the end of a word, so the word is lower-cased whole.
    let rest = text.to_lowercase();
    let rest = rest.chars().skip(first.to_lowercase().chars().count());
    capitals.chars().take(1).chain(small).chain(rest).collect()
}

/// `capitalized` for every run of letters.
fn title(text: &str) -> String {
    let is_cased = |c: char| c.is_lowercase() || c.is_uppercase();
    let mut title = String::with_capacity(text.len());
    for run in text.split_inclusive(|c| !is_cased(c)) {
        let letters = run.trim_end_matches(|c| !is_cased(c));
        title += &capitalized(letters);
        title += &run[letters.len()..];
    }
    title
}
