//! Names and errors for PEFT's adapter settings.

use crate::error::Error;
use serde_json::Value;

/// The matrices that an adapter may cover, as PEFT's `target_modules` names them.
pub const TARGETS: [&str; 7] =
    ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// What to do with an adapter that uses more than is implemented here.
pub const MERGE_IN_PEFT: &str = "merge it with PEFT and give the merged folder: \
     merge_and_unload() and then save_pretrained(DIR)";

/// An error for a field's value that is not implemented.
pub fn unsupported(field: &str, value: &Value, known: &str) -> Error {
    Error::input(format!("{field} = {value} is not supported")).next(format!("supported: {known}"))
}
