//! The kernels: one file per shader with its launcher, its CPU twin and its f64 reference.

pub mod cpu;
pub mod cube;
pub mod objective;
pub mod sampling;
