//! The special tokens that the metadata names by id.

use super::container::Metadata;
use crate::error::Result;

/// transformers' name before `_token`, and llama.cpp's before `_token_id`.
const NAMES: [(&str, &str); 4] =
    [("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")];

/// Tokens that end a turn, beside the end of a text.
const ENDS: [&str; 2] = ["eot", "eom"];

fn id(metadata: &Metadata, name: &str) -> Result<Option<u32>> {
    let id = metadata.whole(&format!("tokenizer.ggml.{name}_token_id"))?;
    Ok(id.and_then(|id| u32::try_from(id).ok()).filter(|&id| id != u32::MAX)) // llama.cpp's none
}

/// The tokens' names, as in transformers' `eos_token`, with their ids.
pub fn ids(metadata: &Metadata) -> Result<Vec<(&'static str, u32)>> {
    let mut found = Vec::new();
    for (name, theirs) in NAMES {
        found.extend(id(metadata, theirs)?.map(|id| (name, id)));
    }
    Ok(found)
}

/// The tokens that end a response, the end of a text first.
pub fn ends(metadata: &Metadata) -> Result<Vec<u32>> {
    let mut ends = Vec::new();
    for name in ["eos"].into_iter().chain(ENDS) {
        ends.extend(id(metadata, name)?.filter(|id| !ends.contains(id)));
    }
    Ok(ends)
}
