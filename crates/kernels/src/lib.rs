//! The kernels, and fused CPU forms of what burn's own operations do on a GPU. An operation with a
//! shader has its contract and gradient in `OP.rs`, and in `OP/` its launcher (`gpu`), its CPU twin
//! (`cpu`) and its oracle in f64 (`reference`).
//!
//! A module imports only modules before it.

pub mod readback;
pub mod cube;
pub mod adapter;
pub mod cpu;
pub mod vector;
pub mod gradient;
pub mod fused;
pub mod backward_from;
pub mod layout;
pub mod matmul;
pub mod weight;
pub mod stored;
pub mod linear;
pub mod rms_norm;
pub mod glu;
pub mod dropout;
pub mod step;
pub mod attention;
pub mod token_stats;
pub mod lm_head;
pub mod sampling;
pub mod objective;
pub mod adamw;
