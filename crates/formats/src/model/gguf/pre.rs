//! llama.cpp's names for what splits a text before byte-level BPE (`tokenizer.ggml.pre`), and the same
//! splitting in a `tokenizer.json`.
//! Source: the regular expressions of `llama-vocab.cpp`, in the form that published tokenizers have.

use serde_json::{Value, json};

/// GPT-2's: what `ByteLevel` with `use_regex` splits by.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// A digit alone: `Digits` with `individual_digits`.
const DIGIT: &str = r"\p{N}";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// llama.cpp's own, for models of which its converter was told nothing.
const DEFAULT: [&str; 4] = [
    r"[\p{P}\$\+<=>\^~\|]+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
    r"\p{N}+",
    "[0-9][0-9][0-9]",
];

/// How a text is split before BPE, by llama.cpp's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pre {
    /// The value of `tokenizer.ggml.pre`.
    pub name: &'static str,
    /// One regular expression after the other, each splitting what the ones before left.
    pub splits: &'static [&'static str],
    /// Whether a piece that is a token is taken whole, whatever the merges (`ignore_merges`).
    pub ignore_merges: bool,
}

const fn pre(name: &'static str, splits: &'static [&'static str], ignore_merges: bool) -> Pre {
    Pre { name, splits, ignore_merges }
}

/// Of those that split alike, the first is the one that is written.
const ALL: [Pre; 24] = [
    pre("gpt-2", &[GPT2], false),
    pre("phi-2", &[GPT2], false),
    pre("mpt", &[GPT2], false),
    pre("olmo", &[GPT2], false),
    pre("jais", &[GPT2], false),
    pre("smollm", &[DIGIT, GPT2], false),
    pre("starcoder", &[DIGIT, GPT2], false),
    pre("refact", &[DIGIT, GPT2], false),
    pre("command-r", &[DIGIT, GPT2], false),
    pre("codeshell", &[DIGIT, GPT2], false),
    pre("llama-bpe", &[LLAMA3], true),
    pre("llama3", &[LLAMA3], true),
    pre("llama-v3", &[LLAMA3], true),
    pre("falcon3", &[LLAMA3], true),
    pre("pixtral", &[LLAMA3], true),
    pre("smaug-bpe", &[LLAMA3], false),
    pre("dbrx", &[LLAMA3], false),
    pre("qwen2", &[QWEN2], false),
    pre("deepseek-r1-qwen", &[QWEN2], false),
    pre("megrez", &[QWEN2], false),
    pre("stablelm2", &[QWEN2], false),
    pre("tekken", &[TEKKEN], true),
    pre("gpt-4o", &[GPT4O], false),
    pre("default", &DEFAULT, false),
];

impl Pre {
    /// The splitting of that name, if it is one that srft knows.
    pub fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|pre| pre.name == name)
    }

    /// The names of all, for messages.
    pub fn names() -> String {
        ALL.map(|pre| pre.name).join(", ")
    }

    /// The splitting that a `tokenizer.json` does, if llama.cpp has a name for it; `ignore_merges` is
    /// that of its model.
    pub fn of(pre_tokenizer: &Value, ignore_merges: bool) -> Option<Self> {
        let splits = splits(pre_tokenizer)?;
        ALL.into_iter().find(|pre| pre.splits == splits && pre.ignore_merges == ignore_merges)
    }

    /// The `pre_tokenizer` of a `tokenizer.json` that splits so.
    pub fn to_json(self) -> Value {
        let split = |regex: &&str| {
            json!({"type": "Split", "pattern": {"Regex": regex},
            "behavior": "Isolated", "invert": false})
        };
        let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": false});
        let parts: Vec<Value> = self.splits.iter().map(split).chain([bytes]).collect();
        json!({"type": "Sequence", "pretokenizers": parts})
    }
}

/// The regular expressions that split before byte-level BPE; `None` if something else happens there.
fn splits(pre_tokenizer: &Value) -> Option<Vec<&str>> {
    let parts = match pre_tokenizer["type"].as_str()? {
        "Sequence" => pre_tokenizer["pretokenizers"].as_array()?.as_slice(),
        _ => std::slice::from_ref(pre_tokenizer),
    };
    let (last, before) = parts.split_last()?;
    let mut splits = before.iter().map(split).collect::<Option<Vec<_>>>()?;
    if last["type"] != "ByteLevel" || last["add_prefix_space"] != false {
        return None;
    }
    // It splits by GPT-2's unless told not to.
    splits.extend((last["use_regex"] != false).then_some(GPT2));
    Some(splits)
}

fn split(part: &Value) -> Option<&str> {
    match part["type"].as_str()? {
        "Digits" => (part["individual_digits"] == true).then_some(DIGIT),
        // These regular expressions match every character, so nothing lies between their matches.
        "Split" => match (part["behavior"].as_str()?, part["invert"] == true) {
            ("Isolated", false) | ("Removed", true) => part["pattern"]["Regex"].as_str(),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_forms_have_names() {
        let bytes = |regex: bool| {
            json!({"type": "ByteLevel", "add_prefix_space": false,
            "trim_offsets": true, "use_regex": regex})
        };
        let split = |regex: &str, behavior: &str, invert: bool| {
            json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior,
                "invert": invert})
        };
        let sequence = |parts: Vec<Value>| json!({"type": "Sequence", "pretokenizers": parts});
        let digits = json!({"type": "Digits", "individual_digits": true});
        for (form, ignores, name) in [
            (bytes(true), false, Some("gpt-2")),
            (sequence(vec![digits.clone(), bytes(true)]), false, Some("smollm")),
            (
                sequence(vec![split(LLAMA3, "Isolated", false), bytes(false)]),
                true,
                Some("llama-bpe"),
            ),
            (
                sequence(vec![split(LLAMA3, "Removed", true), bytes(false)]),
                false,
                Some("smaug-bpe"),
            ),
            (sequence(vec![split(QWEN2, "Isolated", false), bytes(false)]), false, Some("qwen2")),
            (sequence(vec![split(QWEN2, "Isolated", false), bytes(false)]), true, None),
            (sequence(vec![split(QWEN2, "Isolated", false), bytes(true)]), false, None),
            (sequence(vec![split(QWEN2, "Removed", false), bytes(false)]), false, None),
            (json!({"type": "ByteLevel", "add_prefix_space": true}), false, None),
            (json!({"type": "Whitespace"}), false, None),
            (sequence(vec![]), false, None),
            (Value::Null, false, None),
        ] {
            assert_eq!(Pre::of(&form, ignores).map(|pre| pre.name), name, "{form}");
        }
    }

    #[test]
    fn a_written_form_is_read_as_its_kind() {
        for pre in ALL {
            let read = Pre::of(&pre.to_json(), pre.ignore_merges).expect(pre.name);
            assert_eq!((read.splits, read.ignore_merges), (pre.splits, pre.ignore_merges));
            assert_eq!(Pre::named(pre.name), Some(pre));
        }
    }
}
