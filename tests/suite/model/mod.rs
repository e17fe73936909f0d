//! Models in Hugging Face's folders, against transformers and PEFT.

mod gguf;
mod golden;
mod lora;
