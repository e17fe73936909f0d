//! `srft score`.

use super::arguments::Score;
use super::ready::ready;
use super::{load, note, say};
use serde_json::{Map, Value};
use srft::data::encode::encode;
use srft::error::{Error, Result};
use srft::platform::OutFile;
use srft::run::{Reader, grader};
use srft::score::score_sequences;
use std::path::Path;

/// Scores the responses of a data file.
pub async fn score(arguments: Score) -> Result<()> {
    let config = arguments.settings.resolve(Vec::new(), &[])?;
    if config.data.train.is_empty() {
        return Err(Error::input("no data to score").next("give --data F.jsonl"));
    }
    let Score { out, overwrite, .. } = &arguments;
    let out = OutFile { path: out, kind: "scores", is_such, overwrite: *overwrite };
    let read: Vec<&Path> = config.data.train.iter().map(Path::new).collect();
    out.require_free(&read)?;
    let selected = ready(&config, false).await?;
    let (folder, model, tokenizer) = load(&config.model, &selected)?;
    let grader = grader(&config)?;
    let mut reader = Reader::new(&config, &folder, &tokenizer, &model.config, &grader)?;
    let mut sequences = Vec::new();
    let most = config.data.most_tokens(model.config.max_positions);
    for example in reader.responses()? {
        let mut shown = encode(&tokenizer, &model.config.eos_tokens, &example)?.sequence();
        shown.response.truncate(most.saturating_sub(shown.prompt.len()).max(1));
        sequences.push(shown);
    }
    reader.notes.iter().for_each(note);
    let scored = score_sequences(&model, &sequences, config.train.micro_batch_tokens).await?;
    let lines: String = scored
        .iter()
        .map(|s| format!("{}\n", serde_json::to_string(s).expect("a plain record")))
        .collect();
    out.write(lines.as_bytes())?;
    say(format_args!("{} responses scored: {}", scored.len(), out.path.display()))
}

/// Whether bytes are results of this command.
fn is_such(bytes: &[u8]) -> bool {
    let keys = |line: &[u8]| {
        let line: Map<String, Value> = serde_json::from_slice(line).ok()?;
        Some(line.keys().eq(["tokens", "logprobs", "entropies"]))
    };
    let mut lines = bytes.split(|&b| b == b'\n').filter(|line| !line.is_empty());
    lines.all(|line| keys(line) == Some(true))
}
