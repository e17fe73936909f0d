//! A model's answer to a prompt, with its confidence in each token.

use super::protocol::{Answer, AnswerToken};
use crate::error::Result;
use crate::learner::Learner;
use crate::model::Llama;
use crate::ops::sampling::Sampling;
use crate::random::step;
use crate::rollout::{Plan, respond};
use crate::trainer::Trainer;

/// Samples an answer. `question` counts the questions so far, so that each has draws of its own.
pub async fn answer(
    model: &Llama,
    trainer: &Trainer,
    run: Option<u32>,
    prompt: &str,
    temperature: f64,
    question: u32,
) -> Result<Answer> {
    let sampling = Sampling { temperature: temperature as f32, ..Sampling::default() }.checked()?;
    let Learner { config, tokenizer, .. } = &trainer.learner;
    // Counts down from the probes' key, far above any training step's.
    let key = step::PROBES - question;
    let eos_tokens = &model.config.eos_tokens;
    let plan = Plan { group: 1, sampling, ..Plan::of(config, tokenizer, eos_tokens, key) };
    let prompts = [tokenizer.encode(prompt).map_err(|e| e.at("the prompt"))?];
    let response = respond(model, &prompts, &plan).await?.remove(0);
    let texts = tokenizer.spelled(&response.tokens);
    let tokens = texts.into_iter().zip(response.logprobs).zip(response.entropies);
    let tokens = tokens.map(|((text, logp), entropy)| AnswerToken {
        text,
        p: f64::from(logp).exp(),
        entropy: f64::from(entropy),
    });
    Ok(Answer { run, tokens: tokens.collect(), truncated: response.truncated })
}
