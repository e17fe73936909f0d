//! What PEFT's settings of adapters are read against.

#[cfg(not(target_family = "wasm"))]
use {crate::error::Error, serde_json::Value};

/// The matrices that an adapter may lie over, as PEFT's `target_modules` names them.
pub const TARGETS: [&str; 7] =
    ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// What to do with an adapter that does more than ours.
#[cfg(not(target_family = "wasm"))]
pub const MERGE_IN_PEFT: &str = "merge it with PEFT and give the merged folder: \
     merge_and_unload() and then save_pretrained(DIR)";

/// A field's value that is not implemented.
#[cfg(not(target_family = "wasm"))]
pub fn unsupported(field: &str, value: &Value, known: &str) -> Error {
    Error::input(format!("{field} = {value} is not supported")).next(format!("supported: {known}"))
}
