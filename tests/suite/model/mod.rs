//! Models in Hugging Face's folders, against transformers and PEFT.

mod dispatches;
mod gguf;
mod golden;
mod lora;
