//! The kernels: one file per shader with its launcher, its CPU twin and its f64 reference; and the
//! CPU's fused forms of what burn's own operations do on a GPU.

pub mod attention;
pub mod backward_from;
pub mod cpu;
pub mod cube;
pub mod fused;
#[cfg(not(target_family = "wasm"))]
pub mod half;
pub mod linear;
pub mod lm_head;
pub mod matmul;
pub mod objective;
pub mod readback;
pub mod rms_norm;
pub mod sampling;
pub mod swiglu;
pub mod token_stats;
pub mod vector;
