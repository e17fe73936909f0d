//! `srft`: single-stage supervised + reinforcement fine-tuning (arXiv 2506.19767) on any GPU.
//!
//! The program's library: the trainer (`srft-trainer`, all of it under its own names), and what looks
//! at its runs. A module imports only what stands before it.

pub use srft_trainer::*;

pub mod analysis;
pub mod study;
pub mod report;
