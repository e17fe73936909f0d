//! Rewards with named parts: the answer, and whatever else a response is rewarded for.

use super::{Judgement, Verifier};
use crate::config::{ANSWER, Rewarded};
use crate::error::{Error, Result};
use crate::records::Example;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

/// A response to be graded.
#[derive(Debug, Clone, Copy)]
pub struct Submission<'a> {
    /// The problem.
    pub example: &'a Example,
    /// The response's text, without end-of-text.
    pub response: &'a str,
    /// Whether it ended within the length limit.
    pub finished: bool,
}

/// Scores in [0, 1], or the reason why there is none.
pub type Scores = Vec<std::result::Result<f64, String>>;

/// A part of the reward besides the answer.
pub trait Part: Debug + Send + Sync {
    /// Its name in errors.
    fn name(&self) -> &str;

    /// One score per submission, in order. An error means that the part does not work at all; it ends
    /// the step.
    fn scores(&self, submissions: &[Submission]) -> Result<Scores>;

    /// Refuses a gold answer that no response could match.
    fn check_gold(&self, _answer: &str) -> Result<()> {
        Ok(())
    }
}

/// A part of the reward with its name in reports and its weight; a negative weight rewards 1 less the score.
#[derive(Debug, Clone)]
pub struct Weighted {
    /// Its name.
    pub name: String,
    /// Its weight.
    pub weight: f64,
    /// What scores.
    pub part: Arc<dyn Part>,
}

/// What a response earned.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Grade {
    /// Whether the answer is right; accuracy counts this.
    pub right: bool,
    /// The weighted mean of all parts, in [0, 1]; training rewards this.
    pub score: f64,
    /// Whether the answer has the gold answer's value, but in a form that earns no reward
    /// ([`Judgement`]).
    pub loose_only: bool,
    /// Each part's score by its name, the answer's too; empty where the answer is all.
    pub scores: BTreeMap<String, f64>,
}

/// Everything that a response is judged by.
#[derive(Debug, Clone)]
pub struct Grader {
    /// Decides whether the answer is right.
    pub verifier: Verifier,
    /// What of the answer training rewards.
    pub rewarded: Rewarded,
    /// Judges the answer instead of the verifier: a score of at least a half is right.
    pub judge: Option<Arc<dyn Part>>,
    /// The answer's weight.
    pub answer_weight: f64,
    /// The other parts.
    pub parts: Vec<Weighted>,
}

impl Grader {
    /// A grader that judges the answer alone.
    pub fn of(verifier: Verifier, rewarded: Rewarded) -> Self {
        Self { verifier, rewarded, judge: None, answer_weight: 1.0, parts: Vec::new() }
    }

    /// Grades submissions, in order. One that can't be graded returns the reason; it is never scored 0.
    pub fn grade(
        &self,
        submissions: &[Submission],
    ) -> Result<Vec<std::result::Result<Grade, String>>> {
        let scores_of = |name: &str, part: &Arc<dyn Part>| -> Result<Scores> {
            let of = submissions.len();
            let scores = part.scores(submissions)?;
            if scores.len() != of {
                return Err(Error::machine(format!(
                    "{name} gave {} scores for {of} responses",
                    scores.len()
                ))
                .next("each part of the reward gives one score per response, in their order"));
            }
            Ok(scores.into_iter().map(|s| s.map_err(|why| format!("{name}: {why}"))).collect())
        };
        let answers: Vec<std::result::Result<(f64, bool), String>> = match &self.judge {
            Some(judge) => {
                scores_of(judge.name(), judge)?.into_iter().map(|s| Ok((s?, false))).collect()
            }
            None => submissions.iter().map(|s| Ok(self.answers(s))).collect(),
        };
        let others: Vec<(&Weighted, Scores)> = self
            .parts
            .iter()
            .map(|part| Ok((part, scores_of(&part.name, &part.part)?)))
            .collect::<Result<_>>()?;
        let total = self.answer_weight + others.iter().map(|(p, _)| p.weight.abs()).sum::<f64>();
        let grade = |(index, answer): (usize, std::result::Result<(f64, bool), String>)| {
            let (answer, loose_only) = answer?;
            let rewarded = match self.rewarded {
                Rewarded::Answer => answer,
                Rewarded::Mention => f64::from(u8::from(self.mentions(&submissions[index]))),
            };
            let (mut sum, mut scores) = (self.answer_weight * rewarded, BTreeMap::new());
            for (Weighted { name, weight, .. }, given) in &others {
                let score = given[index].clone()?;
                sum += weight.abs() * if *weight < 0.0 { 1.0 - score } else { score };
                scores.insert(name.clone(), score);
            }
            if !scores.is_empty() {
                scores.insert(ANSWER.into(), rewarded);
            }
            Ok(Grade { right: answer >= 0.5, score: sum / total, loose_only, scores })
        };
        Ok(answers.into_iter().enumerate().map(grade).collect())
    }

    /// Refuses a gold answer that no response could match.
    pub fn check_gold(&self, answer: &str) -> Result<()> {
        match (&self.judge, answer.trim().is_empty()) {
            (None, _) => self.verifier.check_gold(answer)?,
            (Some(judge), false) => judge.check_gold(answer)?,
            (Some(_), true) => {
                return Err(Error::input("the gold answer is empty")
                    .next("give every example an answer, or leave it out of the data"));
            }
        }
        let named = |part: &Weighted| {
            part.part
                .check_gold(answer)
                .map_err(|e| Error { what: format!("{} (reward `{}`)", e.what, part.name), ..e })
        };
        self.parts.iter().try_for_each(named)
    }

