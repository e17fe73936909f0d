//! What PEFT's settings of adapters are read against.

use crate::error::Error;
use serde_json::Value;

/// The matrices that an adapter may lie over, as PEFT's `target_modules` names them.
pub const TARGETS: [&str; 7] =
    ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// What to do with an adapter that does more than ours.
pub const MERGE_IN_PEFT: &str = "merge it with PEFT and give the merged folder: \
     merge_and_unload() and then save_pretrained(DIR)";

/// A field's value that is not implemented.
pub fn unsupported(field: &str, value: &Value, known: &str) -> Error {
    Error::input(format!("{field} = {value} is not supported")).next(format!("supported: {known}"))
}
