//! `srft score`.

use super::arguments::Score;
use super::say;
use super::train::ready;
use srft::data::jsonl::Needs;
use srft::error::{Error, Result};
use srft::platform::write_atomic;
use srft::run::{Reader, load_model};

/// Scores the responses of a data file.
pub async fn score(arguments: Score) -> Result<()> {
    let config = arguments.settings.resolve(Vec::new(), &[])?;
    let data = &config.data.train;
    if data.is_empty() {
        return Err(Error::input("no data to score").next("give --data F.jsonl"));
    }
    let selected = ready(&config, false).await?;
    let (_, model, tokenizer) = load_model(&config.model.path, &selected.device)?;
    let reader = Reader { config: &config, tokenizer: &tokenizer, model: &model.config };
    let mut pairs = Vec::new();
    for example in reader.examples(data, Needs { response: true, answer: false })? {
        let response = example.demonstration.as_deref().unwrap_or_default();
        let mut tokens = tokenizer.encode_continuation(response)?;
        tokens.push(model.config.eos_tokens[0]);
        pairs.push((tokenizer.encode(&example.prompt)?, tokens));
    }
    let scored = srft::score::score(&model, pairs, config.train.micro_batch_tokens).await?;
    let lines: String = scored
        .iter()
        .map(|s| format!("{}\n", serde_json::to_string(s).expect("a plain record")))
        .collect();
    write_atomic(&arguments.out, lines.as_bytes())?;
    say(format_args!("{} responses scored: {}", scored.len(), arguments.out.display()))
}
