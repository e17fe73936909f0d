//! SRFT (arXiv 2506.19767) over burn: kernels, the model, rollouts, the objective, the training step,
//! and a run in its folder. What it reads of users is `srft-formats`'.
//!
//! The modules in the order data flows; a module imports only what stands before it.

pub use srft_formats::{config, data, error, platform, random, records, reward, text};
pub use srft_kernels as ops;

pub mod device;
pub mod model;
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
pub mod plan;
pub mod selftest;
pub mod run;
