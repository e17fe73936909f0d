//! `srft eval` and `srft generate`.

use super::arguments::{Eval, Generate};
use super::say;
use super::tables::table;
use super::train::ready;
use serde_json::json;
use srft::error::Result;
use srft::eval::{Judge, mean_accuracy};
use srft::ops::sampling::Sampling;
use srft::rollout::{Plan, Stops, respond};
use srft::run::{Reader, load_model, verifier};

/// Accuracy on every suite.
pub async fn eval(arguments: Eval) -> Result<()> {
    let samples = ("--samples", "eval.samples", arguments.samples.map(|s| s.to_string()));
    let config = arguments.settings.resolve(Vec::new(), &[samples])?;
    let selected = ready(&config, arguments.json).await?;
    let (_, model, tokenizer) = load_model(&config.model.path, &selected.device)?;
    let reader = Reader { config: &config, tokenizer: &tokenizer, model: &model.config };
    let suites = reader.suites()?;
    let judge = Judge { tokenizer: &tokenizer, verifier: &verifier(&config), config: &config };
    let scores = judge.evaluate(&model, &suites).await?;
    if arguments.json {
        return say(json!({"model": config.model.path, "scores": scores}));
    }
    let percent = |v: f64| format!("{:.1}", 100.0 * v);
    let mut rows: Vec<Vec<String>> = scores
        .iter()
        .map(|s| vec![s.suite.clone(), s.n.to_string(), percent(s.accuracy)])
        .collect();
    for (name, ood) in [("mean, in distribution", false), ("mean, out of distribution", true)] {
        if let Some(mean) = mean_accuracy(&scores, ood) {
            let n: usize = scores.iter().filter(|s| s.ood == ood).map(|s| s.n).sum();
            rows.push(vec![name.into(), n.to_string(), percent(mean)]);
        }
    }
    say(table(&["suite", "problems", "right %"], rows))
}

/// Samples from a model.
pub async fn generate(arguments: Generate) -> Result<()> {
    let config = arguments.settings.resolve(Vec::new(), &[])?;
    let selected = ready(&config, arguments.json).await?;
    let (_, model, tokenizer) = load_model(&config.model.path, &selected.device)?;
    let prompt = tokenizer.encode(&arguments.prompt)?;
    let rollout = &config.rollout;
    let temperature = arguments.temperature.unwrap_or(rollout.temperature) as f32;
    let sampling = Sampling { temperature, ..Sampling::of(rollout) }.checked()?;
    let stops = rollout.stops();
    let plan = Plan {
        group: arguments.n.max(1),
        sampling,
        max_new_tokens: rollout.max_new_tokens,
        eos_tokens: &model.config.eos_tokens,
        stops: Stops::new(&tokenizer, &stops),
        slots: rollout.slots,
        seed: config.run.seed,
        step: 0,
    };
    for response in respond(&model, &[prompt], &plan).await? {
        let text = tokenizer.decode(&response.tokens);
        if arguments.json {
            say(json!({
                "prompt": arguments.prompt,
                "response": text,
                "tokens": response.tokens,
                "logprobs": response.logprobs,
                "entropies": response.entropies,
                "truncated": response.truncated,
            }))?;
        } else {
            let cut = if response.truncated { "  (cut at the length limit)" } else { "" };
            say(format_args!("{}{text}{cut}", arguments.prompt))?;
        }
    }
    Ok(())
}
