//! Whether a response's answer means the same as the gold answer: 1/2, 0.5 and \frac12; (x+1)² and x² +
//! 2x + 1; {1, 2} and "2 or 1"; x > 2 and (2, ∞). It follows Python's math-verify 0.9, except where
//! that is plainly wrong; `tests/golden/math/cases.jsonl` compares both on hundreds of cases and says
//! why they differ.
//!
//! Rational numbers are compared exactly; one with a decimal point is rounded to six decimals, as in
//! math-verify. Other values are computed in f64 at twelve pseudo-random real points, complex where
//! roots or logarithms lead there (Schwartz–Zippel; `numeric.rs`). Values that differ by less than 1 in
//! 10^11 (√(10^24 + 1) and 10^12), or at single points only (x/x and 1), therefore count as equal.
//! Values that are equal only for whole or positive numbers count as different: (−1)^(2n) and 1, ln xy
//! and ln x + ln y. Numbers beyond 2,400 digits, and computed ones beyond f64 (10^±308), are equal only
//! if written alike.
//!
//! An answer that can't be read, or is too long or nested too deeply, is an error as a gold answer and
//! never right in a response.

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

/// Most characters of an answer that is read.
const MAX_ANSWER: usize = 2_000;
/// Most characters of a gold answer that an error shows.
const SHOWN: usize = 100;

/// The gold answer, parsed once when data is loaded. If it can't be read, that is an error and not a
/// score.
#[derive(Debug, Clone)]
pub struct Gold {
    answer: Answer,
    /// As given.
    text: String,
}

impl Gold {
    /// Reads a gold answer: a bare one, or a worked solution that contains a [`final_answer`].
    pub fn parse(text: &str) -> Result<Self> {
        let read = first_readable(extract::gold_answers(text), true);
        read.map(|answer| Self { answer, text: text.trim().into() }).map_err(|reason| {
            let shown: String = text.chars().take(SHOWN).collect();
            Error::input(format!("the gold answer {shown:?} can't be read: {reason}"))
                .next("write it like 3/4, \\frac{3}{4}, (1, 2], x^2+1 or \\text{blue}")
        })
    }
}

/// The verdict on a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its answer is the gold answer.
    Right,
    /// It has the gold answer's value, but not in a form that may be rewarded (`strict.rs`).
    Loose,
    /// Its answer is a different one.
    Wrong,
    /// It has no answer, or one that can't be read.
    Unreadable,
}

/// Judges a response by its [`final_answer`] or, without one, by its last sentence if that is short:
/// "42", "x = 5", "So it is $x+1$". The `prompt` shows whether the answer was only copied from it.
pub fn judge(gold: &Gold, prompt: &str, response: &str) -> Verdict {
    let answers = extract::answers(response);
    let Ok(mut given) = first_readable(answers.clone(), false) else { return Verdict::Unreadable };
    if !gold.answer.accepts(&given) {
        let respelled = answers.first().and_then(|text| respelled(text, &gold.answer.value));
        match respelled.map(|text| read(&text, false)) {
            Some(Ok(other)) if gold.answer.accepts(&other) => given = other,
            // If the gold answer is "July 4", these are words that must match, not a 4 with a word
            // before it.
            _ if gold.answer.spelled.is_some()
                && answers.iter().any(|text| is_spelled(text, gold)) =>
            {
                return Verdict::Right;
            }
            // Equal word for word, though the response's last sentence alone would be read as less.
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

/// A parsed answer.
#[derive(Debug, Clone)]
struct Answer {
    /// Its value without units.
    value: Value,
    /// Its value with units, if all of them are known.
    measured: Option<Value>,
    /// A gold answer's value with the base of its numbers applied: 101_2 is both 101 and 5.
    based: Option<Value>,
    /// Its letters and digits, if it consists of words and numbers only.
    spelled: Option<String>,
    /// Whether arithmetic is left to do.
    arithmetic: bool,
    /// Whether an equation between numbers in it is false.
    false_equation: bool,
    /// Its tokens without the words around numbers.
    tokens: Vec<Token>,
    /// All its tokens.
    raw: Vec<Token>,
}

impl Answer {
    /// Whether `given` is right if this is the gold answer. The letters of "red" are the word as well
    /// as the product of r, e and d.
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

/// The first of `texts` that can be read, or why the last one can't.
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

/// Reads an answer. If an equation's left side is only a name and can't be read, its right side is the
/// answer.
fn read(text: &str, gold: bool) -> Reading<Answer> {
    // A response that can't be read without its leading words may still equal a gold answer, which
    // keeps them.
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

/// The text right of the last = outside all brackets, if left of it are letters and no sum or multiple:
/// \\gcd(6, 9) = 3.
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

/// A number that uses commas in another convention, if `gold` is a single number: 12,34,567 and 0,5.
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
