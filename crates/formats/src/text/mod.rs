//! Text to tokens and back, over a Hugging Face `tokenizer.json`.
//!
//! Deviations from the file, all to prevent silent loss: truncation and padding are switched off; text
//! that the vocabulary can't spell is an error rather than an unknown token; what the file puts after a
//! text, such as an end-of-text, is left out, since a prompt is to be continued; begin-of-text isn't
//! put before a text that already has it. If the library panics over a file, that becomes an error.

mod characters;
pub mod chat;
mod engine;
mod lost;
mod special;

use std::cell::LazyCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;
use tokenizers::AddedToken;

use crate::error::{Error, Result};
pub use engine::blame;
use engine::{Engine, contradictory, malformed};
use lost::Lost;

/// A tokenizer as its `tokenizer.json` describes it; clones share it.
#[derive(Clone)]
pub struct Tokenizer {
    engine: Engine,
    /// The tokens put before a text that begins a sequence; `None` if the file contradicts itself.
    begin: Option<Vec<u32>>,
    /// Whether it puts a space before every text; a text that continues another must not get one.
    spaces: bool,
    /// The token for whatever the vocabulary lacks, if there is one.
    unknown: Option<u32>,
    /// A byte-pair model without an unknown token drops what it can't spell, and shifts the offsets of
    /// what follows. `None` if nothing can be dropped.
    lost: Option<Lost>,
    /// Special tokens that match in the text exactly, whatever surrounds them.
    fixed: Arc<HashSet<u32>>,
    /// The tokens that carry no text: begin- and end-of-text, padding. `None` if no file says which
    /// they are: then all special tokens count as such.
    silent: Option<HashSet<u32>>,
    /// The end-of-text that its own files name.
    end: Option<u32>,
    /// Highest id + 1.
    vocab_size: usize,
    /// Ids from here on have no row in the model's embedding.
    rows: usize,
}

/// A text in tokens.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pieces {
    /// The tokens.
    pub ids: Vec<u32>,
    /// The byte range of the text for each token, (start, end). Tokens that share a character all have
    /// its whole range; white space that the tokenizer drops belongs to none.
    pub ranges: Vec<(usize, usize)>,
}

impl Pieces {
    /// The index of the first token that begins at byte `at` or later.
    pub fn first_from(&self, at: usize) -> usize {
        self.ranges.partition_point(|range| range.0 < at)
    }

    /// Appends `others`, the pieces of a text that begins at byte `start` of this one's.
    pub fn append(&mut self, others: &Pieces, start: usize) {
        self.ids.extend(&others.ids);
        self.ranges.extend(others.ranges.iter().map(|range| (range.0 + start, range.1 + start)));
    }

    /// The tokens `from..to`.
    pub fn part(&self, from: usize, to: usize) -> Self {
        Self { ids: self.ids[from..to].to_vec(), ranges: self.ranges[from..to].to_vec() }
    }
}

impl Tokenizer {
    /// Reads the contents of a `tokenizer.json`; `place` names the file in errors.
    pub fn from_bytes(json: &[u8], place: &str) -> Result<Self> {
        let at = |e: Error| e.at(place);
        let parsed: Value = serde_json::from_slice(json).map_err(|e| at(malformed(e)))?;
        let (engine, begin) = Engine::of(json, &parsed).map_err(at)?;
        let lost = match &engine {
            Engine::Library(..) => {
                let vocabulary = LazyCell::new(|| engine.vocabulary(false));
                Lost::of(&parsed, |token| vocabulary.contains_key(token))
            }
            Engine::Characters(_) => None,
        };
        let model = &parsed["model"];
        let unknown = match model["unk_token"].as_str() {
            Some(token) => engine.id(token),
            None => model["unk_id"].as_u64().and_then(|id| u32::try_from(id).ok()),
        };
        let spaces = [&parsed["normalizer"], &parsed["pre_tokenizer"]].into_iter().any(puts_space);
        let tokenizer = Self {
            engine,
            begin,
            spaces,
            unknown,
            lost,
            fixed: Arc::default(),
            silent: None,
            end: None,
            vocab_size: 0,
            rows: usize::MAX,
        };
        match tokenizer.measured() {
            Some(tokenizer) => Ok(tokenizer),
            None => Err(at(malformed("its vocabulary is empty"))),
        }
    }

