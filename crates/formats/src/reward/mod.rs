//! Verifiers: is this response's answer the gold answer?
//!
//! A verifier looks at the answer only, never at the reasoning before it. A response that can't be
//! understood is wrong; a gold answer that can't be understood is an error at load, since nothing could
//! match it.

mod choice;
pub mod command;
mod compare;
mod grade;
pub mod math;
mod parts;
pub(crate) mod process;
mod rational;

pub use grade::{Grade, Grader, Part, Scores, Submission, Weighted};
pub use parts::Format;

use crate::config::{Comparison, MathForm};
use crate::error::{Error, Result};
use compare::{Answer, Compare};

/// What to do where nothing could be scored.
pub const MEND: &str =
    "correct what judges the answers; a reward command may need more time (reward.command_secs)";

/// Decides whether a response is right.
#[derive(Debug, Clone)]
pub struct Verifier {
    compare: &'static dyn Compare,
    /// The answer is what follows this marker; `None`: the whole response is the answer. `exact` and
    /// `regex` require the marker exactly once. For the others its last occurrence counts, and the
    /// answer ends with its line.
    pub answer_after: Option<String>,
    /// The form that the `math` comparison requires of an answer.
    pub form: MathForm,
}

/// The verdict on a response's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// Whether it is right.
    pub right: bool,
    /// Whether it has the gold answer's value, but in a form that [`MathForm::Strict`] refuses.
    pub loose_only: bool,
}

impl Verifier {
    /// A verifier with the comparison that a setting names.
    pub fn new(comparison: Comparison, answer_after: Option<String>, form: MathForm) -> Self {
        let usual = (comparison == Comparison::Gsm8k).then(|| "####".into());
        Self { compare: compare::of(comparison), answer_after: answer_after.or(usual), form }
    }

    /// A verifier that compares the text after a marker exactly.
    pub fn exact(answer_after: &str) -> Self {
        let answer_after = Some(answer_after.into());
        Self { compare: &compare::Exact, answer_after, form: MathForm::Strict }
    }

    /// Whether `response` gives the gold `answer`, without a prompt from which it could have been
    /// copied; see [`judge`](Self::judge).
    pub fn score(&self, response: &str, finished: bool, answer: &str) -> bool {
        self.judge("", response, finished, answer).right
    }

    /// Judges the `response` to a `prompt` by its gold `answer`. A response that was cut off before
    /// end-of-text (`finished` is false) is always wrong.
    pub fn judge(&self, prompt: &str, response: &str, finished: bool, answer: &str) -> Judgement {
        match self.given_answer(response).filter(|_| finished) {
            Some(given) => {
                self.compare.judge(&Answer { prompt, given, gold: answer, form: self.form })
            }
            None => Judgement { right: false, loose_only: false },
        }
    }

    /// Refuses a gold answer that no response could match.
    pub fn check_gold(&self, answer: &str) -> Result<()> {
        let trimmed = answer.trim();
        if trimmed.is_empty() {
            return Err(Error::input("the gold answer is empty")
                .next("give every example an answer, or leave it out of the data"));
        }
        if let Some(marker) = self.answer_after.as_deref().filter(|&m| trimmed.contains(m)) {
            return Err(Error::input(format!(
                "the gold answer {answer:?} contains the marker {marker:?} that separates answers \
                 from reasoning"
            ))
            .next("put the bare answer here, without the reasoning and the marker"));
        }
        self.compare.check_gold(answer)
    }

