//! The paper's analyses of what training did to a model, for any checkpoints with the same tokenizer:
//! [`token_shift`] (Fig. 2) and [`dynamics`] (Fig. 3, App. E). Both compute the probabilities that
//! models give to the tokens of responses; the results are plain records that become JSON.
//!
//! Entropy, reward and length over steps (Figs. 4 and 6) are in every run's `metrics.jsonl`
//! ([`StepReport`](crate::metrics::StepReport)); clipping the gradient of probable tokens (App. A.2)
//! is a setting, `objective.max_prob`.

pub mod draw;
pub mod dynamics;
pub mod token_shift;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::eval::Suite;
use crate::model::Llama;
use crate::ops::sampling::Sampling;
use crate::random::step;
use crate::rollout::{Plan, Response, respond};
use crate::text::Tokenizer;

/// A response whose probabilities are computed.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// Suite, for reporting.
    pub suite: String,
    /// The prompt's text.
    pub text: String,
    /// The prompt's tokens.
    pub prompt: Vec<u32>,
    /// The response's tokens, with its end-of-text if it reached one.
    pub response: Vec<u32>,
}

/// Where responses come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The data; the model (greedily) if an example has none.
    Given,
    /// The model's most probable tokens.
    Greedy,
    /// The model, sampled as the config's rollouts are.
    Drawn,
}

/// The responses to the problems of `suites`, in their order. Responses that `source` takes from
/// `model` have up to `rollout.max_new_tokens` tokens and are seeded by `run.seed`.
///
/// # Errors
/// Text that the tokenizer cannot spell, or a prompt that doesn't fit the model's context.
pub async fn responses(
    model: &Llama,
    tokenizer: &Tokenizer,
    suites: &[Suite],
    source: Source,
    config: &Config,
) -> Result<Vec<Asked>> {
    let mut asked = Vec::new();
    for suite in suites {
        for problem in &suite.problems {
            let encoded = problem.in_tokens(tokenizer, &model.config.eos_tokens)?.into_owned();
            let given = encoded.demonstration.filter(|_| source == Source::Given);
            let mut prompt = encoded.prompt;
            if given.is_some() {
                prompt.extend(encoded.earlier);
            }
            let (suite, text) = (suite.name.clone(), problem.example.prompt.clone());
            asked.push(Asked { suite, text, prompt, response: given.unwrap_or_default() });
        }
    }
    let mut open: Vec<&mut Asked> = asked.iter_mut().filter(|a| a.response.is_empty()).collect();
    let prompts: Vec<Vec<u32>> = open.iter().map(|a| a.prompt.clone()).collect();
    let sampling = match source {
        Source::Drawn => Sampling::of(&config.rollout),
        Source::Given | Source::Greedy => Sampling { temperature: 0.0, ..Sampling::default() },
    };
    for response in sample(model, tokenizer, &prompts, 1, sampling, config).await? {
        open[response.prompt].response = response.tokens;
    }
    Ok(asked)
}

/// `group` responses of `model` to each prompt.
async fn sample(
    model: &Llama,
    tokenizer: &Tokenizer,
    prompts: &[Vec<u32>],
    group: usize,
    sampling: Sampling,
    config: &Config,
) -> Result<Vec<Response>> {
    let plan = Plan {
        group,
        sampling: sampling.checked()?,
        ..Plan::of(config, tokenizer, &model.config.eos_tokens, step::ANALYSIS)
    };
    respond(model, prompts, &plan).await
}

/// Refuses two tokenizers whose ids mean different tokens: their probabilities can't be compared.
pub fn require_same_tokens(one: &Tokenizer, other: &Tokenizer) -> Result<()> {
    let mut ids = 0..one.vocab_size().max(other.vocab_size()) as u32;
    match ids.find(|&id| one.token(id) != other.token(id)) {
        None => Ok(()),
        Some(id) => Err(Error::input(format!(
            "the tokenizers differ: token {id} is {:?} in one and {:?} in the other",
            one.token(id),
            other.token(id)
        ))
        .next("compare models of one tokenizer, such as a base and what was trained from it")),
    }
}

/// Up to `count` elements, taken from each list in turn.
pub fn in_turn<'a, T>(lists: &[&'a [T]], count: usize) -> Vec<&'a T> {
    let longest = lists.iter().map(|list| list.len()).max().unwrap_or(0);
    (0..longest).flat_map(|i| lists.iter().filter_map(move |l| l.get(i))).take(count).collect()
}
