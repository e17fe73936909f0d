//! `srft`: single-stage supervised + reinforcement fine-tuning (arXiv 2506.19767) on any GPU.
//!
//! The modules in the order data flows; a module imports only what stands before it.

pub mod error;
pub mod records;
pub mod platform;
pub mod random;
pub mod config;
pub mod device;
pub mod ops;
pub mod text;
pub mod model;
pub mod reward;
pub mod data;
pub mod rollout;
pub mod objective;
pub mod optim;
pub mod metrics;
pub mod learner;
pub mod trainer;
pub mod score;
pub mod explain;
pub mod eval;
pub mod checkpoint;
#[cfg(not(target_family = "wasm"))]
pub mod plan;
pub mod selftest;
pub mod run;
#[cfg(not(target_family = "wasm"))]
pub mod analysis;
#[cfg(not(target_family = "wasm"))]
pub mod study;
#[cfg(not(target_family = "wasm"))]
pub mod report;
pub mod archive;
pub mod lab;
#[cfg(target_family = "wasm")]
pub mod web;
