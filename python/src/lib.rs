//! `import srft`: the core's functions over numpy arrays. This crate converts and adds no logic; what
//! a function computes stands in the core, and what it means in `srft.pyi` and the docstrings.
//!
//! The interpreter's lock is let go wherever the core computes, so other threads of Python go on; a
//! reward function takes it back for as long as it runs.

mod asked;
mod callbacks;
mod contents;
mod convert;
mod device;
mod drive;
mod environment;
mod episode;
mod error;
mod example;
mod group;
mod gym;
mod model;
mod objective;
mod reward;
mod shown;
mod task;
mod tokenizer;
mod trainer;

use pyo3::prelude::*;

/// SRFT (arXiv 2506.19767), one formula at a time, and a trainer that puts them together.
///
/// Arrays are numpy's, entropies and log-probabilities in nats. Shapes are written N (tokens of a
/// response), V (vocabulary), G (rollouts per prompt). Everything runs on the adapter that
/// `srft.devices()` lists first as a GPU, or on the CPU; `device="cpu"` and so on choose another.
#[pymodule(name = "srft")]
mod module {
    #[pymodule_export]
    use super::callbacks::track;
    #[pymodule_export]
    use super::device::devices;
    #[pymodule_export]
    use super::episode::{Episode, rollout};
    #[pymodule_export]
    use super::example::Example;
    #[pymodule_export]
    use super::group::Group;
    #[pymodule_export]
    use super::model::{Model, TokenStats, token_stats};
    #[pymodule_export]
    use super::objective::{Loss, advantages, loss, weights};
    #[pymodule_export]
    use super::reward::rewards;
    #[pymodule_export]
    use super::task::{Task, task};
    #[pymodule_export]
    use super::tokenizer::Tokenizer;
    #[pymodule_export]
    use super::trainer::Trainer;

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        // numpy's functions are looked up at the first array: here, where an interrupt is only an exception.
        numpy::PyArray1::<f64>::zeros(module.py(), 0, false);
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        super::error::add(module)
    }
}
