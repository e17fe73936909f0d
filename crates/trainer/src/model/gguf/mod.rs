//! GGUF as a model's folder: read in place of one, and written from one. The format itself is in
//! `crates/formats/src/model/gguf`.

pub mod read;
mod write;
