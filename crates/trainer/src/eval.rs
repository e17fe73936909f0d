//! Evaluation by sampling: how often a response is right (avg@k), and how often one of k is (pass@k),
//! suite by suite, with the uncertainty that the number of problems leaves.

use crate::config::Config;
use crate::data::source::Problem;
use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::metrics::mean_scores;
use crate::model::Llama;
use crate::platform::give_way;
use crate::records::Example;
use crate::reward::{Grade, Grader, MEND, Submission};
use crate::rollout::{By, Plan, Response, Start, respond_from};
use crate::text::Tokenizer;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Responses judged between two points where the work may be dropped: a command can take a second each.
const JUDGED_AT_ONCE: usize = 64;

/// Standard errors on either side that hold 95% of a normal distribution.
const Z_95: f64 = 1.959_964;

/// Problems of one suite.
#[derive(Debug, Clone)]
pub struct Suite {
    /// Name.
    pub name: String,
    /// Whether it is absent from fine-tuning.
    pub out_of_distribution: bool,
    /// The problems; those of a file have their tokens.
    pub problems: Vec<Problem>,
    /// How many problems the suite has in all, if `problems` are only some of them.
    pub of: Option<usize>,
}

/// A suite's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct Score {
    /// Suite.
    pub suite: String,
    /// Whether the suite is absent from fine-tuning.
    pub ood: bool,
    /// Number of problems.
    pub n: usize,
    /// Samples a problem, k.
    pub samples: usize,
    /// avg@k: mean over problems of the share of right samples.
    pub accuracy: f64,
    /// Accuracy's 95% confidence interval over problems, Wilson's (see [`wilson`]).
    pub interval: [f64; 2],
    /// pass@k: share of problems with at least one right sample.
    pub pass: f64,
    /// The 95% confidence interval of pass@k.
    pub pass_interval: [f64; 2],
    /// Mean score of each reward by its name, 0 to 1; empty where the answer is all that is rewarded.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rewards: BTreeMap<String, f64>,
    /// Samples that the verifier failed on, left out of all this.
    pub unscored: usize,
}

/// A score as read from a file. Runs of older versions have a margin in place of an interval.
#[derive(Deserialize)]
struct Written {
    suite: String,
    ood: bool,
    n: usize,
    samples: usize,
    accuracy: f64,
    interval: Option<[f64; 2]>,
    #[serde(default)]
    margin: f64,
    pass: f64,
    pass_interval: Option<[f64; 2]>,
    #[serde(default)]
    pass_margin: f64,
    #[serde(default)]
    rewards: BTreeMap<String, f64>,
    unscored: usize,
}

impl From<Written> for Score {
    fn from(w: Written) -> Self {
        let around = |mean: f64, margin: f64| [mean - margin, mean + margin];
        Self {
            interval: w.interval.unwrap_or(around(w.accuracy, w.margin)),
            pass_interval: w.pass_interval.unwrap_or(around(w.pass, w.pass_margin)),
            suite: w.suite,
            ood: w.ood,
            n: w.n,
            samples: w.samples,
            accuracy: w.accuracy,
            pass: w.pass,
            rewards: w.rewards,
            unscored: w.unscored,
        }
    }
}

/// A response sampled in an evaluation: a line of its suite's file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// Index of the problem in its suite.
    pub problem: usize,
    /// Index of the sample.
    pub sample: usize,
    /// The prompt as the model read it.
    pub prompt: String,
    /// The gold answer.
    pub answer: String,
    /// The response.
    pub response: String,
    /// Right or wrong; absent where the verifier failed.
    pub right: Option<bool>,
    /// Each reward's score by its name; empty where the answer is all.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub scores: BTreeMap<String, f64>,
    /// Why there is no verdict.
    pub unscored: Option<String>,
    /// Cut by the length limit.
    pub truncated: bool,
    /// Length in tokens, end-of-text included.
    pub tokens: usize,
}

