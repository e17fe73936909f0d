//! Models in Hugging Face's folders, against transformers and PEFT.

mod decoding;
mod dispatches;
mod gguf;
mod golden;
mod lora;
