//! The tokenizer from the metadata, as the `tokenizer.json` and `tokenizer_config.json` that Hugging Face's
//! libraries would have, so that text is read and written by one code.

use super::container::{AGAIN, Metadata};
use super::pre::Pre;
use super::special;
use crate::error::{Error, Result};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// The longest token whose merges are sought among the others; SentencePiece's own limit is 16 characters.
const LONGEST: usize = 256;

/// What a token is for (llama.cpp's `llama_token_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Normal,
    Unknown,
    /// Special: no text is split into it.
    Control,
    /// Added to the vocabulary, and found in a text before anything else.
    Added,
    /// Fills a gap between ids.
    Unused,
    Byte,
}

/// The vocabulary.
pub struct Vocabulary<'a> {
    tokens: Vec<&'a str>,
    uses: Vec<Use>,
    ids: HashMap<&'a str, u32>,
}

fn key(name: &str) -> String {
    format!("tokenizer.ggml.{name}")
}

fn broken(what: String) -> Error {
    Error::input(what).next(AGAIN)
}

fn texts<'a>(metadata: &Metadata<'a>, name: &str) -> Result<Vec<&'a str>> {
    let key = key(name);
    let missing = || broken(format!("{key} is missing"));
    metadata.list(&key)?.ok_or_else(missing)?.texts(&key)
}

/// Numbers of the tokens, one for each.
fn numbers(metadata: &Metadata, name: &str, count: usize) -> Result<Option<Vec<f64>>> {
    let key = key(name);
    let Some(list) = metadata.list(&key)? else { return Ok(None) };
    let numbers = list.numbers(&key)?;
    match numbers.len() == count {
        true => Ok(Some(numbers)),
        false => Err(broken(format!("{key} has {} values for {count} tokens", numbers.len()))),
    }
}

impl<'a> Vocabulary<'a> {
    /// Reads the tokens and what each is for.
    pub fn read(metadata: &Metadata<'a>) -> Result<Self> {
        let tokens = texts(metadata, "tokens")?;
        let uses = numbers(metadata, "token_type", tokens.len())?;
        let uses = uses.unwrap_or_else(|| vec![1.0; tokens.len()]).into_iter().map(|number| {
            match number as i64 {
                2 => Use::Unknown,
                3 => Use::Control,
                4 => Use::Added,
                5 => Use::Unused,
                6 => Use::Byte,
                _ => Use::Normal,
            }
        });
        let mut vocabulary = Self { tokens, uses: uses.collect(), ids: HashMap::new() };
        for (id, token) in vocabulary.used() {
            if let Some(first) = vocabulary.ids.insert(token, id) {
                return Err(broken(format!("tokens {first} and {id} are both {token:?}")));
            }
        }
        Ok(vocabulary)
    }

    /// The tokens that a text can have, with their ids.
    fn used(&self) -> Vec<(u32, &'a str)> {
        let used = (0u32..).zip(&self.tokens).zip(&self.uses);
        let used = used.filter(|(_, what)| **what != Use::Unused);
        used.map(|((id, &token), _)| (id, token)).collect()
    }

    fn token(&self, id: u32) -> Result<&'a str> {
        self.tokens.get(id as usize).copied().ok_or_else(|| {
            broken(format!("token {id} is named, and there are {}", self.tokens.len()))
        })
    }

    /// The special tokens, and those that were added, as `tokenizer.json` lists them.
    fn added(&self) -> Vec<Value> {
        let listed = self.used().into_iter().filter_map(|(id, token)| {
            let special = match self.uses[id as usize] {
                Use::Control | Use::Unknown => true,
                Use::Added => false,
                _ => return None,
            };
            Some(json!({
                "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": special
            }))
        });
        listed.filter(|token| token["content"] != "").collect()
    }

    /// Every pair of tokens that makes another, the likeliest first: SentencePiece joins the pair whose
    /// whole has the highest score, wherever it was learned (transformers' `generate_merges`).
    fn merges(&self, scores: &[f64]) -> Result<Vec<(&'a str, &'a str)>> {
        let normal = |token: &str| {
            let id = *self.ids.get(token)?;
            (self.uses[id as usize] == Use::Normal).then_some(id)
        };
        let mut found = Vec::new();
        for (id, token) in self.used() {
            if normal(token).is_none() {
                continue;
            }
            if token.len() > LONGEST {
                let what = format!("token {id} has {} bytes, more than {LONGEST}", token.len());
                return Err(broken(what));
            }
            let cuts = token.char_indices().skip(1).map(|(at, _)| token.split_at(at));
            let mut pairs: Vec<_> = cuts
                .filter_map(|(left, right)| Some(((normal(left)?, normal(right)?), left, right)))
                .collect();
            pairs.sort_by_key(|pair| pair.0);
            found.extend(
                pairs.into_iter().map(|(_, left, right)| (scores[id as usize], left, right)),
            );
        }
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        Ok(found.into_iter().map(|(_, left, right)| (left, right)).collect())
    }
}

