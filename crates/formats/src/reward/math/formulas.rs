//! Formulas in a text: between dollars, \( \) or \[ \], and runs of them that form one list.

use std::ops::Range;

/// Most words between two boxes, besides an "and", that still form one list.
const MAX_BETWEEN: usize = 3;

/// Whether `text` between two answers makes them one list: "2, 3", "2 and 3", "2 cats and 3".
pub fn separates(text: &str) -> bool {
    let words = text.split(|c: char| !c.is_alphanumeric());
    let words = words.filter(|word| !matches!(*word, "" | "text" | "quad" | "qquad"));
    let (joining, other): (Vec<&str>, Vec<&str>) =
        words.partition(|word| matches!(*word, "and" | "or"));
    other.is_empty() || !joining.is_empty() && other.len() <= MAX_BETWEEN
}

/// The first formula of `text` and those joined to it, if only words come before it.
pub fn formulas(text: &str) -> Option<Range<usize>> {
    let (start, mut end) = formula(text)?;
    if text[..start].contains(|c: char| c.is_ascii_digit() || c == '\n') {
        return None;
    }
    while let Some((next, length)) = formula(&text[end..]) {
        let between = &text[end..end + next];
        if between.trim().is_empty() || !separates(between) {
            break;
        }
        end += length;
    }
    let percent =
        text[end..].trim_start().strip_prefix("\\%").or(text[end..].trim_start().strip_prefix('%'));
    Some(start..percent.map_or(end, |rest| text.len() - rest.len()))
}

/// Where the first formula of `text` starts and ends, its delimiters included.
fn formula(text: &str) -> Option<(usize, usize)> {
    let (start, _) = text.match_indices(['$', '\\']).find(|&(at, _)| {
        !text[..at].ends_with('\\') && ["$", "\\(", "\\["].iter().any(|d| text[at..].starts_with(d))
    })?;
    let delimiters = [("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")];
    let (open, close) = delimiters.into_iter().find(|(open, _)| text[start..].starts_with(open))?;
    let inside = &text[start + open.len()..];
    let (length, _) = inside.match_indices(close).find(|&(at, _)| !inside[..at].ends_with('\\'))?;
    let end = start + open.len() + length + close.len();
    // "$5 and $6" are amounts of money.
    let money = open == "$" && text[end..].starts_with(|c: char| c.is_ascii_digit());
    (!money).then_some((start, end))
}
