//! The built-in parts of a reward besides the answer: a format, another verifier, the user's own command.

use super::Verifier;
use super::command::{Command, Request};
use super::grade::{Part, Scores, Submission};
use crate::error::{Error, Result};
use regex::Regex;

/// 1 if the whole response matches a regular expression, else 0.
#[derive(Debug)]
pub struct Format(Regex);

impl Format {
    /// Compiles the expression; `.` matches line breaks too.
    pub fn new(pattern: &str) -> Result<Self> {
        whole(pattern).map(Self)
    }
}

/// A regular expression that must match a text from end to end.
pub fn whole(pattern: &str) -> Result<Regex> {
    Regex::new(&format!("(?s)^(?:{pattern})$")).map_err(|e| {
        Error::input(format!("not a regular expression: {e}"))
            .next("write it in the syntax of the regex crate, which has no look-around")
    })
}

impl Part for Format {
    fn name(&self) -> &'static str {
        "format"
    }

    fn scores(&self, submissions: &[Submission]) -> Result<Scores> {
        let matches = |s: &Submission| s.finished && self.0.is_match(s.response.trim());
        Ok(submissions.iter().map(|s| Ok(f64::from(u8::from(matches(s))))).collect())
    }
}

/// 1 where a verifier finds the answer right, else 0.
impl Part for Verifier {
    fn name(&self) -> &'static str {
        "verifier"
    }

    fn scores(&self, submissions: &[Submission]) -> Result<Scores> {
        let right = |s: &Submission| {
            self.judge(&s.example.prompt, s.response, s.finished, &s.example.answer).right
        };
        Ok(submissions.iter().map(|s| Ok(f64::from(u8::from(right(s))))).collect())
    }

    fn check_gold(&self, answer: &str) -> Result<()> {
        Verifier::check_gold(self, answer)
    }
}

impl Part for Command {
    fn name(&self) -> &'static str {
        "command"
    }

    fn scores(&self, submissions: &[Submission]) -> Result<Scores> {
        let requests: Vec<Request> = submissions
            .iter()
            .map(|&Submission { example, response, finished }| Request {
                prompt: &example.prompt,
                response,
                answer: Some(example.answer.as_str()).filter(|answer| !answer.is_empty()),
                suite: &example.suite,
                truncated: !finished,
                extra: &example.extra,
            })
            .collect();
        let scores = self.score_all(&requests).into_iter();
        Ok(scores.map(|s| s.map_err(|e| e.to_string())).collect())
    }
}
