//! Where problems come from: the built-in task, or the user's own files. Both give
//! [`Example`](crate::records::Example)s, and nothing downstream knows which.

pub mod batch;
pub mod builtin;
pub mod columns;
mod csv;
pub mod encode;
mod fields;
pub mod file;
mod messages;
pub mod packed;
#[cfg(not(target_family = "wasm"))]
mod parquet;
pub mod render;
pub mod shape;
pub mod source;