    /// The answer's score, and whether it is right only in the looser form.
    fn answers(&self, s: &Submission) -> (f64, bool) {
        let Judgement { right, loose_only } =
            self.verifier.judge(&s.example.prompt, s.response, s.finished, &s.example.answer);
        (f64::from(u8::from(right)), loose_only)
    }

    fn mentions(&self, s: &Submission) -> bool {
        s.finished && s.response.contains(s.example.answer.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Comparison, MathForm};

    fn verifier(marker: Option<&str>) -> Verifier {
        let answer_after = marker.map(String::from);
        Verifier::new(Comparison::Exact, answer_after, MathForm::Strict)
    }

    #[derive(Debug)]
    struct Length;

    impl Part for Length {
        fn name(&self) -> &'static str {
            "length"
        }

        fn scores(&self, submissions: &[Submission]) -> Result<Scores> {
            let score = |s: &Submission| match s.response.len() {
                0 => Err("nothing to measure".to_string()),
                n => Ok(if n > 3 { 1.0 } else { 0.0 }),
            };
            // A judge that miscounts: the response "lost" gets no score at all.
            let counted = submissions.iter().filter(|s| s.response != "lost");
            Ok(counted.map(score).collect())
        }
    }

    fn length(weight: f64) -> Weighted {
        Weighted { name: "length".into(), weight, part: Arc::new(Length) }
    }

    fn example(answer: &str) -> Example {
        Example {
            suite: "s".into(),
            prompt: "p".into(),
            answer: answer.into(),
            ..Example::default()
        }
    }

    fn grades(grader: &Grader, responses: &[&str]) -> Vec<std::result::Result<Grade, String>> {
        let example = example("42");
        let submission = |r: &&str| {
            let (response, rest) = r.split_at(r.len());
            assert!(rest.is_empty());
            (response.to_string(), true)
        };
        let texts: Vec<(String, bool)> = responses.iter().map(submission).collect();
        let submissions: Vec<Submission> = texts
            .iter()
            .map(|(response, finished)| Submission {
                example: &example,
                response,
                finished: *finished,
            })
            .collect();
        grader.grade(&submissions).unwrap()
    }

    #[test]
    fn parts_are_weighed_and_failures_are_no_zeros() {
        let verifier = verifier(None);
        let mut grader = Grader::of(verifier, Rewarded::Answer);
        assert_eq!(
            grades(&grader, &["42"]),
            [Ok(Grade { right: true, score: 1.0, ..Grade::default() })]
        );
        grader.parts.push(length(0.25));
        let of = |right, score, answer, length| {
            let scores = [("answer", answer), ("length", length)].map(|(n, s)| (n.to_string(), s));
            Ok(Grade { right, score, loose_only: false, scores: scores.into() })
        };
        assert_eq!(
            grades(&grader, &["42", "long", ""]),
            [
                of(true, 0.8, 1.0, 0.0),
                of(false, 0.2, 0.0, 1.0),
                Err("length: nothing to measure".into()),
            ]
        );
        // A penalty: long responses cost what short ones earn. Then the length alone, and not at all.
        grader.parts[0].weight = -0.25;
        let scores = |grader: &Grader| {
            grades(grader, &["42", "long"])
                .into_iter()
                .map(|g| g.unwrap().score)
                .collect::<Vec<_>>()
        };
        assert_eq!(scores(&grader), [1.0, 0.0]);
        grader.answer_weight = 0.0;
        grader.parts[0].weight = 3.0;
        assert_eq!(scores(&grader), [0.0, 1.0]);
        (grader.answer_weight, grader.parts[0].weight) = (1.0, 0.0);
        assert_eq!(scores(&grader), [1.0, 0.0]);
        grader.parts.clear();
        grader.judge = Some(Arc::new(Length));
        assert_eq!(
            grades(&grader, &["long"]),
            [Ok(Grade { right: true, score: 1.0, ..Grade::default() })]
        );
        assert!(grader.check_gold("anything").is_ok() && grader.check_gold(" ").is_err());
    }

    #[test]
    fn a_part_that_miscounts_is_an_error_and_no_lost_rollout() {
        let verifier = verifier(None);
        let example = example("42");
        let submissions = ["42", "lost"].map(|response| Submission {
            example: &example,
            response,
            finished: true,
        });
        let mut grader = Grader::of(verifier, Rewarded::Answer);
        grader.parts.push(length(0.25));
        let error = grader.grade(&submissions).unwrap_err();
        assert_eq!(error.what, "length gave 1 scores for 2 responses");
    }

    #[test]
    fn a_mention_is_rewarded_where_an_answer_is_not() {
        let grader = Grader::of(verifier(Some(">")), Rewarded::Mention);
        assert_eq!(
            grades(&grader, &["1>42", "42,7>7", ">7"]),
            [(true, 1.0), (false, 1.0), (false, 0.0)].map(|(right, score)| Ok(Grade {
                right,
                score,
                ..Grade::default()
            }))
        );
    }

    /// One call gives both the verdict and what `loose_only` counts.
    #[test]
    fn a_looser_reading_is_told_by_the_grade() {
        let verifier = Verifier::new(Comparison::Math, None, MathForm::Strict);
        let mut grader = Grader::of(verifier, Rewarded::Answer);
        let told = |grader: &Grader| {
            let grades = grades(grader, &["42", "40 + 2", "7"]).into_iter();
            grades.map(|g| g.map(|g| (g.right, g.loose_only)).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(told(&grader), [(true, false), (false, true), (false, false)]);
        grader.verifier.form = MathForm::Any;
        assert_eq!(told(&grader), [(true, false), (true, true), (false, false)]);
        grader.judge = Some(Arc::new(Length));
        assert_eq!(told(&grader), [(false, false), (true, false), (false, false)]);
    }
}