/// The mean over suites in (or out of) distribution; `None` where there are none.
pub fn mean_accuracy(scores: &[Score], ood: bool) -> Option<f64> {
    let chosen: Vec<f64> = scores.iter().filter(|s| s.ood == ood).map(|s| s.accuracy).collect();
    (!chosen.is_empty()).then(|| chosen.iter().sum::<f64>() / chosen.len() as f64)
}

/// What an evaluation needs besides the model.
pub struct Judge<'a> {
    /// Text in and out.
    pub tokenizer: &'a Tokenizer,
    /// Judges the responses.
    pub grader: &'a Grader,
    /// Everything that is configured, such as limits and temperatures.
    pub config: &'a Config,
}

impl Judge<'_> {
    /// Every sample of every suite, judged.
    pub async fn samples(&self, model: &Llama, suites: &[Suite]) -> Result<Vec<Vec<Sample>>> {
        let eos = &model.config.eos_tokens;
        let plan = Plan::by(By::Evaluation, self.config, self.tokenizer, eos);
        let responses = respond_from(model, &self.starts(eos, suites)?, &plan).await?;
        self.judged(suites, responses, &plan).await
    }

    /// [`Judge::samples`] of a learner's policy, by whoever does its work.
    pub async fn samples_of(&self, by: &Learner, suites: &[Suite]) -> Result<Vec<Vec<Sample>>> {
        let eos = &by.policy.config.eos_tokens;
        let plan = Plan::by(By::Evaluation, self.config, self.tokenizer, eos);
        let responses = by.respond(&self.starts(eos, suites)?, By::Evaluation).await?;
        self.judged(suites, responses, &plan).await
    }

    /// All suites in one batch, so that suites with short responses don't wait for long ones.
    fn starts(&self, eos: &[u32], suites: &[Suite]) -> Result<Vec<Start>> {
        let start = |(prompt, problem): (usize, &Problem)| {
            let read = problem.in_tokens(self.tokenizer, eos)?.prompt.clone();
            Ok(Start { read, prompt, samples: 0..self.config.eval.samples })
        };
        suites.iter().flat_map(|s| &s.problems).enumerate().map(start).collect()
    }

    async fn judged(
        &self,
        suites: &[Suite],
        responses: Vec<Response>,
        plan: &Plan<'_>,
    ) -> Result<Vec<Vec<Sample>>> {
        let eval = &self.config.eval;
        let problems: Vec<&Problem> = suites.iter().flat_map(|s| &s.problems).collect();
        let text = |r: &Response| plan.stops.text(self.tokenizer, &r.tokens);
        let texts: Vec<String> = responses.iter().map(text).collect();
        let submissions: Vec<Submission> = responses
            .iter()
            .zip(&texts)
            .map(|(r, response)| Submission {
                example: &problems[r.prompt].example,
                response,
                finished: !r.truncated,
            })
            .collect();
        let mut grades = Vec::with_capacity(submissions.len());
        for some in submissions.chunks(JUDGED_AT_ONCE) {
            give_way().await;
            grades.extend(self.grader.grade(some)?);
        }
        if let Some(Err(why)) = grades.first().filter(|_| grades.iter().all(|g| g.is_err())) {
            return Err(Error::machine(format!("no response could be scored: {why}")).next(MEND));
        }
        let mut graded = responses.iter().zip(texts).zip(grades);
        Ok(suites
            .iter()
            .map(|suite| {
                let of_suite = graded.by_ref().take(suite.problems.len() * eval.samples);
                of_suite
                    .enumerate()
                    .map(|(i, ((response, text), grade))| {
                        sample(
                            &suite.problems[i / eval.samples].example,
                            i / eval.samples,
                            response,
                            text,
                            grade,
                        )
                    })
                    .collect()
            })
            .collect())
    }
}

