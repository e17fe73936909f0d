//! Where problems come from: the built-in task, or the user's own files. Both give
//! [`Example`](crate::records::Example)s, and nothing downstream knows which.
//!
//! The user's files are the program's: a page has none, and its download no room for them.

pub mod batch;
pub mod builtin;
#[cfg(not(target_family = "wasm"))]
mod csv;
pub mod encode;
#[cfg(not(target_family = "wasm"))]
mod fields;
#[cfg(not(target_family = "wasm"))]
pub mod file;
#[cfg(not(target_family = "wasm"))]
mod messages;
#[cfg(not(target_family = "wasm"))]
pub mod packed;
#[cfg(not(target_family = "wasm"))]
pub mod render;
#[cfg(not(target_family = "wasm"))]
pub mod shape;
pub mod source;
