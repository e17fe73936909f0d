//! Whether a response's answer means the same as the gold one: 1/2, 0.5 and \frac12; (x+1)² and
//! x² + 2x + 1; {1, 2} and "2 or 1"; x > 2 and (2, ∞). It follows Python's math-verify 0.9, except
//! where that is plainly wrong; `tests/golden/math/cases.jsonl` holds both to hundreds of cases and
//! says why where they differ.
//!
//! Rational numbers are compared exactly, and one with a decimal point is rounded to six decimals,
//! as in math-verify. Whatever else has a value is computed in f64 at twelve pseudo-random real
//! points, complex where roots or logarithms lead there (Schwartz–Zippel; `numeric.rs`). So it
//! can't tell apart what differs by less than 1 in 10^11 (√(10^24 + 1) and 10^12) or at single
//! points only (x/x and 1). It takes for different what is equal for whole or for positive numbers
//! only: (−1)^(2n) and 1, ln xy and ln x + ln y. Numbers beyond 2,400 digits, and those computed
//! that are beyond f64 (10^±308), are equal only if written alike.
//!
//! What can't be read, or is too long or nested too deeply, is an error in a gold answer and never
//! right in a response.

mod atoms;
mod compare;
mod digits;
mod expr;
mod extract;
mod formulas;
mod fractions;
mod lexer;
mod normal;
mod numeric;
mod parser;
mod prose;
mod region;
mod strict;
mod token;
#[cfg(test)]
mod tests;
mod units;
mod value;
mod words;

pub use extract::{boxed, final_answer};
pub use prose::announced;

use crate::error::{Error, Result};
use expr::Reading;
use parser::Parsed;
use token::Token;
use value::Value;

/// Characters of the longest answer that is read.
const MAX_ANSWER: usize = 2_000;
/// Characters of a gold answer that an error shows.
const SHOWN: usize = 100;

/// The gold answer, parsed once when data is loaded; one that can't be read is an error, never a
/// score.
#[derive(Debug, Clone)]
pub struct Gold {
    answer: Answer,
    /// As given.
    text: String,
}

impl Gold {
    /// Reads a gold answer: bare, or a worked solution in which [`final_answer`] finds it.
    pub fn parse(text: &str) -> Result<Self> {
        let read = first_readable(extract::gold_answers(text), true);
        read.map(|answer| Self { answer, text: text.trim().into() }).map_err(|reason| {
            let shown: String = text.chars().take(SHOWN).collect();
            Error::input(format!("the gold answer {shown:?} can't be read: {reason}"))
                .next("write it like 3/4, \\frac{3}{4}, (1, 2], x^2+1 or \\text{blue}")
        })
    }
}

/// What a response is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its answer is the gold one.
    Right,
    /// It has the gold one's value, but not in a form that a reward may take (`strict.rs`).
    Loose,
    /// Its answer is another one.
    Wrong,
    /// It has no answer, or one that can't be read.
    Unreadable,
}

/// Judges a response by its [`final_answer`], or where it has none, by its last sentence if that is
/// short: "42", "x = 5", "So it is $x+1$". The `prompt` shows what was only copied from it.
pub fn judge(gold: &Gold, prompt: &str, response: &str) -> Verdict {
    let answers = extract::answers(response);
    let Ok(mut given) = first_readable(answers.clone(), false) else { return Verdict::Unreadable };
    if !gold.answer.accepts(&given) {
        let respelled = answers.first().and_then(|text| respelled(text, &gold.answer.value));
        match respelled.map(|text| read(&text, false)) {
            Some(Ok(other)) if gold.answer.accepts(&other) => given = other,
            // "July 4" is no 4 with words before it where the gold answer is just that.
            _ if gold.answer.spelled.is_some()
                && answers.iter().any(|text| is_spelled(text, gold)) =>
            {
                return Verdict::Right;
            }
            // Word for word, though as a response's last sentence it would say less.
            _ if response.trim() == gold.text && !extract::is_marked(response) => {
                return Verdict::Right;
            }
            _ => return Verdict::Wrong,
        }
    }
    if strict::may_be_rewarded(&gold.answer, &given, prompt) {
        Verdict::Right
    } else {
        Verdict::Loose
    }
}

fn is_spelled(text: &str, gold: &Gold) -> bool {
    read(text, false).is_ok_and(|given| given.spelled == gold.answer.spelled)
}

/// An answer, read.
#[derive(Debug, Clone)]
struct Answer {
    /// Its value without units.
    value: Value,
    /// With its units, where all of them are known.
    measured: Option<Value>,
    /// A gold answer's value where the base of its numbers counts: 101_2 is both 101 and 5.
    based: Option<Value>,
    /// Its letters and digits, if it has words and nothing else.
    spelled: Option<String>,
    /// Whether arithmetic is left to do.
    arithmetic: bool,
    /// Whether an equation between numbers in it is false.
    false_equation: bool,
    /// Without the words around numbers.
    tokens: Vec<Token>,
    /// As written.
    raw: Vec<Token>,
}

