//! Token shift (Fig. 2): what fine-tuning did to the probability of each token of a response, and
//! how such changes are distributed over a suite.
//!
//! For token y_t of a response y to a prompt x, with base π_0 and fine-tuned π, N tokens in all:
//!
//! ```text
//! Δp_t = π(y_t | x, y_<t) − π_0(y_t | x, y_<t)      Δ ln p_t = ln π(y_t | ·) − ln π_0(y_t | ·), nats
//! mean |Δ ln p| = (1/N) Σ_t |Δ ln p_t|
//! ```
//!
//! End-of-text counts as a token, and probabilities are those at temperature 1.

use super::Asked;
use crate::error::{Error, Result};
use crate::metrics::mean;
use crate::model::Llama;
use crate::score::score;
use crate::text::Tokenizer;
use serde::{Deserialize, Serialize};

/// Inner edges of the bins of Δp.
const DELTA_P: [f64; 8] = [-0.5, -0.1, -0.01, -0.001, 0.001, 0.01, 0.1, 0.5];
/// Inner edges of the bins of Δ ln p, nats.
const DELTA_LOGP: [f64; 10] = [-3.0, -1.0, -0.3, -0.1, -0.01, 0.01, 0.1, 0.3, 1.0, 3.0];

/// A response's tokens under both models; lists are `[N]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResponseShift {
    /// Suite.
    pub suite: String,
    /// The prompt.
    pub prompt: String,
    /// The tokens as the vocabulary spells them.
    pub tokens: Vec<String>,
    /// π_0: their probabilities under the base.
    pub before: Vec<f64>,
    /// π: their probabilities under the fine-tuned model.
    pub after: Vec<f64>,
    /// Δp = after − before.
    pub delta_p: Vec<f64>,
    /// Δ ln p, nats.
    pub delta_logp: Vec<f64>,
}

/// Counts of tokens by the size of the change; there is one bin more than edges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bins {
    /// Rising inner edges; the first and the last bin are unbounded.
    pub edges: Vec<f64>,
    /// Tokens above a bin's lower edge and not above its upper one.
    pub counts: Vec<u64>,
}

/// How the changes of many tokens are distributed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// Responses.
    pub responses: usize,
    /// Their tokens, N.
    pub tokens: usize,
    /// (1/N) Σ |Δ ln p|, nats.
    pub mean_abs_delta_logp: f64,
    /// Share of tokens with |Δp| > 0.1.
    pub share_above_0_1: f64,
    /// Share of tokens with |Δp| > 0.5.
    pub share_above_0_5: f64,
    /// Tokens binned by Δp.
    pub delta_p: Bins,
    /// Tokens binned by Δ ln p, nats.
    pub delta_logp: Bins,
}

/// The distribution over one suite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SuiteShift {
    /// Suite.
    pub suite: String,
    /// Over its tokens.
    #[serde(flatten)]
    pub distribution: Distribution,
}

/// Two models compared: what `srft analyze token-shift` writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenShift {
    /// The base, as it was named.
    pub base: String,
    /// The fine-tuned model, as it was named.
    pub model: String,
    /// Over all tokens.
    pub all: Distribution,
    /// Suite by suite.
    pub suites: Vec<SuiteShift>,
    /// Response by response, suite after suite.
    pub responses: Vec<ResponseShift>,
}

/// The shift of every response from `base` to `model`, which must share `tokenizer`
/// ([`require_same_tokens`](super::require_same_tokens)).
///
/// # Errors
/// A response that is too long for one of the models, or a probability that is not a number.
pub async fn token_shift(
    base: &Llama,
    model: &Llama,
    tokenizer: &Tokenizer,
    asked: &[Asked],
    micro_batch_tokens: usize,
) -> Result<Vec<ResponseShift>> {
    let pairs: Vec<_> = asked.iter().map(|a| (a.prompt.clone(), a.response.clone())).collect();
    let before = score(base, pairs.clone(), micro_batch_tokens).await?;
    let after = score(model, pairs, micro_batch_tokens).await?;
    let scored = asked.iter().zip(before.into_iter().zip(after));
    let shifts: Vec<ResponseShift> = scored
        .map(|(asked, (before, after))| {
            of_response(asked, tokenizer, &before.logprobs, &after.logprobs)
        })
        .collect();
    match shifts.iter().find(|s| s.delta_logp.iter().any(|d| !d.is_finite())) {
        None => Ok(shifts),
        Some(s) => Err(Error::numbers("the probability of a token is not a number")
            .at(format!("{:?}", s.prompt))
            .next("one of the models is broken: use an earlier checkpoint")),
    }
}

