//! What a browser's tab runs: several runs in step under commands, and the events that tell of them.
//! `web/` is its other half.

pub use srft_trainer::*;

pub mod archive;
pub mod lab;
#[cfg(target_family = "wasm")]
pub mod web;
