//! Special tokens in the files beside a `tokenizer.json`: tokens, or flags of tokens, that only
//! `tokenizer_config.json` has, and which tokens begin, end or pad a text. Read as transformers 5 does
//! (`TokenizersBackend`): the config overrides the tokenizer.json.

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::Tokenizer;
use super::chat::files;
use super::engine::Engine;
use crate::error::{Error, Result};
use crate::names::{SPECIAL_TOKENS_MAP, TOKENIZER_CONFIG};

/// The special tokens that every tokenizer may have; a model may define others.
const STANDARD: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// Special tokens that surround a text and carry none.
const SILENT: [&str; 5] = ["bos_token", "eos_token", "pad_token", "sep_token", "cls_token"];

impl Tokenizer {
    /// The tokenizer with the settings in the contents of `tokenizer_config.json` and
    /// `special_tokens_map.json`; `place`, their folder, names them in errors.
    pub fn with_config(
        self,
        config: Option<&[u8]>,
        special_tokens_map: Option<&[u8]>,
        place: &str,
    ) -> Result<Self> {
        let config = files::object(config, TOKENIZER_CONFIG, place)?;
        let map = files::object(special_tokens_map, SPECIAL_TOKENS_MAP, place)?;
        if config.is_empty() && map.is_empty() {
            return Ok(self);
        }
        let refused = |what: String| {
            Error::input(what).at(format!("{place}/{TOKENIZER_CONFIG}: added_tokens_decoder")).next(
                "use the tokenizer.json and tokenizer_config.json that were published together",
            )
        };
        let listed = listed(&config).map_err(refused)?;
        let names = files::special_tokens(&config, &map);
        let add = |engine: Engine, tokens| engine.with(tokens).map_err(|e| e.at(place));
        let engine = add(self.engine, listed.iter().map(|(_, token)| token.clone()).collect())?;
        // Then the named tokens that neither file has.
        let (standard, own): (Vec<_>, Vec<_>) =
            names.iter().partition(|(name, _)| STANDARD.contains(&name.as_str()));
        let added = engine.added();
        let is_new = |text: &str| !added.values().any(|token| token.content == text);
        let text = |token: &Value| token.as_str().unwrap_or_default().to_string();
        let standard = standard.into_iter().map(|(_, token)| text(token)).filter(|t| is_new(t));
        let own = own.into_iter().map(|(_, token)| text(token)).chain(extra(&config));
        let named = standard.chain(own).map(|text| AddedToken::from(text, true)).collect();
        let engine = add(engine, named)?;
        for (id, token) in &listed {
            let found = engine.id(&token.content);
            if found != Some(*id) {
                let found = found.map_or("none".into(), |id| id.to_string());
                return Err(refused(format!(
                    "`{}` is token {id} here, but {found} in tokenizer.json",
                    token.content
                )));
            }
        }
        let id = |name: &str| engine.id(names.get(name)?.as_str()?);
        let mut silent = Vec::from_iter(SILENT.into_iter().filter_map(id));
        silent.extend(self.begin.iter().flatten());
        let (end, silent) = (id("eos_token"), Some(silent.into_iter().collect()));
        let tokenizer = Self { engine, end, silent, ..self };
        tokenizer.measured().ok_or_else(|| refused("no tokens".into()))
    }
}

/// The tokens in `added_tokens_decoder`, with their ids.
fn listed(config: &Map<String, Value>) -> std::result::Result<Vec<(u32, AddedToken)>, String> {
    let mut tokens = Vec::new();
    for (key, token) in
        config.get("added_tokens_decoder").and_then(Value::as_object).into_iter().flatten()
    {
        let id = key.parse().map_err(|_| format!("`{key}` is not a token id"))?;
        let content = token["content"].as_str().ok_or(format!("token {id} has no `content`"))?;
        let flag = |name: &str| token[name].as_bool();
        let special = flag("special").unwrap_or(false);
        tokens.push((
            id,
            AddedToken {
                content: content.into(),
                single_word: flag("single_word").unwrap_or(false),
                lstrip: flag("lstrip").unwrap_or(false),
                rstrip: flag("rstrip").unwrap_or(false),
                normalized: flag("normalized").unwrap_or(!special),
                special,
            },
        ));
    }
    tokens.sort_by_key(|(id, _)| *id);
    Ok(tokens)
}

/// The tokens in the list of additional special tokens.
fn extra(config: &Map<String, Value>) -> Vec<String> {
    let lists = ["extra_special_tokens", "additional_special_tokens"].map(|name| config.get(name));
    let list = lists.into_iter().flatten().find_map(Value::as_array).into_iter().flatten();
    let text = |token: &Value| Some(token.as_str().or(token["content"].as_str())?.to_string());
    list.filter_map(text).collect()
}
