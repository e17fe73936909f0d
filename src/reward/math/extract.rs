//! Where in a response its answer stands.

use std::ops::Range;

/// What announces an answer, in lower case. The last one in a response counts.
const MARKERS: [&str; 9] = [
    "answer is",
    "answers are",
    "answer:",
    "answers:",
    "answer**",
    "answer =",
    "answer=",
    "####",
    "<answer>",
];
/// Characters of the longest response that is an answer as a whole.
const MAX_BARE: usize = 100;
/// Words that may stand between two boxes beside the "and" that makes them one list.
const MAX_BETWEEN: usize = 3;

/// The part of a response that holds its answer:
///
/// 1. what the last `\boxed{…}` or `\fbox{…}` holds; several of them in a row ("\boxed{1} and
///    \boxed{2}") count together. If the last one's braces don't close, there is no answer: the
///    response was cut off in it.
/// 2. Otherwise what follows the last "answer is", "answer:", "####", `<answer>` and the like, to
///    the end of its sentence or tag; of that, the first formula between dollars, \( \) or \[ \],
///    with those that are joined to it by a comma, "and" or "or", if only words stand before it.
pub fn final_answer(response: &str) -> Option<&str> {
    let mut boxes = boxes_backwards(response);
    let answer = match boxes.next() {
        Some(last) => boxed(response, last, boxes),
        None => announced(response),
    };
    answer.map(str::trim).filter(|answer| !answer.is_empty())
}

/// A response of one short line: its first formula, or all of it where that has numbers outside.
pub fn bare_answer(response: &str) -> Option<&str> {
    let line = Some(response.trim()).filter(|r| !r.contains('\n'))?;
    let short = Some(line).filter(|line| line.chars().count() <= MAX_BARE)?;
    let is_all = |f: &Range<usize>| !short[f.end..].contains(|c: char| c.is_ascii_digit());
    Some(formulas(short).filter(is_all).map_or(short, |formulas| &short[formulas]))
}

/// The answers in a [`final_answer`]: what its boxes hold, or all of it.
pub fn parts(answer: &str) -> Vec<&str> {
    let boxes = boxes_backwards(answer);
    let mut parts: Vec<&str> = boxes.filter_map(|b| Some(&answer[b.content..b.end?])).collect();
    parts.reverse();
    if parts.is_empty() { vec![answer] } else { parts }
}

/// The last box first: of a long response, no more is looked at than is needed.
fn boxes_backwards(response: &str) -> impl Iterator<Item = Frame> {
    response.rmatch_indices('\\').filter_map(|(at, _)| Frame::at(response, at))
}

/// A `\boxed{…}` at some bytes of a response.
struct Frame {
    start: usize,
    /// Where its content ends, if its braces close.
    end: Option<usize>,
    /// Where it starts.
    content: usize,
}

impl Frame {
    fn at(response: &str, start: usize) -> Option<Self> {
        let rest = response.get(start..)?;
        let inside = rest.strip_prefix("\\boxed").or_else(|| rest.strip_prefix("\\fbox"))?;
        let inside = inside.trim_start().strip_prefix('{')?;
        let content = response.len() - inside.len();
        Some(Self { start, content, end: closing_brace(inside).map(|end| content + end) })
    }
}

/// Where the brace closes that was open before `text`. Braces that are seen, \{ and \}, don't
/// count.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 1;
    let mut escaped = false;
    text.bytes().position(|byte| {
        match byte {
            _ if escaped => {}
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        escaped = byte == b'\\' && !escaped;
        depth == 0
    })
}

/// What `last` holds, or the list of boxes that it ends.
fn boxed(response: &str, last: Frame, before: impl Iterator<Item = Frame>) -> Option<&str> {
    let end = last.end?;
    let mut start = last.start;
    for frame in before {
        match frame.end {
            Some(end) if end < start && separates(&response[end + 1..start]) => start = frame.start,
            _ => break,
        }
    }
    Some(if start == last.start { &response[last.content..end] } else { &response[start..=end] })
}

/// Whether answers that `text` stands between are one list: "2, 3", "2 and 3", "2 cats and 3".
fn separates(text: &str) -> bool {
    let words = text.split(|c: char| !c.is_alphanumeric());
    let words = words.filter(|word| !matches!(*word, "" | "text" | "quad" | "qquad"));
    let (joining, other): (Vec<&str>, Vec<&str>) =
        words.partition(|word| matches!(*word, "and" | "or"));
    other.is_empty() || !joining.is_empty() && other.len() <= MAX_BETWEEN
}

