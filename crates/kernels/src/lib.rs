//! The kernels, and the CPU's fused forms of what burn's own operations do on a GPU. One that has a
//! shader is `OP.rs`, its contract and gradient, and in `OP/` its launcher (`gpu`), its CPU twin (`cpu`)
//! and its oracle in f64 (`reference`).
//!
//! A module imports only what stands before it.

pub mod readback;
pub mod cube;
pub mod cpu;
pub mod vector;
pub mod gradient;
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
