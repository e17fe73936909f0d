//! The ways of comparing an answer with the gold answer. A [`Verifier`](super::Verifier) refers only to
//! the one that it uses, so that a page's download, which uses [`Exact`] alone, holds no other.

use super::parts::whole;
use super::rational::Rational;
use super::{Judgement, choice, math};
use crate::config::{Comparison, MathForm};
use crate::error::{Error, Result};
use std::fmt::Debug;

/// An answer to be compared.
pub struct Answer<'a> {
    /// The prompt.
    pub prompt: &'a str,
    /// The answer that the response gives.
    pub given: &'a str,
    /// The gold answer.
    pub gold: &'a str,
    /// The form that the `math` comparison requires.
    pub form: MathForm,
}

/// A way of comparing answers.
pub trait Compare: Debug + Send + Sync {
    /// Whether the answer is right.
    fn judge(&self, answer: &Answer) -> Judgement;

    /// Refuses a gold answer that no response could match.
    fn check_gold(&self, gold: &str) -> Result<()>;

    /// Whether the marker before an answer must occur exactly once; otherwise its last occurrence
    /// counts.
    fn wants_one_marker(&self) -> bool {
        false
    }

    /// Whether a displayed formula that spans lines can be an answer.
    fn takes_displayed(&self) -> bool {
        false
    }
}

/// The comparison that a setting names.
pub fn of(comparison: Comparison) -> &'static dyn Compare {
    match comparison {
        Comparison::Exact => &Exact,
        Comparison::Numeric | Comparison::Gsm8k => &Numeric,
        Comparison::Math => &Math,
        Comparison::Choice => &Choice,
        Comparison::Regex => &Regex,
        Comparison::Command | Comparison::Task | Comparison::Given => &Elsewhere,
    }
}

fn is(right: bool) -> Judgement {
    Judgement { right, loose_only: false }
}

/// Equal text.
#[derive(Debug)]
pub struct Exact;

impl Compare for Exact {
    fn judge(&self, answer: &Answer) -> Judgement {
        is(answer.given == answer.gold.trim())
    }

    fn check_gold(&self, _: &str) -> Result<()> {
        Ok(())
    }

    fn wants_one_marker(&self) -> bool {
        true
    }
}

/// Equal numbers.
#[derive(Debug)]
struct Numeric;

impl Compare for Numeric {
    fn judge(&self, answer: &Answer) -> Judgement {
        let given = Rational::parse(answer.given);
        is(given.is_some_and(|given| Some(given) == Rational::parse(answer.gold)))
    }

    fn check_gold(&self, gold: &str) -> Result<()> {
        match Rational::parse(gold) {
            Some(_) => Ok(()),
            None => Err(Error::input(format!("the gold answer {gold:?} is not a number"))
                .next("write it like 42, -1,234.5, 3/4 or 6.02e23, or use the exact verifier")),
        }
    }
}

/// Equal mathematical values.
#[derive(Debug)]
struct Math;

impl Compare for Math {
    fn judge(&self, answer: &Answer) -> Judgement {
        let gold = math::Gold::parse(answer.gold).ok();
        let verdict = gold.map(|gold| math::judge(&gold, answer.prompt, answer.given));
        let loose_only = verdict == Some(math::Verdict::Loose);
        let any = loose_only && answer.form == MathForm::Any;
        Judgement { right: verdict == Some(math::Verdict::Right) || any, loose_only }
    }

    fn check_gold(&self, gold: &str) -> Result<()> {
        math::Gold::parse(gold).map(|_| ())
    }

    fn takes_displayed(&self) -> bool {
        true
    }
}

/// The same letter.
#[derive(Debug)]
struct Choice;

impl Compare for Choice {
    fn judge(&self, answer: &Answer) -> Judgement {
        let given = choice::given(answer.given);
        is(given.is_some_and(|given| Some(given) == choice::gold(answer.gold)))
    }

    fn check_gold(&self, gold: &str) -> Result<()> {
        match choice::gold(gold) {
            Some(_) => Ok(()),
            None => {
                Err(Error::input(format!("the gold answer {gold:?} is not one capital letter"))
                    .next("write it like B or (B)"))
            }
        }
    }
}

/// The gold answer is a regular expression.
#[derive(Debug)]
struct Regex;

impl Compare for Regex {
    fn judge(&self, answer: &Answer) -> Judgement {
        is(whole(answer.gold.trim()).is_ok_and(|gold| gold.is_match(answer.given)))
    }

    fn check_gold(&self, gold: &str) -> Result<()> {
        whole(gold.trim()).map(|_| ())
    }

    fn wants_one_marker(&self) -> bool {
        true
    }
}

/// The answer is judged elsewhere: by a command, a task, or the embedding program.
#[derive(Debug)]
struct Elsewhere;

impl Compare for Elsewhere {
    fn judge(&self, _: &Answer) -> Judgement {
        is(false)
    }

    fn check_gold(&self, _: &str) -> Result<()> {
        Ok(())
    }
}