/// The contents of `tokenizer.json`.
pub fn read(metadata: &Metadata, vocabulary: &Vocabulary) -> Result<Value> {
    let name = key("model");
    let kind = metadata.text(&name)?;
    let (mut json, begins) = match kind {
        Some("gpt2") => byte_level(metadata, vocabulary)?,
        Some("llama") => sentence_piece(metadata, vocabulary)?,
        other => {
            let other = other.unwrap_or("nothing");
            return Err(Error::input(format!("{name} = {other} is not supported")).next(
                "supported: gpt2 (byte-level BPE), llama (SentencePiece); or take the model's own folder",
            ));
        }
    };
    json["added_tokens"] = vocabulary.added().into();
    json["post_processor"] = around(metadata, vocabulary, begins)?;
    Ok(json)
}

/// A tokenizer over bytes spelled as characters, as GPT-2's; whether a text begins with begin-of-text.
fn byte_level(metadata: &Metadata, vocabulary: &Vocabulary) -> Result<(Value, bool)> {
    let pre = splitting(metadata.text(&key("pre"))?)?;
    let mut merges = Vec::new();
    for (index, merge) in texts(metadata, "merges")?.into_iter().enumerate() {
        // The first character of a token may be a space.
        let cut = merge.char_indices().skip(1).find(|(_, c)| *c == ' ');
        let pair = cut.map(|(at, space)| (&merge[..at], &merge[at + space.len_utf8()..]));
        let known = pair.filter(|(left, right)| {
            [*left, *right, &[*left, *right].concat()]
                .iter()
                .all(|token| vocabulary.ids.contains_key(token))
        });
        merges.push(known.ok_or_else(|| {
            broken(format!("merge {index}, {merge:?}, is not of two tokens that make a third"))
        })?);
    }
    // Qwen's own tokenizer composes characters first; llama.cpp leaves that out.
    let normalizer = if pre.name == "qwen2" { json!({"type": "NFC"}) } else { Value::Null };
    let bytes = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false
    });
    let model = model(vocabulary, &merges, None, pre.ignore_merges);
    // llama.cpp begins a text where it ignores merges: Llama 3's and Tekken.
    Ok((json_of(normalizer, pre.to_json(), bytes, model), pre.ignore_merges))
}

/// How the tokenizer splits a text into words, by llama.cpp's name.
fn splitting(name: Option<&str>) -> Result<Pre> {
    let key = key("pre");
    let Some(name) = name else {
        return Err(Error::input(format!(
            "{key} is missing, so how the tokenizer splits a text into words is not known"
        ))
        .next("the file was made before April 2024: take a newer one, or convert it anew"));
    };
    Pre::named(name).ok_or_else(|| {
        Error::input(format!("{key} = {name} is not supported"))
            .next(format!("supported: {}; or take the model's own folder", Pre::names()))
    })
}

/// A SentencePiece tokenizer, in the form in which it was first converted, with a space before every text:
/// so llama.cpp reads texts.
fn sentence_piece(metadata: &Metadata, vocabulary: &Vocabulary) -> Result<(Value, bool)> {
    let count = vocabulary.tokens.len();
    let scores = numbers(metadata, "scores", count)?;
    let scores = scores.ok_or_else(|| broken(format!("{} is missing", key("scores"))))?;
    let unknown = metadata.whole(&key("unknown_token_id"))?.unwrap_or(0);
    let unknown = vocabulary.token(u32::try_from(unknown).unwrap_or(u32::MAX))?;
    let merges = vocabulary.merges(&scores)?;
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let back = json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "});
    let mut parts = vec![back, json!({"type": "ByteFallback"}), json!({"type": "Fuse"})];
    let normalizer = match metadata.flag(&key("add_space_prefix"))?.unwrap_or(true) {
        false => replace,
        true => {
            parts.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
            let prepend = json!({"type": "Prepend", "prepend": "▁"});
            json!({"type": "Sequence", "normalizers": [prepend, replace]})
        }
    };
    let decoder = json!({"type": "Sequence", "decoders": parts});
    let model = model(vocabulary, &merges, Some(unknown), false);
    Ok((json_of(normalizer, Value::Null, decoder, model), true))
}

