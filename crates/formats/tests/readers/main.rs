//! What users bring, read as the programs that made it read it. This binary links no burn.

mod chat;
mod math;
mod task;
