//! The kernels: one file per shader with its launcher, its CPU twin and its f64 reference.

pub mod attention;
pub mod cpu;
pub mod cube;
pub mod fused;
pub mod linear;
pub mod rms_norm;
pub mod swiglu;
pub mod vector;
