//! `srft score`.

use super::arguments::Score;
use super::train::ready;
use srft::data::jsonl::{self, Needs};
use srft::error::{Error, Result};
use srft::platform::{read_text, write_atomic};
use srft::run::load_model;
use std::path::Path;

/// Scores the responses of a data file.
pub async fn score(arguments: Score) -> Result<()> {
    let config = arguments.settings.resolve(Vec::new())?;
    if config.data.train.is_empty() {
        return Err(Error::input("no data to score").next("give --data F.jsonl"));
    }
    let text = read_text(Path::new(&config.data.train))?;
    let examples = jsonl::parse(&text, &config.data.train, Needs { response: true, answer: false })?;
    let selected = ready(&config, false).await?;
    let (_, model, tokenizer) = load_model(&config.model.path, &selected.device)?;
    let mut pairs = Vec::with_capacity(examples.len());
    for (index, example) in examples.iter().enumerate() {
        let at = |e: Error| e.at(format!("{}:{}", config.data.train, index + 1));
        let response = example.demonstration.as_deref().unwrap_or_default();
        let mut tokens = tokenizer.encode_continuation(response).map_err(at)?;
        tokens.push(model.config.eos_tokens[0]);
        pairs.push((tokenizer.encode(&example.prompt).map_err(at)?, tokens));
    }
    let scored = srft::score::score(&model, pairs, config.train.micro_batch_tokens).await?;
    let lines: String = scored
        .iter()
        .map(|s| format!("{}\n", serde_json::to_string(s).expect("a plain record")))
        .collect();
    write_atomic(&arguments.out, lines.as_bytes())?;
    println!("{} responses scored: {}", scored.len(), arguments.out.display());
    Ok(())
}
