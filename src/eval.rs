//! pass@1 by sampling: the share of right responses, suite by suite.

use crate::config::Config;
use crate::error::Result;
use crate::model::Llama;
use crate::ops::sampling::Sampling;
use crate::records::Example;
use crate::reward::Verifier;
use crate::rollout::{Plan, Response, Stops, respond};
use crate::text::Tokenizer;
use serde::{Deserialize, Serialize};

/// Step key of evaluation's random numbers: no training step is numbered so.
const EVAL_STEP: u32 = u32::MAX;

/// Problems of one suite.
#[derive(Debug, Clone)]
pub struct Suite {
    /// Name.
    pub name: String,
    /// Absent from fine-tuning.
    pub out_of_distribution: bool,
    /// The problems.
    pub examples: Vec<Example>,
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
    /// Mean over problems of the share of right samples.
    pub accuracy: f64,
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
    pub verifier: &'a Verifier,
    /// Limits and temperatures.
    pub config: &'a Config,
}

impl Judge<'_> {
    /// Scores the model on every suite.
    pub async fn evaluate(&self, model: &Llama, suites: &[Suite]) -> Result<Vec<Score>> {
        // All suites in one batch: rows of short suites do not wait for those of long ones.
        let examples: Vec<&Example> = suites.iter().flat_map(|s| &s.examples).collect();
        let prompts = examples
            .iter()
            .map(|e| self.tokenizer.encode(&e.prompt))
            .collect::<Result<Vec<_>>>()?;
        let eval = &self.config.eval;
        let sampling = Sampling { temperature: eval.temperature as f32, ..Sampling::default() };
        let stops = self.config.rollout.stops();
        let plan = Plan {
            group: eval.samples,
            sampling,
            max_new_tokens: self.config.rollout.max_new_tokens,
            eos_tokens: &model.config.eos_tokens,
            stops: Stops::new(self.tokenizer, &stops),
            slots: self.config.rollout.slots,
            seed: self.config.run.seed,
            step: EVAL_STEP,
        };
        let responses = respond(model, &prompts, &plan).await?;
        let mut right = vec![0u32; examples.len()];
        for response in &responses {
            right[response.prompt] +=
                u32::from(self.is_right(response, &examples[response.prompt].answer));
        }
        let mut first = 0;
        Ok(suites
            .iter()
            .map(|suite| {
                let n = suite.examples.len();
                let sum: u32 = right[first..first + n].iter().sum();
                first += n;
                Score {
                    suite: suite.name.clone(),
                    ood: suite.out_of_distribution,
                    n,
                    accuracy: f64::from(sum) / (n * eval.samples) as f64,
                }
            })
            .collect())
    }

    /// The response's text, without end-of-text.
    pub fn text(&self, response: &Response) -> String {
        self.tokenizer.decode(&response.tokens)
    }

    fn is_right(&self, response: &Response, answer: &str) -> bool {
        self.verifier.score(&self.text(response), !response.truncated, answer)
    }
}