fn sample(
    example: &Example,
    problem: usize,
    response: &Response,
    text: String,
    grade: std::result::Result<Grade, String>,
) -> Sample {
    let (grade, unscored) = match grade {
        Ok(grade) => (Some(grade), None),
        Err(why) => (None, Some(why)),
    };
    Sample {
        problem,
        sample: response.sample,
        prompt: example.prompt.clone(),
        answer: example.answer.clone(),
        response: text,
        right: grade.as_ref().map(|g| g.right),
        scores: grade.map(|g| g.scores).unwrap_or_default(),
        unscored,
        truncated: response.truncated,
        tokens: response.tokens.len(),
    }
}

/// The results of suites' samples, k a problem.
pub fn scores(suites: &[Suite], samples: &[Vec<Sample>], k: usize) -> Vec<Score> {
    suites.iter().zip(samples).map(|(suite, samples)| score(suite, samples, k)).collect()
}

/// The result of a suite's samples, k a problem.
pub fn score(suite: &Suite, samples: &[Sample], k: usize) -> Score {
    let (mut shares, mut passes) = (Vec::new(), Vec::new());
    for of_problem in samples.chunks(k) {
        let verdicts: Vec<bool> = of_problem.iter().filter_map(|s| s.right).collect();
        if !verdicts.is_empty() {
            let right = verdicts.iter().filter(|&&right| right).count() as f64;
            shares.push(right / verdicts.len() as f64);
            passes.push(right.min(1.0));
        }
    }
    let (accuracy, interval) = estimate(&shares, k);
    let (pass, pass_interval) = estimate(&passes, 1);
    Score {
        suite: suite.name.clone(),
        ood: suite.out_of_distribution,
        n: suite.problems.len(),
        samples: k,
        accuracy,
        interval,
        pass,
        pass_interval,
        rewards: mean_scores(samples.iter().filter(|s| s.right.is_some()).map(|s| &s.scores)),
        unscored: samples.iter().filter(|s| s.right.is_none()).count(),
    }
}

/// The mean of the problems' shares of right samples, k samples a problem, and its 95% interval. Samples of
/// one problem are not independent (Miller, 2024): the variance of the shares tells how many independent
/// trials they are worth, at least 1 and at most k a problem.
fn estimate(shares: &[f64], k: usize) -> (f64, [f64; 2]) {
    let n = shares.len() as f64;
    if shares.is_empty() {
        return (0.0, [0.0, 1.0]);
    }
    let mean = shares.iter().sum::<f64>() / n;
    let squares: f64 = shares.iter().map(|v| (v - mean).powi(2)).sum();
    let variance = squares / (n - 1.0).max(1.0) / n; // of the mean
    let trials = mean * (1.0 - mean) / variance;
    let trials = if variance > 0.0 { trials.clamp(n, n * k as f64) } else { n };
    (mean, wilson(mean, trials))
}

