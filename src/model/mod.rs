//! One decoder-only transformer, described by a Hugging Face folder.

mod backward;
mod config;
mod folder;
mod layers;
mod linear;
mod llama;
pub mod lora;
mod parameters;
pub mod tensors;
pub mod weights;

pub use backward::{DropoutKey, Padded, ParameterGradients};
pub use config::ModelConfig;
pub use folder::{AdapterFiles, CONFIG, ModelFolder, NamedFile, TOKENIZER, WEIGHTS};
pub use llama::{HEAD, Llama};
pub use lora::Lora;
pub use parameters::{Parameter, ParameterMut};

use parameters::grow;
