//! What users bring, read as the programs that made it read it. This binary links no burn.

mod chat;
mod gguf;
mod gguf_written;
mod math;
mod parquet;
mod parquet_headers;
mod task;
