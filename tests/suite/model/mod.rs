//! Models in Hugging Face's folders, against transformers and PEFT.

mod golden;
mod lora;
