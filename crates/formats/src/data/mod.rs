//! Where problems come from: the built-in task, or the user's own files. Both give
//! [`Example`](crate::records::Example)s, and nothing downstream knows which.

pub mod batch;
pub mod builtin;
mod columns;
mod csv;
pub mod encode;
mod fields;
pub mod file;
pub mod gym;
mod messages;
pub mod packed;
#[cfg(target_family = "wasm")]
#[path = "no_parquet.rs"]
mod parquet;
#[cfg(not(target_family = "wasm"))]
mod parquet;
pub mod render;
pub mod shape;
pub mod source;
