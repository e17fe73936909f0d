//! One decoder-only transformer, described by a Hugging Face folder.

mod config;
mod folder;
mod layers;
mod llama;
pub mod weights;

pub use config::ModelConfig;
pub use folder::{FILES, ModelFolder};
pub use llama::{HEAD, Llama, Parameter, ParameterMut};