fn json_of(normalizer: Value, pre_tokenizer: Value, decoder: Value, model: Value) -> Value {
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": null,
        "decoder": decoder,
        "model": model,
    })
}

/// A byte-pair model; one with a token for what it lacks falls back to bytes first.
fn model(
    vocabulary: &Vocabulary,
    merges: &[(&str, &str)],
    unknown: Option<&str>,
    ignores_merges: bool,
) -> Value {
    let ids = vocabulary.used().into_iter().map(|(id, token)| (token.to_string(), id.into()));
    json!({
        "type": "BPE",
        "dropout": null,
        "unk_token": unknown,
        "continuing_subword_prefix": null,
        "end_of_word_suffix": null,
        "fuse_unk": unknown.is_some(),
        "byte_fallback": unknown.is_some(),
        "ignore_merges": ignores_merges,
        "vocab": ids.collect::<Map<String, Value>>(),
        "merges": merges,
    })
}

/// What is put around a text: begin-of-text unless the file says not, end-of-text if it says so.
fn around(metadata: &Metadata, vocabulary: &Vocabulary, begins: bool) -> Result<Value> {
    let ids = special::ids(metadata)?;
    let named = |name: &str, default: bool, flag: &str| -> Result<Option<(u32, &str)>> {
        let added = metadata.flag(&key(flag))?.unwrap_or(default);
        let id = ids.iter().find(|row| row.0 == name && added).map(|row| row.1);
        id.map(|id| Ok((id, vocabulary.token(id)?))).transpose()
    };
    let begin = named("bos", begins, "add_bos_token")?;
    let end = named("eos", false, "add_eos_token")?;
    if begin.or(end).is_none() {
        return Ok(Value::Null);
    }
    let part = |token: Option<(u32, &str)>, of: u8| {
        token.map(|(_, token)| json!({"SpecialToken": {"id": token, "type_id": of}}))
    };
    let text = |name: &str, of: u8| {
        let text = json!({"Sequence": {"id": name, "type_id": of}});
        [part(begin, of), Some(text), part(end, of)].into_iter().flatten().collect::<Vec<_>>()
    };
    let tokens = [begin, end].into_iter().flatten().map(|(id, token)| {
        (token.to_string(), json!({"id": token, "ids": [id], "tokens": [token]}))
    });
    let pair = [text("A", 0), text("B", 1)].concat();
    Ok(json!({
        "type": "TemplateProcessing",
        "single": text("A", 0),
        "pair": pair,
        "special_tokens": tokens.collect::<Map<String, Value>>(),
    }))
}

/// The contents of `tokenizer_config.json`, and the chat template, if there is one.
pub fn beside<'a>(
    metadata: &Metadata<'a>,
    vocabulary: &Vocabulary,
) -> Result<(Value, Option<&'a str>)> {
    let mut config = Map::new();
    for (name, id) in special::ids(metadata)? {
        config.insert(format!("{name}_token"), vocabulary.token(id)?.into());
    }
    config.insert("clean_up_tokenization_spaces".into(), false.into());
    config.insert("tokenizer_class".into(), "PreTrainedTokenizerFast".into());
    let template = metadata.text("tokenizer.chat_template")?;
    let named = metadata.iter().filter_map(|(key, _)| {
        let name = key.strip_prefix("tokenizer.chat_template.")?;
        let text = metadata.text(key).ok().flatten()?;
        Some(json!({"name": name, "template": text}))
    });
    let named: Vec<Value> = named.collect();
    match (template, named.is_empty()) {
        (template, true) => Ok((config.into(), template)),
        (template, false) => {
            let default = template.map(|text| json!({"name": "default", "template": text}));
            let all: Vec<Value> = default.into_iter().chain(named).collect();
            config.insert("chat_template".into(), all.into());
            Ok((config.into(), None))
        }
    }
}