impl Answer {
    /// Whether `given` is right if this is gold. The letters of "red" are its word, and the product
    /// of r, e and d as well.
    fn accepts(&self, given: &Self) -> bool {
        if self.raw == given.raw || self.spelled.is_some() && self.spelled == given.spelled {
            return true;
        }
        match (&self.measured, &given.measured) {
            (Some(gold), Some(given)) => compare::accepts(gold, given),
            _ => [Some(&self.value), self.based.as_ref()]
                .into_iter()
                .flatten()
                .any(|value| compare::accepts(value, &given.value)),
        }
    }
}

/// The first of `texts` that can be read, or why none can.
fn first_readable(texts: Vec<String>, gold: bool) -> Reading<Answer> {
    let mut failed = "it is empty";
    for text in texts {
        match read(&text, gold) {
            Ok(answer) => return Ok(answer),
            Err(reason) => failed = reason,
        }
    }
    Err(failed)
}

/// Reads an answer; of an equation whose left side is only a name that can't be read, the right.
fn read(text: &str, gold: bool) -> Reading<Answer> {
    // What is no answer with words before it may still be the gold one, which keeps its words.
    let read_one = |text: &str| match read_all(text, gold) {
        Err(_) if !gold => read_all(text, true),
        read => read,
    };
    read_one(text).or_else(|reason| {
        let right = right_side(text).ok_or(reason)?;
        read_one(right).map_err(|_| reason)
    })
}

fn read_all(text: &str, gold: bool) -> Reading<Answer> {
    if text.chars().count() > MAX_ANSWER {
        return Err("it is longer than 2,000 characters");
    }
    let (mut raw, mut plain, mut measured, mut units) = (Vec::new(), Vec::new(), Vec::new(), false);
    for part in extract::parts(text) {
        if !plain.is_empty() {
            for tokens in [&mut raw, &mut plain, &mut measured] {
                tokens.push(Token::Symbol(","));
            }
        }
        let stop = |c: char| c.is_whitespace() || ".;,".contains(c);
        let part = match part.trim() {
            repeats if repeats.ends_with("...") => repeats,
            part => part.trim_end_matches(stop),
        };
        let tokens = lexer::tokens(part)?;
        let tidied = normal::tidy(&tokens, gold)?;
        units |= tidied.measured.is_some();
        raw.extend(tokens);
        measured.extend(tidied.measured.unwrap_or_else(|| tidied.plain.clone()));
        plain.extend(tidied.plain);
    }
    let Parsed { value, arithmetic, false_equation } = parser::parse(&plain, !gold)?;
    let value_of = |tokens: &[Token]| parser::parse(tokens, true).map(|parsed| parsed.value);
    Ok(Answer {
        value,
        measured: units.then(|| value_of(&measured).ok()).flatten(),
        based: gold.then(|| value_of(&plain)).transpose()?,
        spelled: normal::spelled(&raw),
        arithmetic,
        false_equation,
        tokens: plain,
        raw,
    })
}

/// What stands right of the last = outside of all brackets, where letters stand left of it and no
/// sum or multiple: \\gcd(6, 9) = 3.
fn right_side(text: &str) -> Option<&str> {
    let mut depth = 0_i32;
    let mut last = None;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            '+' if depth == 0 && last.is_none() => return None,
            '=' if depth == 0 && !text[..at].ends_with(['<', '>', '!', '\\']) => last = Some(at),
            _ => {}
        }
    }
    let (left, right) = (text[..last?].trim(), &text[last? + 1..]);
    let named =
        left.contains(char::is_alphabetic) && !left.starts_with(|c: char| c.is_ascii_digit());
    named.then_some(right.trim()).filter(|right| !right.is_empty())
}

/// A number that uses its commas as others do, if `gold` is a single number: 12,34,567 and 0,5.
fn respelled(text: &str, gold: &Value) -> Option<String> {
    let bare = text.trim().trim_matches('$');
    let groups: Vec<&str> = bare.split(',').collect();
    let digits = |group: &&str| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit());
    if !gold.is_number() || groups.len() < 2 || !groups.iter().all(digits) {
        return None;
    }
    match groups.as_slice() {
        ["0", decimals] => Some(format!("0.{decimals}")),
        [first, between @ .., last] => {
            let indian = first.len() <= 2
                && !between.is_empty()
                && between.iter().all(|group| group.len() == 2)
                && last.len() == 3;
            indian.then(|| groups.concat())
        }
        _ => None,
    }
}
