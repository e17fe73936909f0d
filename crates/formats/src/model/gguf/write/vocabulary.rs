//! A tokenizer in llama.cpp's words (`set_vocab` of its converter). llama.cpp splits and merges by code of
//! its own, so a tokenizer that it would read otherwise is refused.

use super::super::pre::Pre;
use super::{Metadata, Value};
use crate::error::{Error, Result};
use crate::model::ModelConfig;
use crate::names::{SPECIAL_TOKENS_MAP, TOKENIZER_CONFIG};
use crate::text::Tokenizer;
use crate::text::chat::files;
use serde_json::{Map, Value as Json};
use std::collections::{HashMap, HashSet};

/// The metadata that describe a tokenizer.
#[derive(Debug, Clone)]
pub struct Vocabulary(Metadata);

/// The files of a model folder that say how text is read.
#[derive(Debug, Clone, Copy)]
pub struct TextFiles<'a> {
    /// `config.json`.
    pub model: &'a [u8],
    /// `tokenizer.json`.
    pub tokenizer: &'a [u8],
    /// `tokenizer_config.json`.
    pub config: Option<&'a [u8]>,
    /// `special_tokens_map.json`.
    pub special: Option<&'a [u8]>,
    /// `chat_template.jinja`.
    pub template: Option<&'a [u8]>,
    /// The folder, for errors.
    pub place: &'a str,
}

/// llama.cpp's numbers of kinds of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

const SPACE: char = '▁';

impl Vocabulary {
    /// The tokenizer of those files, for a model of that config. `pre` is the name that the user gave to
    /// what splits a text, where the files don't tell.
    pub fn of(
        tokenizer: &Tokenizer,
        files: TextFiles,
        config: &ModelConfig,
        pre: Option<&str>,
    ) -> Result<Self> {
        let place = format!("{}/tokenizer.json", files.place);
        let parsed: Json = serde_json::from_slice(files.tokenizer)
            .map_err(|e| Error::input(e.to_string()).at(&place))?;
        let tokens = Tokens::of(tokenizer, config.vocab_size);
        let mut metadata = match kind_of(&parsed) {
            Some("llama") => tokens.sentence_piece(&parsed, tokenizer),
            Some(_) => tokens.byte_level(&parsed, pre),
            None => Err(unknown("its model")),
        }
        .map_err(|e| e.at(&place))?;
        metadata.extend(special_tokens(tokenizer, files, config)?);
        metadata.extend(chat_template(files)?);
        let key = |(key, value)| (format!("tokenizer.{key}"), value);
        Ok(Self(metadata.into_iter().map(key).collect()))
    }

    /// Its keys and values.
    pub fn into_metadata(self) -> Metadata {
        self.0
    }
}

/// `llama` for SentencePiece's BPE with byte fallback, `gpt2` for byte-level BPE; none for others.
fn kind_of(parsed: &Json) -> Option<&'static str> {
    let model = &parsed["model"];
    let is_off = |field: &str| model[field].as_str().unwrap_or_default().is_empty();
    match model["type"].as_str()? {
        "BPE" if model["byte_fallback"] == true => Some("llama"),
        "BPE" if is_off("continuing_subword_prefix") && is_off("end_of_word_suffix") => {
            Some("gpt2")
        }
        "WordLevel" if is_by_character(parsed) => Some("gpt2"),
        _ => None,
    }
}

/// A token a character, as the built-in model's. Where all are ASCII, that is byte-level BPE that merges
/// nothing.
fn is_by_character(parsed: &Json) -> bool {
    let split = json_split(".");
    let is_one = |token: &String| matches!(token.as_bytes(), [b'!'..=b'~']);
    let vocabulary = parsed["model"]["vocab"].as_object();
    parsed["pre_tokenizer"] == split && vocabulary.is_some_and(|v| v.keys().all(is_one))
}

fn json_split(regex: &str) -> Json {
    serde_json::json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated",
        "invert": false})
}

/// The error for a tokenizer that llama.cpp does not know.
fn unknown(what: &str) -> Error {
    Error::input(format!("llama.cpp has no tokenizer that works as this one: {what} is another"))
        .next("use the model as a Hugging Face folder: srft merge")
}

/// A token for each row of the embedding.
struct Tokens {
    texts: Vec<String>,
    kinds: Vec<Kind>,
}

impl Tokens {
    fn of(tokenizer: &Tokenizer, rows: usize) -> Self {
        let added = tokenizer.added();
        let token = |id: u32| {
            // llama.cpp refuses a text that two tokens have.
            let text = tokenizer.spelling(id).filter(|text| tokenizer.id(text) == Some(id));
            match (text, added.get(&id)) {
                (None, _) => (format!("[PAD{id}]"), Kind::Unused),
                (Some(text), None) => (text, Kind::Normal),
                (Some(text), Some(token)) if token.special || looks_special(&text) => {
                    (text, Kind::Control)
                }
                (Some(text), Some(_)) => (text.replace(SPACE, " "), Kind::UserDefined),
            }
        };
        let (texts, kinds) = (0..rows as u32).map(token).unzip();
        Self { texts, kinds }
    }