fn announced(response: &str) -> Option<&str> {
    let lower = response.to_ascii_lowercase();
    let ends = MARKERS.iter().filter_map(|m| Some((lower.rfind(m)? + m.len(), m)));
    let (start, marker) = ends.max()?;
    let end = lower[start..].find("</answer>").map_or(response.len(), |length| start + length);
    let rest =
        response[start..end].trim_start_matches(|c: char| c.is_whitespace() || "*:=".contains(c));
    // "Final answer: The largest n is 34."
    let told = sentence(rest).rfind(" is ").filter(|_| marker.ends_with([':', '*']));
    let rest = told.map_or(rest, |is| &rest[is + " is ".len()..]);
    Some(formulas(rest).map_or_else(|| sentence(rest), |formulas| &rest[formulas]))
}

/// The first line of `text`, up to the end of its first sentence.
fn sentence(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    let sentence = line.find(". ").map_or(line, |end| &line[..end]);
    sentence.trim_end_matches(|c: char| c.is_whitespace() || "*.,;:".contains(c))
}

/// The first formula of `text` and those that it is joined to, if only words stand before it.
fn formulas(text: &str) -> Option<Range<usize>> {
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
    // "$5 and $6" are sums of money.
    let money = open == "$" && text[end..].starts_with(|c: char| c.is_ascii_digit());
    (!money).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_come_first_and_the_last_one_counts() {
        for (response, expected) in [
            (r"so \boxed{42}.", Some("42")),
            (r"\boxed{1}, no, \boxed{2}", Some("2")),
            (r"\boxed {\frac{1}{2}} ", Some(r"\frac{1}{2}")),
            (r"\boxed{\{1, 2\}}", Some(r"\{1, 2\}")),
            (r"\boxed{\left\{ 1 \right.}", Some(r"\left\{ 1 \right.")),
            (r"\boxed{\boxed{5}}", Some("5")),
            (r"\fbox{7}", Some("7")),
            (r"\boxed{5} The answer is 6", Some("5")),
            (r"$\boxed{1}$ and $\boxed{2}$", Some(r"\boxed{1}$ and $\boxed{2}")),
            (r"\boxed{1}, \boxed{2} or \boxed{3}", Some(r"\boxed{1}, \boxed{2} or \boxed{3}")),
            (r"\boxed{9} then \boxed{1} \boxed{2}", Some(r"\boxed{1} \boxed{2}")),
            (r"\boxed{5", None),
            (r"\boxed{4} \boxed{5", None),
            (r"\boxed{\{1, 2}", Some(r"\{1, 2")),
            (r"\boxed{}", None),
            (r"\boxed", None),
            (r"\boxed{é", None),
        ] {
            assert_eq!(final_answer(response), expected, "{response}");
        }
    }

    #[test]
    fn announcements_are_found() {
        for (response, expected) in [
            ("The answer is 42.", Some("42")),
            ("The answer is 42. I hope it is correct.", Some("42")),
            ("the FINAL ANSWER is: 3.5", Some("3.5")),
            ("Answer: .5\nThat was easy.", Some(".5")),
            ("**Answer:** 42", Some("42")),
            ("**Answer**: 42", Some("42")),
            ("Answer:\n\n\\[ x = 5 \\]", Some("\\[ x = 5 \\]")),
            ("2 + 2 = 4\n#### 4", Some("4")),
            ("<answer> 5 </answer> bye", Some("5")),
            ("<answer>5", Some("5")),
            ("The answer is 1. No, the answer is 2.", Some("2")),
            ("The answer is therefore $x+1$, as $x>2$", Some("$x+1$")),
            ("The answers are $2$, $3$ and $4$.", Some("$2$, $3$ and $4$")),
            ("The answer is $2$ $3$", Some("$2$")),
            (r"The answer is \(50\)\%.", Some(r"\(50\)\%")),
            ("The answer is $5.", Some("$5")),
            ("The answer is $5 and $6", Some("$5 and $6")),
            (r"The answer is \$5", Some(r"\$5")),
            ("The answer is 5 $\\text{cm}$", Some("5 $\\text{cm}$")),
            ("The answer is", None),
            ("The answer is .", None),
            ("<answer></answer>", None),
            ("I don't know", None),
            ("", None),
            ("42", None),
        ] {
            assert_eq!(final_answer(response), expected, "{response}");
        }
    }
}
