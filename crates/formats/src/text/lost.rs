//! Which characters a byte-pair tokenizer without an unknown token silently drops.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

/// Parts of a tokenizer.json that leave every character unchanged.
const LEAVING: [&str; 9] = [
    "BertPreTokenizer",
    "ByteLevel",
    "Digits",
    "Punctuation",
    "Sequence",
    "Split",
    "UnicodeScripts",
    "Whitespace",
    "WhitespaceSplit",
];

/// Parts that change characters but drop none.
const CHANGING: [&str; 8] =
    ["Lowercase", "Metaspace", "NFC", "NFD", "NFKC", "NFKD", "Prepend", "Replace"];

/// The dropped characters, as far as they are known; clones share them. Each character is checked once:
/// encoding it alone takes as long as encoding a word.
#[derive(Debug, Clone, Default)]
pub struct Lost {
    /// The bytes without a token, if a character is dropped only when it has such a byte.
    bytes: Option<Arc<[bool; 256]>>,
    known: Arc<RwLock<HashMap<char, bool>>>,
}

impl Lost {
    /// `None` if nothing can be dropped: there is an unknown token, or a token for each of the 256
    /// bytes of which every character consists.
    pub fn of(json: &Value, has: impl Fn(&str) -> bool) -> Option<Self> {
        let model = &json["model"];
        let drops = model["type"] == "BPE" && model["unk_token"].is_null();
        let parts = [&json["normalizer"], &json["pre_tokenizer"]];
        let is_by_bytes = parts.into_iter().any(is_byte_level);
        let bytes = byte_characters().map(|c| !has(c.encode_utf8(&mut [0; 4])));
        let falls_back = model["byte_fallback"] == true
            && (0..=u8::MAX).all(|byte| has(&format!("<0x{byte:02X}>")));
        let covers = is_by_bytes && !bytes.contains(&true) || falls_back;
        if !drops || covers && parts.into_iter().all(keeps) {
            return None;
        }
        let tells = is_by_bytes && parts.into_iter().all(leaves);
        Some(Self { bytes: tells.then(|| Arc::new(bytes)), ..Self::default() })
    }

    /// The index, in characters, of the first dropped character of `text`; `is_lost` checks characters
    /// not seen before.
    pub fn first_in(&self, text: &str, is_lost: impl Fn(char) -> bool) -> Option<usize> {
        let has_one = |lacking: &Arc<[bool; 256]>| text.bytes().any(|b| lacking[usize::from(b)]);
        if !self.bytes.as_ref().is_none_or(has_one) {
            return None;
        }
        let known = || self.known.read().unwrap_or_else(PoisonError::into_inner);
        let new: HashSet<char> = {
            let known = known();
            text.chars().filter(|c| !known.contains_key(c)).collect()
        };
        if !new.is_empty() {
            let found: Vec<(char, bool)> = new.into_iter().map(|c| (c, is_lost(c))).collect();
            self.known.write().unwrap_or_else(PoisonError::into_inner).extend(found);
        }
        let known = known();
        text.chars().position(|c| known[&c])
    }
}

/// The characters that stand for bytes, indexed by byte: a printable byte is the character with its
/// number; the others are, in order, the characters from 256 on.
fn byte_characters() -> [char; 256] {
    let mut all = Vec::from_iter(ByteLevel::alphabet());
    all.sort_unstable();
    let mut others = all.iter().filter(|c| u32::from(**c) > 255);
    std::array::from_fn(|byte| {
        let own = char::from(byte as u8);
        let mut other = || *others.next().expect("256 characters for 256 bytes");
        if all.contains(&own) { own } else { other() }
    })
}

/// The parts inside a part.
fn inner(part: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["normalizers", "pretokenizers"].into_iter().filter_map(|key| part[key].as_array());
    lists.flatten()
}

fn is_byte_level(part: &Value) -> bool {
    part["type"] == "ByteLevel" || inner(part).any(is_byte_level)
}

fn keeps(part: &Value) -> bool {
    is_of(part, &[&LEAVING[..], &CHANGING].concat())
}