    fn metadata(self, model: &str, pre: &str) -> Metadata {
        let kinds = self.kinds.into_iter().map(|kind| kind as i32).collect();
        vec![
            ("ggml.model".into(), Value::Text(model.into())),
            ("ggml.pre".into(), Value::Text(pre.into())),
            ("ggml.tokens".into(), Value::Texts(self.texts)),
            ("ggml.token_type".into(), Value::I32s(kinds)),
        ]
    }

    /// Byte-level BPE, with what splits the text before it.
    fn byte_level(self, parsed: &Json, given: Option<&str>) -> Result<Metadata> {
        require_normalizers(parsed, |part| part["type"] == "NFC")?;
        if parsed["model"]["type"] == "WordLevel" {
            // llama.cpp wants merges; this is one of two bytes that no token here has.
            let mut metadata = self.metadata("gpt2", "gpt-2");
            metadata.push(("ggml.merges".into(), Value::Texts(vec!["Ā ā".into()])));
            return Ok(metadata);
        }
        let ignore_merges = parsed["model"]["ignore_merges"] == true;
        let pre = match (given, Pre::of(&parsed["pre_tokenizer"], ignore_merges)) {
            (Some(given), _) => given,
            (None, Some(pre)) => pre.name,
            (None, None) => {
                return Err(Error::input(
                    "how it splits a text before merging (pre_tokenizer, ignore_merges) is none of the ways \
                     that srft knows a name of llama.cpp's for",
                )
                .next("give the name with --gguf-pre: what tokenizer.ggml.pre is in a GGUF of this model"));
            }
        };
        let merges = merges(parsed)?;
        // A space in a merge would end its first half.
        let spaced = |part: &str| part.replace(' ', "Ġ");
        let merges = merges.iter().map(|(l, r)| format!("{} {}", spaced(l), spaced(r))).collect();
        let mut metadata = self.metadata("gpt2", pre);
        metadata.push(("ggml.merges".into(), Value::Texts(merges)));
        Ok(metadata)
    }

    /// SentencePiece's BPE. llama.cpp has no merges there: it joins the two neighbours that make the token
    /// of the best score, so the scores are the merges' order.
    fn sentence_piece(mut self, parsed: &Json, tokenizer: &Tokenizer) -> Result<Metadata> {
        let is_space = |part: &Json| match part["type"].as_str() {
            Some("Prepend") => part["prepend"] == "▁",
            Some("Replace") => part["pattern"]["String"] == " " && part["content"] == "▁",
            _ => false,
        };
        require_normalizers(parsed, is_space)?;
        let before = &parsed["pre_tokenizer"];
        let keeps_whole = match before["type"].as_str() {
            None => before.is_null(),
            Some("Metaspace") => before["split"] == false,
            // Gemma's: at spaces, of which the normalizer leaves none.
            Some("Split") => before["pattern"]["String"] == " " && has_no_spaces(parsed),
            Some(_) => false,
        };
        if !keeps_whole {
            return Err(unknown("its pre_tokenizer"));
        }
        let unknown = &parsed["model"]["unk_token"];
        for (text, kind) in self.texts.iter().zip(&mut self.kinds) {
            let is_byte = text.len() == 6 && text.starts_with("<0x") && text.ends_with('>');
            match kind {
                Kind::Normal if is_byte => *kind = Kind::Byte,
                _ if *unknown == text.as_str() => *kind = Kind::Unknown,
                _ => {}
            }
        }
        let scores = self.scores(&merges(parsed)?)?;
        let mut metadata = self.metadata("llama", "default");
        metadata.push(("ggml.scores".into(), Value::F32s(scores)));
        metadata.push(("ggml.add_space_prefix".into(), Value::Bool(tokenizer.spaces())));
        Ok(metadata)
    }

    /// Scores that make llama.cpp merge in the order of `merges`. All merges that make a token must stand
    /// together, and be all the ways to make it of two tokens, as in a converted `tokenizer.model`. Merges that
    /// make an added token, as Gemma's runs of spaces, must come first: llama.cpp takes these out of a text
    /// before it merges.
    fn scores(&self, merges: &[(&str, &str)]) -> Result<Vec<f32>> {
        let refused = |token: &str| {
            unknown("its merges are not those of a SentencePiece model")
                .at(format!("model.merges: `{token}`"))
        };
        let normal = |kind: &Kind| *kind == Kind::Normal;
        let pieces = self.texts.iter().zip(&self.kinds).filter(|(_, kind)| normal(kind));
        let known: HashSet<&str> = pieces.map(|(text, _)| text.as_str()).collect();
        let mut made: HashMap<String, (usize, usize)> = HashMap::new(); // rank, ways
        let mut last = String::new();
        for (left, right) in merges {
            let piece = [*left, *right].concat();
            if !known.contains(&*piece) {
                match made.is_empty() {
                    true => continue,
                    false => return Err(refused(&piece)),
                }
            }
            let rank = made.len();
            let entry = made.entry(piece.clone()).or_insert((rank, 0));
            if entry.1 > 0 && piece != last {
                return Err(refused(&piece));
            }
            entry.1 += 1;
            last = piece;
        }
        let score = |(text, kind): (&String, &Kind)| {
            if !normal(kind) {
                return Ok(0.0);
            }
            let cuts = text.char_indices().skip(1).map(|(at, _)| text.split_at(at));
            let ways = cuts.filter(|(l, r)| known.contains(l) && known.contains(r)).count();
            let (rank, listed) = made.get(text).copied().unwrap_or((0, 0));
            if ways == listed { Ok(-(rank as f32)) } else { Err(refused(text)) }
        };
        self.texts.iter().zip(&self.kinds).map(score).collect()
    }
}

