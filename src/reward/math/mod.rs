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
mod expr;
mod extract;
mod lexer;
mod normal;
mod numeric;
mod parser;
mod region;
#[cfg(test)]
mod tests;
mod value;
mod words;

pub use extract::final_answer;

use crate::error::{Error, Result};
use expr::Reading;
use lexer::Token;
use value::Value;

/// Characters of the longest answer that is read.
const MAX_ANSWER: usize = 2_000;
/// Characters of a gold answer that an error shows.
const SHOWN: usize = 100;

/// The gold answer, parsed once when data is loaded; one that can't be read is an error, never a
/// score.
#[derive(Debug, Clone)]
pub struct Gold(Answer);

impl Gold {
    /// Reads a gold answer: bare, or a worked solution in which [`final_answer`] finds it.
    pub fn parse(text: &str) -> Result<Self> {
        read(answer(text).unwrap_or(text)).map(Self).map_err(|reason| {
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
    /// Its answer is another one.
    Wrong,
    /// It has no answer, or one that can't be read.
    Unreadable,
}

/// Judges a response by its [`final_answer`]. Where it has none, a response of a single line of up
/// to 100 characters is an answer as a whole: "42", "x = 5", "So it is $x+1$".
pub fn judge(gold: &Gold, response: &str) -> Verdict {
    match answer(response).map(read) {
        Some(Ok(given)) if gold.0.accepts(&given) => Verdict::Right,
        Some(Ok(_)) => Verdict::Wrong,
        Some(Err(_)) | None => Verdict::Unreadable,
    }
}

fn answer(response: &str) -> Option<&str> {
    final_answer(response).or_else(|| extract::bare_answer(response))
}

/// An answer, read.
#[derive(Debug, Clone)]
struct Answer {
    value: Value,
    /// Its letters, if it has nothing else.
    spelled: Option<String>,
}

impl Answer {
    /// Whether `given` is right if this is gold. The letters of "red" are its word, and the product
    /// of r, e and d as well.
    fn accepts(&self, given: &Self) -> bool {
        self.spelled.is_some() && self.spelled == given.spelled
            || compare::accepts(&self.value, &given.value)
    }
}

fn read(text: &str) -> Reading<Answer> {
    if text.chars().count() > MAX_ANSWER {
        return Err("it is longer than 2,000 characters");
    }
    let mut tokens = Vec::new();
    for part in extract::parts(text) {
        if !tokens.is_empty() {
            tokens.push(Token::Symbol(","));
        }
        let part = part.trim().trim_end_matches(|c: char| c.is_whitespace() || ".;,".contains(c));
        tokens.append(&mut normal::tidy(lexer::tokens(part)?));
    }
    Ok(Answer { value: parser::parse(&tokens)?, spelled: normal::spelled(&tokens) })
}
