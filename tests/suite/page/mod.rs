//! The page without its browser: what a checkpoint is packed into, what the worker says, and published
//! models that a visitor brings.

mod archive;
mod models;
mod protocol;
