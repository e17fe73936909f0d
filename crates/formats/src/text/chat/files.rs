//! The chat templates in a model folder: one template or several by name, and the special tokens that
//! templates print.

use serde_json::{Map, Value as Json};

use crate::error::{Error, Result};

/// One template.
#[derive(Debug)]
pub struct Source {
    /// `default`, `tool_use`, or another name, which is never used.
    pub name: String,
    /// With line ends of one byte, as Jinja reads it.
    pub text: String,
    /// The file it comes from, for errors.
    pub place: String,
    /// Whether it marks what the assistant says.
    pub marks: bool,
}

impl Source {
    fn new(name: &str, text: &str, place: &str) -> Self {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let marks = text.contains("endgeneration");
        Self { name: name.to_string(), text, place: place.to_string(), marks }
    }
}

/// The templates in `chat_template.jinja`, else those in `tokenizer_config.json`.
pub fn sources(
    jinja: Option<&[u8]>,
    config: &Map<String, Json>,
    place: &str,
) -> Result<Vec<Source>> {
    if let Some(bytes) = jinja {
        let place = format!("{place}/chat_template.jinja");
        let text = std::str::from_utf8(bytes).map_err(|e| {
            Error::input(format!("not UTF-8 text: {e}")).at(&place).next("save it as UTF-8")
        })?;
        return Ok(vec![Source::new("default", text, &place)]);
    }
    let place = format!("{place}/tokenizer_config.json: chat_template");
    let malformed = || {
        Error::input("expected a string, or a list of {\"name\": string, \"template\": string}")
            .at(&place)
            .next("use the tokenizer_config.json that was published with the model")
    };
    match config.get("chat_template") {
        None | Some(Json::Null) => Ok(Vec::new()),
        Some(Json::String(text)) => Ok(vec![Source::new("default", text, &place)]),
        Some(Json::Array(list)) => {
            let named = |entry: &Json| {
                let place = format!("{place} {}", entry["name"]);
                Some(Source::new(entry["name"].as_str()?, entry["template"].as_str()?, &place))
            };
            list.iter().map(named).collect::<Option<_>>().ok_or_else(malformed)
        }
        Some(_) => Err(malformed()),
    }
}

/// `bos_token` and the other special tokens, by the names under which templates read them.
pub fn special_tokens(config: &Map<String, Json>, map: &Map<String, Json>) -> Map<String, Json> {
    // transformers reads the older file only if this newer key is missing.
    let older = Some(map).filter(|_| !config.contains_key("added_tokens_decoder"));
    let mut tokens = Map::new();
    for file in [Some(config), older].into_iter().flatten() {
        let extra = file.get("extra_special_tokens").and_then(Json::as_object);
        let extra = extra.into_iter().flatten();
        let standard = file.iter().filter(|(name, _)| name.ends_with("_token"));
        for (name, token) in standard.chain(extra) {
            // Flags such as `add_bos_token` aren't tokens.
            if let Some(text) = token.as_str().or_else(|| token["content"].as_str()) {
                tokens.insert(name.clone(), text.into());
            }
        }
    }
    tokens
}

/// The object in a JSON file; for an absent file an empty one.
pub fn object(file: Option<&[u8]>, name: &str, place: &str) -> Result<Map<String, Json>> {
    let Some(bytes) = file else { return Ok(Map::new()) };
    serde_json::from_slice(bytes).map_err(|e| {
        Error::input(format!("not a JSON object: {e}"))
            .at(format!("{place}/{name}"))
            .next(format!("use the {name} that was published with the model"))
    })
}
