//! The kernels: one file per shader with its launcher, its CPU twin and its f64 reference; and the
//! CPU's fused forms of what burn's own operations do on a GPU.
//!
//! A module imports only what stands before it.

pub mod readback;
pub mod cube;
pub mod cpu;
pub mod vector;
pub mod fused;
pub mod backward_from;
pub mod matmul;
pub mod half;
pub mod linear;
pub mod rms_norm;
pub mod swiglu;
pub mod attention;
pub mod token_stats;
pub mod lm_head;
pub mod sampling;
pub mod objective;
