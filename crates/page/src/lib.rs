//! The part of the page that runs in wasm: several runs in step, driven by commands and shown by events.
//! The other part, in JavaScript, is `web/`.

pub use srft_trainer::*;

pub mod archive;
pub mod lab;
#[cfg(target_family = "wasm")]
pub mod web;
