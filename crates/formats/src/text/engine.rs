//! What knows a tokenizer's vocabulary and splits texts by it: the tokenizers library; in the page of the built-in model [`Characters`].

use std::cell::Cell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde_json::Value;
use tokenizers::{AddedToken, Encoding, PostProcessorWrapper, Token};

use super::characters::Characters;
use super::{PUBLISHED, Pieces};
use crate::error::{Error, Result};
use crate::platform::{MODELS, Models};

/// Clones share it.
#[derive(Clone)]
pub(super) enum Engine {
    Library(Arc<tokenizers::Tokenizer>, Models),
    Characters(Characters),
}

impl Engine {
    /// The engine for a `tokenizer.json`, and what the file puts before a text; `None` if it contradicts itself.
    pub(super) fn of(json: &[u8], parsed: &Value) -> Result<(Self, Option<Vec<u32>>)> {
        match MODELS {
            Some(models) => Self::of_library(json, models),
            None => {
                let characters = Characters::of(parsed)?;
                Ok((Self::Characters(characters), Some(characters.begin())))
            }
        }
    }

    fn of_library(json: &[u8], models: Models) -> Result<(Self, Option<Vec<u32>>)> {
        let mut inner = guarded(|| tokenizers::Tokenizer::from_bytes(json))?.map_err(malformed)?;
        inner.with_truncation(None).map_err(malformed)?;
        inner.with_padding(None);
        let begin = begin_of_text(&inner);
        // It would also shift the offsets.
        inner.with_post_processor(None::<PostProcessorWrapper>);
        Ok((Self::Library(Arc::new(inner), models), begin))
    }

    /// The engine with more tokens.
    pub(super) fn with(self, tokens: Vec<AddedToken>) -> Result<Self> {
        match self {
            Self::Library(inner, models) => {
                let mut inner = Arc::unwrap_or_clone(inner);
                guarded(|| inner.add_tokens(tokens))?.map_err(malformed)?;
                Ok(Self::Library(Arc::new(inner), models))
            }
            Self::Characters(_) => Err(Characters::refusal()),
        }
    }

    /// All tokens and their ids; `added` ones among them, or not.
    pub(super) fn vocabulary(&self, added: bool) -> HashMap<String, u32> {
        match self {
            Self::Library(inner, _) => inner.get_vocab(added),
            Self::Characters(characters) => characters.vocabulary(),
        }
    }

    /// The tokens that were added to the vocabulary, by id.
    pub(super) fn added(&self) -> HashMap<u32, AddedToken> {
        match self {
            Self::Library(inner, _) => inner.get_added_tokens_decoder().into_iter().collect(),
            Self::Characters(characters) => characters.added(),
        }
    }

    pub(super) fn id(&self, token: &str) -> Option<u32> {
        match self {
            Self::Library(inner, _) => inner.token_to_id(token),
            Self::Characters(characters) => characters.id(token),
        }
    }

    pub(super) fn token(&self, id: u32) -> Option<String> {
        match self {
            Self::Library(inner, _) => inner.id_to_token(id),
            Self::Characters(characters) => characters.token(id),
        }
    }

    /// The text of known tokens; `None` if the file's parts contradict each other.
    pub(super) fn decoded(&self, ids: &[u32], skips_special: bool) -> Option<String> {
        match self {
            Self::Library(inner, _) => guarded(|| inner.decode(ids, skips_special)).ok()?.ok(),
            Self::Characters(characters) => Some(characters.decoded(ids, skips_special)),
        }
    }

    /// The tokens of a text; `None` if the vocabulary can't spell it.
    pub(super) fn pieces(&self, text: &str) -> Result<Option<Pieces>> {
        match self {
            Self::Library(inner, _) => {
                let encoding = guarded(|| inner.encode(text, false))?;
                Ok(encoding.ok().map(|e| Pieces {
                    ids: e.get_ids().to_vec(),
                    ranges: e.get_offsets().to_vec(),
                }))
            }
            Self::Characters(characters) => Ok(characters.pieces(text)),
        }
    }
}

/// What the file's post-processor puts before a text; `None` if it contradicts itself.
fn begin_of_text(inner: &tokenizers::Tokenizer) -> Option<Vec<u32>> {
    let text = Encoding::from_tokens(vec![Token::new(0, "a".into(), (0, 1))], 0);
    let whole = guarded(|| inner.post_process(text, None, true)).ok()?.ok()?;
    let before = whole.get_special_tokens_mask().iter().take_while(|&&mask| mask == 1).count();
    Some(whole.get_ids()[..before].to_vec())
}

/// Runs the library's code. It trusts the parts of a file to fit together, and panics in several places
/// if they don't.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T> {
    let before = IS_IN_LIBRARY.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    IS_IN_LIBRARY.set(before);
    done.map_err(|_| contradictory())
}

thread_local! {
    static IS_IN_LIBRARY: Cell<bool> = const { Cell::new(false) };
}

/// What a panic means that happens now, if the file is to blame: in a browser none can be caught.
pub fn blame() -> Option<Error> {
    IS_IN_LIBRARY.get().then(contradictory)
}

pub(super) fn contradictory() -> Error {
    Error::input("the parts of the tokenizer.json contradict each other").next(PUBLISHED)
}

pub(super) fn malformed(reason: impl ToString) -> Error {
    let reason = reason.to_string();
    Error::input(format!("not a tokenizer.json that can be read: {reason}")).next(PUBLISHED)
}