/// Tokens that are control tokens though their files don't say so (`does_token_look_special`).
fn looks_special(text: &str) -> bool {
    let between = |start: &str, end: &str| text.starts_with(start) && text.ends_with(end);
    ["<pad>", "<mask>", "<2mass>", "[@BOS@]"].contains(&text)
        || between("<|", "|>")
        || between("<｜", "｜>")
        || between("<unused", ">")
}

/// Whether the normalizer replaces every space.
fn has_no_spaces(parsed: &Json) -> bool {
    let is_so = |part: &Json| part["type"] == "Replace" && part["pattern"]["String"] == " ";
    normalizers(parsed).iter().any(is_so)
}

/// The parts of the normalizer.
fn normalizers(parsed: &Json) -> &[Json] {
    let normalizer = &parsed["normalizer"];
    match normalizer["normalizers"].as_array() {
        Some(parts) => parts.as_slice(),
        None if normalizer.is_null() => &[],
        None => std::slice::from_ref(normalizer),
    }
}

/// Refuses a normalizer with other parts than `is_known` accepts.
fn require_normalizers(parsed: &Json, is_known: impl Fn(&Json) -> bool) -> Result<()> {
    match normalizers(parsed).iter().all(is_known) {
        true => Ok(()),
        false => Err(unknown("its normalizer")),
    }
}

/// The merges, in the two layouts that there are.
fn merges(parsed: &Json) -> Result<Vec<(&str, &str)>> {
    fn merge(merge: &Json) -> Option<(&str, &str)> {
        match merge {
            Json::String(text) => text.split_once(' '),
            Json::Array(pair) => Some((pair.first()?.as_str()?, pair.get(1)?.as_str()?)),
            _ => None,
        }
    }
    let merges = parsed["model"]["merges"].as_array();
    let merges = merges.and_then(|merges| merges.iter().map(merge).collect());
    merges.ok_or_else(|| Error::input("model.merges is not a list of pairs"))
}

/// What begins, ends and pads a text.
fn special_tokens(
    tokenizer: &Tokenizer,
    files: TextFiles,
    config: &ModelConfig,
) -> Result<Metadata> {
    let object = |file, name| files::object(file, name, files.place);
    let names = files::special_tokens(
        &object(files.config, TOKENIZER_CONFIG)?,
        &object(files.special, SPECIAL_TOKENS_MAP)?,
    );
    let model: Map<String, Json> = serde_json::from_slice(files.model).unwrap_or_default();
    let named = |name: &str| {
        let by_text = names.get(name).and_then(|text| tokenizer.id(text.as_str()?));
        let by_id = || u32::try_from(model.get(&format!("{name}_id"))?.as_u64()?).ok();
        by_text.or_else(by_id).filter(|&id| (id as usize) < config.vocab_size)
    };
    let begin = tokenizer.begin_before(&[])?;
    if begin.len() > 1 {
        return Err(unknown("it begins a text with several tokens").at(files.place));
    }
    let mut ends = config.eos_tokens.iter().copied();
    let ids = [
        ("bos", begin.first().copied().or_else(|| named("bos_token"))),
        ("eos", ends.next()),
        // llama.cpp stops at these too.
        ("eot", ends.next()),
        ("eom", ends.next()),
        ("unknown", named("unk_token")),
        ("padding", named("pad_token")),
    ];
    let id =
        |(name, id): (&str, Option<u32>)| Some((format!("ggml.{name}_token_id"), Value::U32(id?)));
    let mut metadata: Metadata = ids.into_iter().filter_map(id).collect();
    metadata.push(("ggml.add_bos_token".into(), Value::Bool(!begin.is_empty())));
    metadata.push(("ggml.add_eos_token".into(), Value::Bool(false)));
    Ok(metadata)
}

/// The chat template, as its file has it.
fn chat_template(files: TextFiles) -> Result<Option<(String, Value)>> {
    let config = files::object(files.config, TOKENIZER_CONFIG, files.place)?;
    let sources = files::sources(files.template, &config, files.place)?;
    let default = sources.into_iter().find(|source| source.name == "default");
    Ok(default.map(|source| ("chat_template".into(), Value::Text(source.text))))
}
