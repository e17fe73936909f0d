//! One decoder-only transformer, described by a Hugging Face folder.

#[cfg(not(target_family = "wasm"))]
mod adapter;
mod config;
mod folder;
mod layers;
mod linear;
mod llama;
pub mod lora;
#[cfg(not(target_family = "wasm"))]
mod missing;
mod parameters;
mod pass;
#[cfg(not(target_family = "wasm"))]
pub mod rounding;
pub mod serialize;
#[cfg(not(target_family = "wasm"))]
mod targets;
pub mod tensors;
pub mod weights;

#[cfg(not(target_family = "wasm"))]
pub use adapter::AdapterFiles;
pub use config::ModelConfig;
pub use folder::{CONFIG, EXPORT, ModelFolder, TOKENIZER, WEIGHTS};
pub use llama::{HEAD, Llama};
pub use lora::Lora;
pub use parameters::{Parameter, ParameterMut};
pub use pass::{DropoutKey, How, Padded, ParameterGradients, Pass};

use parameters::grow;
