//! What a model's folder says before any tensor is on a device: its shape, its adapters, where each
//! weight is in the files.

pub mod config;
pub mod gguf;
pub mod lora;
mod peft;
mod scaling;
mod targets;
pub mod tensors;

pub use config::{Activation, Local, MAX_VOCABULARY, ModelConfig};
pub use lora::Lora;
pub use scaling::Scaling;