    /// Adapts it to a model with so many rows in its embedding. Tokens beyond them that were added to
    /// the tokenizer, such as one for padding, are an error only when a text contains them.
    pub fn for_vocabulary(self, rows: usize) -> Result<Self> {
        let added = self.engine.added();
        let ids = self.engine.vocabulary(true).into_values();
        if ids.into_iter().any(|id| id as usize >= rows && !added.contains_key(&id)) {
            return Err(Error::input(format!(
                "the tokenizer has {} tokens, but the model has a vocabulary of {rows}",
                self.vocab_size
            ))
            .next("use the tokenizer.json that belongs to this model"));
        }
        Ok(Self { rows, ..self })
    }

    /// Scans the vocabulary; `None` if it is empty.
    fn measured(self) -> Option<Self> {
        let highest = self.engine.vocabulary(true).into_values().max()?;
        let added = self.engine.added();
        let fixed = added.into_iter().filter(|(_, token)| token.special && !token.normalized);
        let fixed = Arc::new(fixed.map(|(id, _)| id).collect());
        Some(Self { fixed, vocab_size: highest as usize + 1, ..self })
    }

    /// Tokens of a text that begins a sequence: begin-of-text first, if the tokenizer has one and the
    /// text doesn't, and nothing after the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let ids = self.pieces(text)?.ids;
        Ok([self.begin_before(&ids)?, &ids].concat())
    }

    /// Tokens of a text that continues a sequence, such as a response alone: without the space that
    /// some tokenizers put before every text. If the preceding text is known, use `data::encode`, which
    /// tokenizes the two as one.
    pub fn encode_continuation(&self, text: &str) -> Result<Vec<u32>> {
        if self.spaces {
            // A preceding character that no token of the text merges with.
            for before in ["\n", "a", ".", "0"] {
                let Ok(pieces) = self.pieces(&[before, text].concat()) else { continue };
                let first = pieces.first_from(before.len());
                let ends = first.checked_sub(1).map(|last| pieces.ranges[last].1);
                if ends == Some(before.len()) {
                    return Ok(pieces.ids[first..].to_vec());
                }
            }
        }
        Ok(self.pieces(text)?.ids)
    }

    /// What must precede the tokens of a text that begins a sequence: begin-of-text, or nothing if the
    /// tokenizer has none or the text already has it.
    pub fn begin_before(&self, ids: &[u32]) -> Result<&[u32]> {
        let begin = self.begin.as_deref().ok_or_else(contradictory)?;
        Ok(if ids.starts_with(begin) { &[] } else { begin })
    }

    /// Whether the token is special: ordinary text is never split into it.
    pub fn is_special(&self, id: u32) -> bool {
        self.engine.added().get(&id).is_some_and(|token| token.special)
    }

    /// Whether the token is recognised whatever text surrounds it, as control tokens are.
    pub fn is_fixed(&self, id: u32) -> bool {
        self.fixed.contains(&id)
    }

    /// The end-of-text that the tokenizer's own files name.
    pub fn end(&self) -> Option<u32> {
        self.end
    }

    /// The tokenizer for a model in which `ids` end a text too: `decode` leaves them out.
    #[must_use]
    pub fn ended_by(mut self, ids: &[u32]) -> Self {
        if let Some(silent) = &mut self.silent {
            silent.extend(ids);
        }
        self
    }

    /// The text of `ids` without begin-of-text, end-of-text and padding. Other special tokens, such as
    /// `<think>`, are kept as text; if no `tokenizer_config.json` says which is which, all are left
    /// out. An id that the tokenizer doesn't know (a model's vocabulary may be padded) becomes U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        let silent = |id: &u32| self.silent.as_ref().is_some_and(|silent| silent.contains(id));
        let ids: Vec<u32> = ids.iter().copied().filter(|id| !silent(id)).collect();
        self.decoded(&ids, self.silent.is_none())
    }

    /// The text of `ids` with all special tokens written out.
    pub fn decode_spelled(&self, ids: &[u32]) -> String {
        self.decoded(ids, false)
    }

    fn decoded(&self, ids: &[u32], skips_special: bool) -> String {
        let decoded = |run| self.engine.decoded(run, skips_special);
        let known = |run| decoded(run).unwrap_or_else(|| UNKNOWN.into());
        let runs = ids.split(|&id| self.engine.token(id).is_none());
        runs.map(known).collect::<Vec<_>>().join(UNKNOWN)
    }

    /// Number of ids, gaps included: the least number of rows that a model's embedding needs.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The id of a token as the vocabulary spells it.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.engine.id(token)
    }

    /// The token as the vocabulary spells it; U+FFFD for an unknown id.
    pub fn token(&self, id: u32) -> String {
        self.engine.token(id).unwrap_or_else(|| UNKNOWN.into())
    }

    /// The token as the vocabulary spells it, if there is one.
    pub(crate) fn spelling(&self, id: u32) -> Option<String> {
        self.engine.token(id)
    }

    /// The tokens that were added to the vocabulary, by id.
    pub(crate) fn added(&self) -> HashMap<u32, AddedToken> {
        self.engine.added()
    }

    /// Whether it puts a space before every text.
    pub(crate) fn spaces(&self) -> bool {
        self.spaces
    }

    /// Tokens as the vocabulary spells them.
    pub fn spelled(&self, ids: &[u32]) -> Vec<String> {
        ids.iter().map(|&id| self.token(id)).collect()
    }

    /// What each token adds to the text, special tokens written out. A part of a character shows as U+FFFD.
    pub fn written(&self, ids: &[u32]) -> Vec<String> {
        let each = ids.iter().enumerate().map(|(i, &id)| {
            let alone = || self.decode_spelled(&[id]);
            // Some tokenizers drop the space of a text's first token.
            let Some(&before) = i.checked_sub(1).and_then(|i| ids.get(i)) else { return alone() };
            let both = self.decode_spelled(&[before, id]);
            both.strip_prefix(&self.decode_spelled(&[before])).map_or_else(alone, String::from)
        });
        each.collect()
    }

    /// Tokens of a text with nothing added, and their ranges in it.
    pub fn pieces(&self, text: &str) -> Result<Pieces> {
        let alone = |c: char| self.engine.pieces(c.encode_utf8(&mut [0; 4])).ok()?;
        let position = |is_lost: &dyn Fn(char) -> bool| text.chars().position(is_lost);
        let Some(pieces) = self.engine.pieces(text)? else {
            return Err(unspeakable(text, position(&|c| alone(c).is_none()).unwrap_or(0)));
        };
        let ids = &pieces.ids;
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= self.rows) {
            return Err(Error::input(format!(
                "the token `{}` has the id {id}, and the model's vocabulary ends at {}: it was \
                 added to the tokenizer but not to the model",
                self.token(id),
                self.rows - 1
            ))
            .next("write the text without it, or use a model that has it"));
        }
        if let Some(at) = ids.iter().position(|&id| Some(id) == self.unknown) {
            let (start, _) = pieces.ranges[at];
            let before = text.get(..start).unwrap_or_default();
            return Err(unspeakable(text, before.chars().count()));
        }
        let vanishes =
            |c: char| !c.is_whitespace() && alone(c).is_some_and(|pieces| pieces.ids.is_empty());
        if let Some(at) = self.lost.as_ref().and_then(|lost| lost.first_in(text, vanishes)) {
            return Err(unspeakable(text, at));
        }
        Ok(pieces)
    }
}

