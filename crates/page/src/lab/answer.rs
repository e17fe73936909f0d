//! A model's answer to a prompt, with its confidence in each token.

use super::protocol::{Answer, AnswerToken};
use crate::error::Result;
use crate::learner::Learner;
use crate::model::Llama;
use crate::ops::sampling::Sampling;
use crate::random::step;
use crate::rollout::{Plan, respond};
use crate::trainer::Trainer;

/// What is asked, and how.
pub struct Asking {
    /// In tokens.
    pub prompt: Vec<u32>,
    /// 0 is greedy.
    pub temperature: f64,
    /// Most tokens of the answer; none: those of a rollout.
    pub tokens: Option<u32>,
    /// Counts the questions so far, so that each has draws of its own.
    pub question: u32,
}

/// Samples an answer.
pub async fn answer(
    model: &Llama,
    trainer: &Trainer,
    run: Option<u32>,
    Asking { prompt, temperature, tokens, question }: Asking,
) -> Result<Answer> {
    let sampling = Sampling { temperature: temperature as f32, ..Sampling::default() }.checked()?;
    let Learner { config, tokenizer, .. } = &trainer.learner;
    // Counts down from the probes' key, far above any training step's.
    let key = step::PROBES - question;
    let eos_tokens = &model.config.eos_tokens;
    let plan = Plan::of(config, tokenizer, eos_tokens, key);
    let max_new_tokens = tokens.map_or(plan.max_new_tokens, |most| most.max(1) as usize);
    let plan = Plan { group: 1, sampling, max_new_tokens, ..plan };
    let response = respond(model, &[prompt], &plan).await?.remove(0);
    let texts = tokenizer.written(&response.tokens);
    let tokens = texts.into_iter().zip(response.logprobs).zip(response.entropies);
    let tokens = tokens.map(|((text, logp), entropy)| AnswerToken {
        text,
        p: f64::from(logp).exp(),
        entropy: f64::from(entropy),
    });
    Ok(Answer { run, tokens: tokens.collect(), truncated: response.truncated })
}
