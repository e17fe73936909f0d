//! The page without its browser: what a checkpoint is packed into, and what the worker says.

mod archive;
mod protocol;
