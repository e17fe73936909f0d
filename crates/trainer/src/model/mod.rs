//! One decoder-only transformer, described by a Hugging Face folder.

mod adapter;
mod decoding;
mod folder;
mod gguf;
mod kept;
mod layers;
mod linear;
mod llama;
mod missing;
mod open;
mod parameters;
mod pass;
mod published;
pub mod rounding;
pub mod serialize;
mod table;
mod types;
pub mod weights;

pub use crate::names::{CONFIG, TOKENIZER, WEIGHTS};
pub use adapter::AdapterFiles;
pub use decoding::Decoding;
pub use folder::{EXPORT, ModelFolder, Print, StoredBytes, StoredType};
pub use llama::{HEAD, Llama};
pub use parameters::{Parameter, ParameterMut};
pub use pass::{DropoutKey, How, Packed, ParameterGradients, Pass};
pub use srft_formats::model::gguf::{BlockType, quantise, write as gguf_file};
pub use srft_formats::model::{
    Activation, Local, Lora, MAX_VOCABULARY, ModelConfig, Scaling, lora, tensors,
};
pub use table::part_bytes;

use parameters::grow;
