//! `srft`: single-stage supervised + reinforcement fine-tuning (arXiv 2506.19767) on any GPU.
//!
//! The program's library: the trainer (`srft-trainer`, re-exported under its own names), what measures an
//! adapter, and the modules that look at runs. A module imports only from those before it.

pub use srft_trainer::*;

pub mod bench;
pub mod analysis;
pub mod study;
pub mod report;
