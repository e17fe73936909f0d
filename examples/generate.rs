//! Responses of a model's folder (of Hugging Face's layout), or of the built-in model.
//!
//!     cargo run --release --example generate
//!     cargo run --release --example generate -- ./Qwen2.5-0.5B-Instruct "Two and two is"

#![allow(clippy::print_stdout, reason = "an example is a program of its own")]

use srft::config::{CacheDtype, Config};
use srft::device::select;
use srft::error::Result;
use srft::ops::sampling::Sampling;
use srft::rollout::{Plan, Stops, respond};
use srft::run::load_model;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().unwrap_or_else(|| "tiny".into());
    let prompt = arguments.next().unwrap_or_else(|| "59+63=".into());
    for text in pollster::block_on(generate("auto", &model, &prompt))? {
        println!("{prompt}{text}");
    }
    Ok(())
}

/// Four samples.
pub async fn generate(device: &str, model: &str, prompt: &str) -> Result<Vec<String>> {
    let config = Config::resolve(&[Config::setting(&format!("model.path={model}"))?])?;
    let (_, model, tokenizer) = load_model(&config.model, &select(device).await?.device)?;
    let plan = Plan {
        group: 4,
        sampling: Sampling::of(&config.rollout),
        max_new_tokens: 48,
        eos_tokens: &model.config.eos_tokens,
        stops: Stops::new(&tokenizer, &[]),
        slots: 0,
        cache: CacheDtype::F32,
        seed: 1,
        step: 0,
    };
    let responses = respond(&model, &[tokenizer.encode(prompt)?], &plan).await?;
    Ok(responses.iter().map(|r| plan.stops.text(&tokenizer, &r.tokens)).collect())
}
