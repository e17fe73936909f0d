//! The shaders as text, so that a package of the kernels has them too. README.md says what each binds and
//! how close it comes to its reference.

#![no_std]

/// The sum of a product's parts.
pub const ADD_PARTS: &str = include_str!("add_parts.wgsl");
/// A product of few rows with a matrix as it is stored.
pub const MATMUL_FEW: &str = include_str!("matmul_few.wgsl");
/// A product of matrices, one kernel for every shape.
pub const MATMUL_NT: &str = include_str!("matmul_nt.wgsl");
/// The loss terms of each token, and their derivatives.
pub const OBJECTIVE: &str = include_str!("objective.wgsl");
/// The next token of each row.
pub const SAMPLING: &str = include_str!("sampling.wgsl");
/// Log-probability and entropy of each row of logits.
pub const TOKEN_STATS: &str = include_str!("token_stats.wgsl");
/// Their gradient with respect to the logits, in place.
pub const TOKEN_STATS_BACKWARD: &str = include_str!("token_stats_backward.wgsl");
/// 16-bit weights to F32.
pub const WIDEN: &str = include_str!("widen.wgsl");
/// GGUF's blocks of quantised numbers to F32.
pub const WIDEN_BLOCKS: &str = include_str!("widen_blocks.wgsl");