/// Whether a normalizer or pre-tokenizer puts a space before every text.
fn puts_space(part: &Value) -> bool {
    let inner = part["normalizers"].as_array().or_else(|| part["pretokenizers"].as_array());
    match part["type"].as_str() {
        Some("Prepend") => true,
        Some("Metaspace") => match part["prepend_scheme"].as_str() {
            Some(scheme) => scheme != "never",
            None => part["add_prefix_space"] != false,
        },
        Some("ByteLevel") => part["add_prefix_space"] == true,
        _ => inner.is_some_and(|parts| parts.iter().any(puts_space)),
    }
}

/// U+FFFD, Unicode's replacement character.
const UNKNOWN: &str = "\u{FFFD}";

const PUBLISHED: &str = "use the tokenizer.json that was published with the model";

/// The error for the character at index `at` of `text`.
fn unspeakable(text: &str, at: usize) -> Error {
    let character = text.chars().nth(at).unwrap_or('\u{FFFD}');
    Error::input(format!(
        "the tokenizer has no token for {character:?}, character {} of {text:?}",
        at + 1
    ))
    .next("remove the character, or use a model whose tokenizer knows it")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: &[u8] = srft_assets::TINY_TOKENIZER.as_bytes();

    fn tiny() -> Tokenizer {
        Tokenizer::from_bytes(TINY, "tokenizer.json").unwrap()
    }

    /// A tokenizer with one line of its JSON replaced.
    fn altered(from: &str, to: &str) -> Result<Tokenizer> {
        let json = std::str::from_utf8(TINY).unwrap();
        assert!(json.contains(from), "{from} is not in the tiny tokenizer");
        Tokenizer::from_bytes(json.replace(from, to).as_bytes(), "tokenizer.json")
    }

    #[test]
    fn tiny_vocabulary_is_the_documented_one() {
        let tokenizer = tiny();
        let spelled: String = (0..23).map(|id| tokenizer.token(id)).collect();
        assert_eq!(spelled, "_^$0123456789+-*%=,;:>s");
        assert_eq!(tokenizer.vocab_size(), 23);
        assert_eq!(tokenizer.token(23), "\u{FFFD}");
    }

    #[test]
    fn begin_of_text_stands_in_front_of_prompts_only() {
        let tokenizer = tiny();
        assert_eq!(tokenizer.encode("5+1=").unwrap(), [1, 8, 13, 4, 17]);
        assert_eq!(tokenizer.encode_continuation("5+1=").unwrap(), [8, 13, 4, 17]);
        assert_eq!(tokenizer.encode_continuation("").unwrap(), [0u32; 0]);
    }

    #[test]
    fn decoding_skips_special_tokens_and_shows_unknown_ids() {
        let tokenizer = tiny();
        assert_eq!(tokenizer.decode(&[1, 8, 13, 4, 17, 2, 0]), "5+1=");
        assert_eq!(tokenizer.decode(&[8, 40, 4]), "5\u{FFFD}1");
        assert_eq!(tokenizer.decode(&[]), "");
    }

    #[test]
    fn a_character_without_token_is_named() {
        for (text, named) in [("5+é=", "'é', character 3"), ("5 1", "' ', character 2")] {
            let error = tiny().encode(text).unwrap_err();
            assert!(error.what.contains(named), "{error}");
        }
    }

    #[test]
    fn an_unknown_token_does_not_hide_a_lost_character() {
        let tokenizer = altered("\"unk_token\": \"none\"", "\"unk_token\": \"s\"").unwrap();
        let error = tokenizer.encode("12é").unwrap_err();
        assert!(error.what.contains("'é', character 3"), "{error}");
    }

    #[test]
    fn a_model_that_drops_characters_is_caught() {
        let json = r#"{"version": "1.0", "added_tokens": [], "model":
            {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}"#;
        let tokenizer = Tokenizer::from_bytes(json.as_bytes(), "tokenizer.json").unwrap();
        assert_eq!(tokenizer.encode("ab").unwrap(), [0, 1]);
        let error = tokenizer.encode("axb ").unwrap_err();
        assert!(error.what.contains("'x', character 2"), "{error}");
    }

    #[test]
    fn truncation_in_the_file_is_ignored() {
        let truncation = r#""truncation": {"direction": "Right", "max_length": 2,
            "strategy": "LongestFirst", "stride": 0}"#;
        let tokenizer = altered("\"truncation\": null", truncation).unwrap();
        assert_eq!(tokenizer.encode("12345").unwrap().len(), 6);
    }

    #[test]
    fn parts_that_contradict_each_other_are_errors() {
        let model = r#""added_tokens": [], "model": {"type": "BPE", "vocab": {"a": 0, " ": 1},
            "merges": []}"#;
        let with = |part: &str| {
            Tokenizer::from_bytes(format!("{{{part}, {model}}}").as_bytes(), "m/tokenizer.json")
        };
        // The library panics on reading, on encoding (found by fuzz/) and on decoding.
        let charsmap = r#""normalizer": {"type": "Precompiled", "precompiled_charsmap": ""}"#;
        let error = with(charsmap).err().unwrap();
        assert!(error.to_string().starts_with("m/tokenizer.json: the parts"), "{error}");
        let template = r#""post_processor": {"type": "TemplateProcessing", "pair": [],
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}}], "special_tokens": {}}"#;
        assert!(with(template).unwrap().encode("a").unwrap_err().what.contains("contradict"));
        assert_eq!(with(template).unwrap().encode_continuation("a").unwrap(), [0]);
        let strip = r#""decoder": {"type": "Strip", "content": " ", "start": 1, "stop": 1}"#;
        let tokenizer = with(strip).unwrap();
        assert_eq!((tokenizer.decode(&[0]), tokenizer.decode(&[1])), ("a".into(), UNKNOWN.into()));
    }

    #[test]
    fn malformed_files_are_errors_with_their_place() {
        for json in ["", "{", "[]", "{\"version\": \"1.0\"}"] {
            let error = Tokenizer::from_bytes(json.as_bytes(), "m/tokenizer.json").err().unwrap();
            assert_eq!(error.place.as_deref(), Some("m/tokenizer.json"));
            assert!(error.next.is_some());
        }
        assert!(altered("WordLevel", "WordLeveled").is_err());
    }
}
