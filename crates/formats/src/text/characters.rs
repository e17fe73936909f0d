//! The built-in model's tokenizer without the tokenizers library, whose regular expressions and tables would be
//! much of a page's download: its tokens are single characters.

use std::collections::HashMap;

use serde_json::Value;
use tokenizers::AddedToken;

use super::Pieces;
use crate::error::{Error, Result};

/// The characters, by id.
const TOKENS: &str = "_^$0123456789+-*%=,;:>s";
/// So many of them, from the first on, are special: padding, begin-of-text, end-of-text.
const SPECIAL: u32 = 3;
const BEGIN: u32 = 1;

/// The built-in tokenizer.
#[derive(Clone, Copy)]
pub(super) struct Characters;

impl Characters {
    /// Refuses any file but the built-in one.
    pub(super) fn of(json: &Value) -> Result<Self> {
        let own: Option<Value> = serde_json::from_str(srft_assets::TINY_TOKENIZER).ok();
        if own.as_ref() == Some(json) { Ok(Self) } else { Err(Self::refusal()) }
    }

    pub(super) fn refusal() -> Error {
        Error::input("a page has no tokenizer but the built-in model's").next("use the program")
    }

    pub(super) fn begin(self) -> Vec<u32> {
        vec![BEGIN]
    }

    pub(super) fn vocabulary(self) -> HashMap<String, u32> {
        TOKENS.chars().map(String::from).zip(0..).collect()
    }

    pub(super) fn added(self) -> HashMap<u32, AddedToken> {
        let special = |(token, id)| (id, AddedToken::from(token, true));
        TOKENS.chars().map(String::from).zip(0..SPECIAL).map(special).collect()
    }

    pub(super) fn id(self, token: &str) -> Option<u32> {
        let position = TOKENS.chars().position(|c| token == c.encode_utf8(&mut [0; 4]))?;
        Some(position as u32)
    }

    pub(super) fn token(self, id: u32) -> Option<String> {
        TOKENS.chars().nth(id as usize).map(String::from)
    }

    pub(super) fn decoded(self, ids: &[u32], skips_special: bool) -> String {
        let shown = ids.iter().filter(|&&id| !skips_special || id >= SPECIAL);
        shown.filter_map(|&id| TOKENS.chars().nth(id as usize)).collect()
    }

    pub(super) fn pieces(self, text: &str) -> Option<Pieces> {
        let ids = text.chars().map(|c| Some(TOKENS.find(c)? as u32)).collect::<Option<Vec<_>>>()?;
        let ranges = (0..ids.len()).map(|at| (at, at + 1)).collect(); // each is one byte
        Some(Pieces { ids, ranges })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Tokenizer;
    use super::super::engine::Engine;
    use super::*;

    #[test]
    fn it_is_the_library_with_the_built_in_file() {
        let json = srft_assets::TINY_TOKENIZER;
        assert!(Characters::of(&serde_json::from_str(json).unwrap()).is_ok());
        let other = json.replace("\"s\": 22", "\"t\": 22");
        assert!(Characters::of(&serde_json::from_str(&other).unwrap()).is_err());

        let library = Tokenizer::from_bytes(json.as_bytes(), "t").unwrap();
        let own = Tokenizer { engine: Engine::Characters(Characters), ..library.clone() };
        assert_eq!(Some(Characters.begin()), library.begin);
        assert_eq!(own.engine.vocabulary(true), library.engine.vocabulary(true));
        assert_eq!(own.added(), library.added());
        for id in 0..25 {
            let of = |t: &Tokenizer| (t.spelling(id), t.is_special(id), t.decode_spelled(&[id]));
            assert_eq!(of(&own), of(&library), "{id}");
            assert_eq!(own.decode(&[4, id, 5]), library.decode(&[4, id, 5]), "{id}");
        }
        for token in ["s", "^", "é", "", "12", "\n"] {
            assert_eq!(own.id(token), library.id(token), "{token:?}");
        }
        let of = |t: &Tokenizer, text: &str| {
            let pieces = t.pieces(text).and_then(|pieces| Ok((pieces, t.encode(text)?)));
            pieces.map_err(|e| e.to_string())
        };
        let texts = ["", "5+1=", "^5", "5^1$", "1\n2", "12é3", "a", "_^$0123456789+-*%=,;:>s"];
        for text in texts {
            assert_eq!(of(&own, text), of(&library, text), "{text:?}");
        }
    }
}