fn leaves(part: &Value) -> bool {
    is_of(part, &LEAVING)
}

/// Whether a part and the parts inside it are of these `kinds` and remove nothing.
fn is_of(part: &Value, kinds: &[&str]) -> bool {
    let known = part["type"].as_str().is_some_and(|name| kinds.contains(&name));
    let removes = part["behavior"] == "Removed" || part["content"] == "";
    part.is_null() || known && !removes && inner(part).all(|part| is_of(part, kinds))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether characters must be checked for a byte-pair tokenizer whose vocabulary has every byte
    /// except `lacks`.
    fn is_asked(model: &str, parts: &str, lacks: Option<&str>) -> bool {
        let json =
            format!("{{\"model\": {{\"type\": \"BPE\", \"unk_token\": null{model}}}{parts}}}");
        let json: Value = serde_json::from_str(&json).unwrap();
        let bytes = (0..=u8::MAX).map(|byte| format!("<0x{byte:02X}>"));
        let all: Vec<String> =
            ByteLevel::alphabet().into_iter().map(String::from).chain(bytes).collect();
        Lost::of(&json, |token| Some(token) != lacks && all.iter().any(|t| t == token)).is_some()
    }

    #[test]
    fn characters_are_asked_for_only_where_one_may_be_lost() {
        let level = ", \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \
            \"behavior\": \"Isolated\"}, {\"type\": \"ByteLevel\"}]}";
        let fallback = ", \"byte_fallback\": true";
        let removes = level.replace("Isolated", "Removed");
        let replaces = |with: &str| {
            format!("{level}, \"normalizer\": {{\"type\": \"Replace\", \"content\": \"{with}\"}}")
        };
        for (model, parts, lacks, asked) in [
            ("", level, None, false),
            ("", level, Some("a"), true),
            ("", "", None, true),
            (fallback, "", None, false),
            (fallback, "", Some("<0x7F>"), true),
            ("", removes.as_str(), None, true),
            ("", replaces("_").as_str(), None, false),
            ("", replaces("").as_str(), None, true),
            (fallback, ", \"normalizer\": {\"type\": \"BertNormalizer\"}", None, true),
        ] {
            assert_eq!(is_asked(model, parts, lacks), asked, "{model} {parts} {lacks:?}");
        }
        let word_level = serde_json::json!({"model": {"type": "WordLevel", "unk_token": "?"}});
        assert!(Lost::of(&word_level, |_| false).is_none());
    }

    #[test]
    fn a_character_is_asked_for_once() {
        let (lost, asked) = (Lost::default(), std::cell::RefCell::new(String::new()));
        let first = |text| {
            lost.first_in(text, |c| {
                asked.borrow_mut().push(c);
                c == 'x'
            })
        };
        assert_eq!(
            (first("aa"), first("aéx"), first("xa"), first("")),
            (None, Some(2), Some(0), None)
        );
        assert_eq!(asked.borrow().chars().count(), 3, "{asked:?}");
    }

    /// SmolLM2's tokenizer lacks tokens for some control characters: only texts with them need a check.
    #[test]
    fn only_texts_with_a_byte_that_lacks_a_token_are_asked_for() {
        let lost = |normalizer: &str| {
            let json = format!(
                r#"{{"model": {{"type": "BPE"}}, "pre_tokenizer": {{"type": "ByteLevel"}}{normalizer}}}"#
            );
            let lacks = |token: &str| token == "a" || token == "\u{104}";
            Lost::of(&serde_json::from_str(&json).unwrap(), |token| !lacks(token)).unwrap()
        };
        let asks = |lost: &Lost, text| {
            let asked = std::cell::Cell::new(false);
            lost.first_in(text, |_| {
                asked.set(true);
                false
            });
            asked.get()
        };
        let by_bytes = lost("");
        assert!(!asks(&by_bytes, "é日 b") && asks(&by_bytes, "ba") && asks(&by_bytes, "\u{4}"));
        assert!(
            asks(&lost(r#", "normalizer": {"type": "NFC"}"#), "b"),
            "it may make another of it"
        );
    }
}
