//! Evaluation by sampling: how often a response is right (avg@k), and how often one of k is (pass@k),
//! suite by suite, with the uncertainty that the number of problems leaves.

use crate::config::Config;
use crate::data::encode::encode;
use crate::error::{Error, Result};
use crate::model::Llama;
use crate::ops::sampling::Sampling;
use crate::records::Example;
use crate::reward::{Grade, Grader, MEND, Submission};
use crate::rollout::{Plan, Response, Stops, respond};
use crate::text::Tokenizer;
use serde::{Deserialize, Serialize};

/// Step key of evaluation's random numbers: no training step is numbered so.
const EVAL_STEP: u32 = u32::MAX;

/// Standard errors on either side that hold 95% of a normal distribution.
const Z_95: f64 = 1.959_964;

/// Problems of one suite.
#[derive(Debug, Clone)]
pub struct Suite {
    /// Name.
    pub name: String,
    /// Absent from fine-tuning.
    pub out_of_distribution: bool,
    /// The problems.
    pub examples: Vec<Example>,
    /// How many it has, where these are some of them.
    pub of: Option<usize>,
}

/// A suite's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Score {
    /// Suite.
    pub suite: String,
    /// Absent from fine-tuning.
    pub ood: bool,
    /// Problems.
    pub n: usize,
    /// Samples a problem, k.
    pub samples: usize,
    /// avg@k: mean over problems of the share of right samples.
    pub accuracy: f64,
    /// Half the width of accuracy's 95% confidence interval over problems.
    pub margin: f64,
    /// pass@k: share of problems of which a sample is right.
    pub pass: f64,
    /// Half the width of pass@k's 95% confidence interval over problems.
    pub pass_margin: f64,
    /// Samples that the verifier failed on, left out of all this.
    pub unscored: usize,
}

/// A sampled response of an evaluation, a line of its suite's file.
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
    /// Why there is no verdict.
    pub unscored: Option<String>,
    /// Cut by the length limit.
    pub truncated: bool,
    /// Length, end-of-text counted.
    pub tokens: usize,
}

/// The mean over suites in (or out of) distribution; `None` where there are none.
pub fn mean_accuracy(scores: &[Score], ood: bool) -> Option<f64> {
    let chosen: Vec<f64> = scores.iter().filter(|s| s.ood == ood).map(|s| s.accuracy).collect();
    (!chosen.is_empty()).then(|| chosen.iter().sum::<f64>() / chosen.len() as f64)
}

/// What sampling and judging need besides the model.
pub struct Judge<'a> {
    /// Text in and out.
    pub tokenizer: &'a Tokenizer,
    /// Right or wrong.
    pub grader: &'a Grader,
    /// Limits and temperatures.
    pub config: &'a Config,
}

impl Judge<'_> {
    /// Scores the model on every suite.
    pub async fn evaluate(&self, model: &Llama, suites: &[Suite]) -> Result<Vec<Score>> {
        let samples = self.samples(model, suites).await?;
        let k = self.config.eval.samples;
        Ok(suites.iter().zip(samples).map(|(suite, samples)| score(suite, &samples, k)).collect())
    }

    /// Every sample of every suite, judged.
    pub async fn samples(&self, model: &Llama, suites: &[Suite]) -> Result<Vec<Vec<Sample>>> {
        // All suites in one batch: rows of short suites do not wait for those of long ones.
        let examples: Vec<&Example> = suites.iter().flat_map(|s| &s.examples).collect();
        let eos = &model.config.eos_tokens;
        let prompt = |e: &&Example| Ok(encode(self.tokenizer, eos, e)?.prompt);
        let prompts = examples.iter().map(prompt).collect::<Result<Vec<_>>>()?;
        let eval = &self.config.eval;
        let sampling = Sampling { temperature: eval.temperature as f32, ..Sampling::default() };
        let plan = Plan {
            group: eval.samples,
            sampling,
            max_new_tokens: self.config.rollout.max_new_tokens,
            eos_tokens: eos,
            stops: Stops::new(self.tokenizer, &self.config.rollout.stop),
            slots: self.config.rollout.slots,
            seed: self.config.run.seed,
            step: EVAL_STEP,
        };
        let responses = respond(model, &prompts, &plan).await?;
        let text = |r: &Response| plan.stops.text(self.tokenizer, &r.tokens);
        let texts: Vec<String> = responses.iter().map(text).collect();
        let submissions: Vec<Submission> = responses
            .iter()
            .zip(&texts)
            .map(|(r, response)| Submission {
                example: examples[r.prompt],
                response,
                finished: !r.truncated,
            })
            .collect();
        let grades = self.grader.grade(&submissions)?;
        if let Some(Err(why)) = grades.first().filter(|_| grades.iter().all(|g| g.is_err())) {
            return Err(Error::machine(format!("no response could be scored: {why}")).next(MEND));
        }
        let mut graded = responses.iter().zip(texts).zip(grades);
        Ok(suites
            .iter()
            .map(|suite| {
                let of_suite = graded.by_ref().take(suite.examples.len() * eval.samples);
                of_suite
                    .enumerate()
                    .map(|(i, ((response, text), grade))| {
                        sample(
                            &suite.examples[i / eval.samples],
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
    Sample {
        problem,
        sample: response.sample,
        prompt: example.prompt.clone(),
        answer: example.answer.clone(),
        response: text,
        right: grade.as_ref().ok().map(|g| g.right),
        unscored: grade.err(),
        truncated: response.truncated,
        tokens: response.tokens.len(),
    }
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
    let ((accuracy, margin), (pass, pass_margin)) = (interval(&shares), interval(&passes));
    Score {
        suite: suite.name.clone(),
        ood: suite.out_of_distribution,
        n: suite.examples.len(),
        samples: k,
        accuracy,
        margin,
        pass,
        pass_margin,
        unscored: samples.iter().filter(|s| s.right.is_none()).count(),
    }
}

/// The mean, and half the width of its 95% interval: 1.96 standard errors over problems, whose
/// samples are not independent of each other (Miller, 2024). One problem leaves it open: 0.
fn interval(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    if values.is_empty() {
        return (0.0, 0.0);
    }
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    let error = if n > 1.0 { (squares / (n - 1.0) / n).sqrt() } else { 0.0 };
    (mean, Z_95 * error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite(problems: usize) -> Suite {
        Suite {
            name: "s".into(),
            out_of_distribution: false,
            examples: Vec::with_capacity(problems),
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
            unscored: right.is_none().then(|| "broken".into()),
            truncated: false,
            tokens: 1,
        };
        verdicts.iter().map(sample).collect()
    }

    #[test]
    fn averages_passes_and_what_was_not_scored() {
        let [r, w, x] = [Some(true), Some(false), None];
        // Shares of right samples 1/2, 0, 1; the last problem has one verdict of two.
        let score = score(&suite(3), &samples(&[r, w, w, w, r, x]), 2);
        assert_eq!((score.accuracy, score.pass, score.unscored), (0.5, 2.0 / 3.0, 1));
        // Standard deviations 1/2 and 1/√3 over three problems.
        assert!((score.margin - 1.959_964 * 0.5 / 3f64.sqrt()).abs() < 1e-12);
        assert!((score.pass_margin - 1.959_964 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_problem_without_a_verdict_does_not_count() {
        let score = score(&suite(2), &samples(&[None, Some(true)]), 1);
        assert_eq!((score.accuracy, score.pass, score.margin, score.unscored), (1.0, 1.0, 0.0, 1));
    }
}