    /// The gold answer at the end of a worked solution, behind the marker that separates answers from reasoning;
    /// `None` if the marker isn't there.
    pub fn gold_within<'a>(&self, solution: &'a str) -> Option<&'a str> {
        let marker = self.answer_after.as_deref()?;
        if solution.contains(marker) { self.given_answer(solution) } else { None }
    }

    /// The answer in the response; `None` if the marker is missing, or occurs more than once where it
    /// must not.
    fn given_answer<'a>(&self, response: &'a str) -> Option<&'a str> {
        let Some(marker) = self.answer_after.as_deref() else { return Some(response.trim()) };
        if self.compare.wants_one_marker() {
            let (_, answer) = response.split_once(marker)?;
            return (!answer.contains(marker)).then(|| answer.trim());
        }
        let (_, behind) = response.rsplit_once(marker)?;
        let behind = behind.trim();
        // A matrix or a displayed formula may span lines.
        let displayed = ["\\[", "$$"].iter().any(|open| behind.starts_with(open));
        let whole = self.compare.takes_displayed() && displayed || behind.contains("\\begin");
        if whole { Some(behind) } else { behind.lines().next().map(str::trim_end) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verifier(comparison: Comparison, marker: Option<&str>) -> Verifier {
        Verifier::new(comparison, marker.map(String::from), MathForm::Strict)
    }

    #[test]
    fn exact_after_the_one_marker() {
        let verifier = verifier(Comparison::Exact, Some(">"));
        for (response, right) in [
            ("9+3=12,5+6+1=12>122", true),
            (">122", true),
            ("anything at all>122", true),
            ("> 122 ", true),
            (">0122", false),
            (">122>", false),
            (">122>122", false),
            ("122", false),
            (">", false),
            ("", false),
        ] {
            assert_eq!(verifier.score(response, true, "122"), right, "{response:?}");
            assert!(!verifier.score(response, false, "122"), "unfinished {response:?}");
        }
    }

    #[test]
    fn what_only_the_program_compares() {
        for (comparison, response, answer, right) in [
            (Comparison::Math, "so it is \\boxed{\\frac{1}{2}}", "0.5", true),
            (Comparison::Math, "\\boxed{0.51}", "0.5", false),
            (Comparison::Choice, "The answer is (B).", "B", true),
            (Comparison::Choice, "The answer is (C).", "B", false),
            (Comparison::Regex, "colour", "colou?r", true),
            (Comparison::Regex, "colours", "colou?r", false),
        ] {
            let verifier = verifier(comparison, None);
            verifier.check_gold(answer).unwrap();
            assert_eq!(verifier.score(response, true, answer), right, "{response:?}");
            assert!(!verifier.score(response, false, answer), "unfinished");
        }
        for (comparison, answer) in
            [(Comparison::Math, "\\frac{1}{"), (Comparison::Choice, "AB"), (Comparison::Regex, "(")]
        {
            assert!(verifier(comparison, None).check_gold(answer).is_err(), "{answer}");
        }
    }

    #[test]
    fn numbers_after_a_longer_marker() {
        let verifier = verifier(Comparison::Numeric, Some("####"));
        assert!(verifier.score("so it costs 1,200 #### 1200.00", true, "1,200"));
        assert!(!verifier.score("so it costs 1200", true, "1200"));
        assert!(!verifier.score("#### about 1200", true, "1200"));
        let named = self::verifier(Comparison::Gsm8k, None);
        assert!(named.score("so it costs $1,200\n#### $1,200.00", true, "1,200"));
        assert!(!named.score("so it costs 1200", true, "1200"));
        assert_eq!(named.gold_within("2*3 = <<2*3=6>>6\n#### 6"), Some("6"));
        let other = self::verifier(Comparison::Gsm8k, Some("A:"));
        assert!(other.score("A: 6", true, "6") && !other.score("#### 6", true, "6"));
    }

    /// GSM8K's answers, and what is left for `check_gold` to refuse or accept.
    #[test]
    fn the_gold_answer_of_a_worked_solution_is_behind_its_marker() {
        let (numeric, exact) = (Comparison::Numeric, Comparison::Exact);
        for (comparison, marker, solution, gold) in [
            (numeric, Some("####"), "2 clips each.\n2*3 = 6\n#### 1,200\n", Some("1,200")),
            (numeric, Some("####"), "#### 1\nno: #### 2", Some("2")),
            (numeric, Some("####"), "72", None),
            (numeric, None, "#### 72", None),
            (exact, Some(">"), "a>b", Some("b")),
            (exact, Some(">"), "a>b>c", None),
        ] {
            let verifier = verifier(comparison, marker);
            assert_eq!(verifier.gold_within(solution), gold, "{solution:?}");
        }
    }

    #[test]
    fn without_a_marker_the_whole_response_is_the_answer() {
        assert!(verifier(Comparison::Numeric, None).score(" 1/2\n", true, "0.5"));
        assert!(!verifier(Comparison::Numeric, None).score("it is 1/2", true, "0.5"));
        assert!(verifier(Comparison::Exact, None).score("blue whale\n", true, "blue whale"));
    }

    #[test]
    fn nothing_matches_an_answer_that_is_not_a_number() {
        assert!(!verifier(Comparison::Numeric, None).score("n/a", true, "n/a"));
    }

    #[test]
    fn hopeless_gold_answers_are_refused() {
        let exact = verifier(Comparison::Exact, Some(">"));
        let numeric = verifier(Comparison::Numeric, None);
        assert!(exact.check_gold("blue").is_ok() && numeric.check_gold("-3/4").is_ok());
        for (verifier, answer) in
            [(&exact, " "), (&exact, "1>2"), (&numeric, ""), (&numeric, "four"), (&numeric, "1/0")]
        {
            let error = verifier.check_gold(answer).unwrap_err();
            assert!(error.next.is_some(), "{error}");
        }
    }
}
