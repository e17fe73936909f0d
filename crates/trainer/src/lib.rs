//! SRFT (arXiv 2506.19767) over burn: kernels, the model, rollouts, the objective, the training step,
//! and a run in its folder. Reading what users bring is `srft-formats`' part.
//!
//! Two steps of SRFT on the built-in model and task:
//!
//! ```
//! use srft_trainer::config::Config;
//! use srft_trainer::device::select;
//! use srft_trainer::run::{Parts, trainer};
//!
//! # fn main() -> srft_trainer::error::Result<()> { pollster::block_on(async {
//! let settings = "rollout = { prompts = 2, group = 4 }";
//! let config = Config::resolve(&[Config::layer(settings, "here")?])?;
//! let selected = select("cpu").await?; // or "auto", "vulkan", "metal", "dx12"
//! let Parts { mut trainer, .. } = trainer(config, &selected.device)?;
//! for _ in 0..2 {
//!     let (report, groups) = trainer.step().await?;
//!     assert!(report.loss.is_finite());
//!     assert_eq!(groups.len(), 2);
//! }
//! # Ok(()) }) }
//! ```
//!
//! [`learner::Learner`] gives losses and gradients without an optimiser, [`trainer::Trainer`] takes steps,
//! [`run::Run`] keeps them in a folder. The repository's `examples/` have a verifier and a loss term of your
//! own.
//!
//! The modules are in the order data flows; a module imports only those before it.

pub use srft_formats::{config, data, error, hub, names, platform, random, records, reward, text};
pub use srft_kernels as ops;

pub mod device;
pub mod model;
pub mod rollout;
pub mod objective;
pub mod optim;
pub mod metrics;
pub mod score;
pub mod shards;
pub mod learner;
pub mod trainer;
pub mod explain;
pub mod eval;
pub mod checkpoint;
pub mod plan;
pub mod selftest;
pub mod run;