/// The 95% interval of a probability, given the `share` of successes in so many independent trials (Wilson,
/// 1927). It stays within 0 and 1. With no success in three trials it reaches up to 56%, where mean and
/// standard error would claim certainty.
pub fn wilson(share: f64, trials: f64) -> [f64; 2] {
    let squared = Z_95 * Z_95 / trials;
    let centre = share + squared / 2.0;
    let spread = Z_95 * (share * (1.0 - share) / trials + squared / (4.0 * trials)).sqrt();
    let end = |sign: f64| ((centre + sign * spread) / (1.0 + squared)).clamp(0.0, 1.0);
    [if share == 0.0 { 0.0 } else { end(-1.0) }, if share == 1.0 { 1.0 } else { end(1.0) }]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite(problems: usize) -> Suite {
        Suite {
            name: "s".into(),
            out_of_distribution: false,
            problems: Vec::with_capacity(problems),
            of: None,
        }
    }

    fn samples(verdicts: &[Option<bool>]) -> Vec<Sample> {
        let sample = |&right: &Option<bool>| Sample {
            problem: 0,
            sample: 0,
            prompt: String::new(),
            answer: String::new(),
            response: String::new(),
            right,
            scores: BTreeMap::new(),
            unscored: right.is_none().then(|| "broken".into()),
            truncated: false,
            tokens: 1,
        };
        verdicts.iter().map(sample).collect()
    }

    #[test]
    fn a_score_of_before_has_its_margin_as_an_interval() {
        let line = r#"{"suite": "add", "ood": false, "n": 8, "samples": 1, "accuracy": 0.5,
            "margin": 0.25, "pass": 0.75, "pass_margin": 0.125, "unscored": 0}"#;
        let score: Score = serde_json::from_str(line).unwrap();
        assert_eq!((score.interval, score.pass_interval), ([0.25, 0.75], [0.625, 0.875]));
        let again = serde_json::to_string(&score).unwrap();
        assert_eq!(serde_json::from_str::<Score>(&again).unwrap(), score);
    }

    #[test]
    fn averages_passes_and_what_was_not_scored() {
        let [r, w, x] = [Some(true), Some(false), None];
        // Shares of right samples 1/2, 0, 1; the last problem has one verdict of two.
        let score = score(&suite(3), &samples(&[r, w, w, w, r, x]), 2);
        assert_eq!((score.accuracy, score.pass, score.unscored), (0.5, 2.0 / 3.0, 1));
        // The shares' variance is 1/4, the mean's 1/12: as much as three independent samples have.
        assert_eq!(score.interval, wilson(0.5, 3.0));
        assert_eq!(score.pass_interval, wilson(2.0 / 3.0, 3.0));
    }

    #[test]
    fn a_problem_without_a_verdict_does_not_count() {
        let score = score(&suite(2), &samples(&[None, Some(true)]), 1);
        assert_eq!((score.accuracy, score.pass, score.unscored), (1.0, 1.0, 1));
        assert_eq!(score.interval, wilson(1.0, 1.0));
        let none = super::score(&suite(1), &samples(&[None]), 1);
        assert_eq!((none.accuracy, none.interval), (0.0, [0.0, 1.0]));
    }

    /// statsmodels 0.14: `proportion_confint(right, n, method="wilson")`.
    #[test]
    fn intervals_are_wilsons() {
        for (right, n, low, high) in [
            (0, 3, 0.0, 0.561_497),
            (1, 1, 0.206_549, 1.0),
            (3, 3, 0.438_503, 1.0),
            (1, 2, 0.094_531, 0.905_469),
            (190, 200, 0.910_422, 0.972_617),
        ] {
            let verdicts: Vec<Option<bool>> = (0..n).map(|i| Some(i < right)).collect();
            let [from, to] = score(&suite(n), &samples(&verdicts), 1).interval;
            assert!(
                (from - low).abs() < 1e-5 && (to - high).abs() < 1e-5,
                "{right}/{n}: {from} {to}"
            );
        }
    }

    /// Four samples of a problem that always agree are worth one; otherwise more.
    #[test]
    fn samples_of_a_problem_count_as_much_as_they_differ() {
        let verdicts = |problem: &dyn Fn(usize) -> [bool; 4]| -> Vec<Option<bool>> {
            (0..20).flat_map(|i| problem(i).map(Some)).collect()
        };
        let agree = score(&suite(20), &samples(&verdicts(&|i| [i < 10; 4])), 4);
        assert_eq!(agree.interval, wilson(0.5, 20.0));
        let apart = score(&suite(20), &samples(&verdicts(&|_| [true, true, false, false])), 4);
        assert_eq!(apart.interval, wilson(0.5, 20.0), "no variance tells nothing");
        let mixed = |i: usize| [true, i.is_multiple_of(2), false, i % 4 == 1];
        let mixed = score(&suite(20), &samples(&verdicts(&mixed)), 4);
        assert_eq!(mixed.interval, wilson(mixed.accuracy, 80.0));
    }
}