fn of_response(
    asked: &Asked,
    tokenizer: &Tokenizer,
    before: &[f32],
    after: &[f32],
) -> ResponseShift {
    let p = |logps: &[f32]| logps.iter().map(|&l| f64::from(l).exp()).collect();
    let change =
        |before: &[f64], after: &[f64]| after.iter().zip(before).map(|(a, b)| a - b).collect();
    let wide = |logps: &[f32]| logps.iter().map(|&l| f64::from(l)).collect::<Vec<f64>>();
    let (p_before, p_after): (Vec<f64>, Vec<f64>) = (p(before), p(after));
    ResponseShift {
        suite: asked.suite.clone(),
        prompt: asked.text.clone(),
        tokens: tokenizer.written(&asked.response),
        delta_p: change(&p_before, &p_after),
        delta_logp: change(&wide(before), &wide(after)),
        before: p_before,
        after: p_after,
    }
}

impl TokenShift {
    /// Compares two named models by the shifts of their responses; responses of one suite must be
    /// adjacent.
    pub fn new(base: &str, model: &str, responses: Vec<ResponseShift>) -> Self {
        let by_suite = responses.chunk_by(|a, b| a.suite == b.suite);
        let suites = by_suite
            .map(|of| SuiteShift { suite: of[0].suite.clone(), distribution: Distribution::of(of) })
            .collect();
        let (base, model) = (base.into(), model.into());
        Self { base, model, all: Distribution::of(&responses), suites, responses }
    }

    /// Whether every response has as many numbers as tokens; an altered file may not.
    pub fn is_whole(&self) -> bool {
        let same = |r: &ResponseShift| {
            let n = r.tokens.len();
            [&r.before, &r.after, &r.delta_p, &r.delta_logp].iter().all(|list| list.len() == n)
        };
        let bins = [&self.all.delta_p, &self.all.delta_logp];
        self.responses.iter().all(same) && bins.iter().all(|b| b.counts.len() == b.edges.len() + 1)
    }

    /// Up to `count` responses, from each suite in turn: the ones to show.
    pub fn shown(&self, count: usize) -> Vec<&ResponseShift> {
        let suites: Vec<_> = self.responses.chunk_by(|a, b| a.suite == b.suite).collect();
        super::in_turn(&suites, count)
    }
}

impl Distribution {
    /// The distribution over all tokens of responses; without tokens, every mean and share is 0.
    pub fn of(responses: &[ResponseShift]) -> Self {
        let delta_p = || responses.iter().flat_map(|r| &r.delta_p).copied();
        let delta_logp = || responses.iter().flat_map(|r| &r.delta_logp).copied();
        let share = |most: f64| mean(delta_p().map(|d| f64::from(u8::from(d.abs() > most))));
        Self {
            responses: responses.len(),
            tokens: delta_p().count(),
            mean_abs_delta_logp: mean(delta_logp().map(f64::abs)),
            share_above_0_1: share(0.1),
            share_above_0_5: share(0.5),
            delta_p: Bins::of(&DELTA_P, delta_p()),
            delta_logp: Bins::of(&DELTA_LOGP, delta_logp()),
        }
    }
}

impl Bins {
    fn of(edges: &[f64], values: impl Iterator<Item = f64>) -> Self {
        let mut counts = vec![0; edges.len() + 1];
        values.for_each(|value| counts[edges.partition_point(|&edge| edge < value)] += 1);
        Self { edges: edges.to_vec(), counts }
    }

    /// Each bin as text (its edges) with its share of all tokens.
    pub fn rows(&self) -> Vec<(String, f64)> {
        let total = self.counts.iter().sum::<u64>().max(1) as f64;
        let name = |i: usize| match (i.checked_sub(1).map(|i| self.edges[i]), self.edges.get(i)) {
            (None, Some(upper)) => format!("to {upper:+}"),
            (Some(lower), None) => format!("over {lower:+}"),
            (Some(lower), Some(upper)) => format!("{lower:+} to {upper:+}"),
            (None, None) => "all".into(),
        };
        self.counts.iter().enumerate().map(|(i, &n)| (name(i), n as f64 / total)).collect()
    }
}
