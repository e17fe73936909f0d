//! The fields of a JSON settings file, with error messages that say what a field should have been.

use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// What to do about a file that transformers would not have written.
pub const PUBLISHED: &str = "use the file that was published with the weights";

/// The fields of a settings file; null counts as absent.
pub struct Fields(pub Map<String, Value>);

impl Fields {
    /// A field, if it is there.
    pub fn may<T: DeserializeOwned>(&self, field: &str, kind: &str) -> Result<Option<T>> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value.clone()).map(Some).map_err(|_| {
                Error::input(format!("{field} = {value} is not {kind}")).next(PUBLISHED)
            }),
        }
    }

    /// A field that must be there.
    pub fn must<T: DeserializeOwned>(&self, field: &str, kind: &str) -> Result<T> {
        let missing = || Error::input(format!("{field} is missing")).next(PUBLISHED);
        self.may(field, kind)?.ok_or_else(missing)
    }

    /// Token ids: a single id or a list.
    pub fn token_ids(&self, field: &str) -> Result<Vec<u32>> {
        let ids = match self.0.get(field) {
            None | Some(Value::Null) => Some(Vec::new()),
            Some(one @ Value::Number(_)) => {
                serde_json::from_value(one.clone()).map(|id| vec![id]).ok()
            }
            Some(other) => serde_json::from_value(other.clone()).ok(),
        };
        ids.ok_or_else(|| {
            let value = &self.0[field];
            Error::input(format!("{field} = {value} is not the id of a token, nor a list of them"))
                .next("name the token that ends a text, or write null if another file names it")
        })
    }

    /// Reads the file.
    pub fn read(bytes: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(bytes).map(Self)
    }
}
