//! Finds the answer in a response: in a box, else after the words that announce it (`prose.rs`).

use super::formulas::{formulas, separates};
use super::prose;

/// Most characters of an answer in a box without braces.
const MAX_UNBRACED: usize = 40;

/// The part of a response that holds its answer:
///
/// 1. The contents of the last `\boxed{…}`, `\fbox{…}` or `\framebox{…}`, also `\boxed 7`; several in a
///    row ("\boxed{1} and \boxed{2}") count together. If the last one's braces don't close, there is no
///    answer: the response was cut off in it.
/// 2. Otherwise what follows the last "answer is", "answer:", "####", `<answer>` and the like, to the
///    end of its sentence or tag; of that, the first formula between dollars, \( \) or \[ \], with
///    those joined to it by a comma, "and" or "or", if only words come before it.
pub fn final_answer(response: &str) -> Option<String> {
    marked(response)?.into_iter().next()
}

/// The possible readings of a response's answer, from its [`final_answer`] or, without one, from its
/// last sentence. The first one that can be parsed counts.
pub fn answers(response: &str) -> Vec<String> {
    marked(response).unwrap_or_else(|| prose::last_sentence(response))
}

/// The possible readings of a gold answer, which may be bare or contain a marked answer.
pub fn gold_answers(gold: &str) -> Vec<String> {
    let all = || {
        let inside =
            formulas(gold).filter(|f| !gold[f.end..].contains(|c: char| c.is_ascii_digit()));
        vec![inside.map_or(gold, |formulas| &gold[formulas]).trim().to_string()]
    };
    marked(gold).unwrap_or_else(all)
}

/// Whether a response marks its answer.
pub fn is_marked(response: &str) -> bool {
    marked(response).is_some()
}

/// `None` if nothing marks an answer; no readings if the marked text is empty.
fn marked(response: &str) -> Option<Vec<String>> {
    // Reasoning before `</think>` is no answer.
    let response = response.rsplit_once("</think>").map_or(response, |(_, after)| after);
    match boxed(response) {
        Some(boxed) => Some(Some(boxed).filter(|b| !b.is_empty()).into_iter().collect()),
        None => prose::announced(response),
    }
}

/// The contents of the last box of a response, or of the boxes in a row that it ends; empty if it
/// doesn't close, and `None` without a box.
pub fn boxed(response: &str) -> Option<String> {
    let mut boxes = boxes_backwards(response);
    let last = boxes.next()?;
    Some(in_row(response, last, boxes).unwrap_or_default().trim().to_string())
}

/// The answers in a [`final_answer`]: the contents of its boxes, or all of it.
pub fn parts(answer: &str) -> Vec<&str> {
    let boxes = boxes_backwards(answer);
    let mut parts: Vec<&str> = boxes.filter_map(|b| Some(&answer[b.content..b.end?])).collect();
    parts.reverse();
    if parts.is_empty() { vec![answer] } else { parts }
}

/// The boxes, last one first, so that no more of a long response is searched than needed.
fn boxes_backwards(response: &str) -> impl Iterator<Item = Frame> {
    response.rmatch_indices('\\').filter_map(|(at, _)| Frame::at(response, at))
}

/// A `\boxed{…}` by its byte positions in a response.
struct Frame {
    start: usize,
    /// Where its content ends; `None` if its braces don't close.
    end: Option<usize>,
    /// Where it starts.
    content: usize,
    /// Where the text after the box starts.
    after: usize,
}

impl Frame {
    fn at(response: &str, start: usize) -> Option<Self> {
        let rest = response.get(start..)?;
        let names = ["\\boxed", "\\fbox", "\\framebox"];
        let behind = names.iter().find_map(|name| rest.strip_prefix(name))?;
        let inside = behind.trim_start();
        let content = response.len() - inside.len();
        let Some(braced) = inside.strip_prefix('{') else {
            // In "\boxed 7" and "\boxed7" the content begins with a digit: only a digit ends a
            // command's name.
            let plain = |c: char| c.is_ascii_alphanumeric() || "./-".contains(c);
            let length = inside.chars().take(MAX_UNBRACED).take_while(|&c| plain(c)).count();
            let apart =
                inside.len() < behind.len() || inside.starts_with(|c: char| c.is_ascii_digit());
            let end = content + length;
            return (length > 0 && apart).then_some(Self {
                start,
                content,
                end: Some(end),
                after: end,
            });
        };
        let content = response.len() - braced.len();
        let end = closing_brace(braced).map(|end| content + end);
        Some(Self { start, content, end, after: end.map_or(content, |end| end + 1) })
    }
}

/// Where the brace that was opened before `text` closes. Visible braces, \{ and \}, don't count.
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

/// The contents of `last`, or the list of boxes that it ends.
fn in_row(response: &str, last: Frame, before: impl Iterator<Item = Frame>) -> Option<&str> {
    let (end, after) = (last.end?, last.after);
    let mut start = last.start;
    for frame in before {
        match frame.end {
            Some(end) if end < start && separates(&response[frame.after..start]) => {
                start = frame.start
            }
            _ => break,
        }
    }
    Some(if start == last.start { &response[last.content..end] } else { &response[start..after] })
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
            assert_eq!(final_answer(response).as_deref(), expected, "{response}");
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
            ("The answer is $2$ $3$", Some("$2$ $3$")), // and not the first of two
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
            assert_eq!(final_answer(response).as_deref(), expected, "{response}");
        }
    }
}
