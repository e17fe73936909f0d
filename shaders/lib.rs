//! The shaders as text, so that a package of the kernels has them too. README.md says what each binds and
//! how close it comes to its reference.

#![no_std]

/// A file of this folder, without its comments: see build.rs.
macro_rules! shader {
    ($name:literal) => {
        include_str!(concat!(env!("OUT_DIR"), "/", $name, ".wgsl"))
    };
}

/// What shaders that sum over rows have in place of `{{ sums }}`.
pub const SUMS: &str = shader!("include/sums");
/// The same by subgroups.
pub const SUMS_BY_SUBGROUPS: &str = shader!("include/sums_by_subgroups");
/// AdamW of one tensor, in place.
pub const ADAMW: &str = shader!("adamw");
/// The sum of a tensor's squares, in parts.
pub const SQUARES: &str = shader!("squares");
/// Numbers of which some are dropped.
pub const DROPOUT: &str = shader!("dropout");
/// The norm of rows.
pub const NORM: &str = shader!("norm");
/// Its gradient.
pub const NORM_BACKWARD: &str = shader!("norm_backward");
/// The gated activation.
pub const GLU: &str = shader!("glu");
/// Its gradient.
pub const GLU_BACKWARD: &str = shader!("glu_backward");
/// The sum of a product's parts.
pub const ADD_PARTS: &str = shader!("add_parts");
/// A product of few rows with a matrix as it is stored.
pub const MATMUL_FEW: &str = shader!("matmul_few");
/// Attention of one new position a row over its past.
pub const ATTENTION_DECODE: &str = shader!("attention_decode");
/// Numbers in half precision, for a cache that holds them so.
pub const PACK_HALVES: &str = shader!("pack_halves");
/// Attention of many rows over packed sequences.
pub const ATTENTION_FORWARD: &str = shader!("attention_forward");
/// Its gradient by the queries.
pub const ATTENTION_DQ: &str = shader!("attention_dq");
/// Its gradient by keys and values.
pub const ATTENTION_DKV: &str = shader!("attention_dkv");
/// Queries and keys turned to their positions, or back.
pub const ATTENTION_TURN: &str = shader!("attention_turn");
/// The rows of tokens in one block of an embedding.
pub const STEP_EMBED: &str = shader!("step_embed");
/// The gated activation of a product in parts.
pub const STEP_GLU: &str = shader!("step_glu");
/// A product in parts added to the residual stream, and the norm of that.
pub const STEP_NORM: &str = shader!("step_norm");
/// The blocks of a long past, put together.
pub const ATTENTION_JOIN: &str = shader!("attention_join");
/// A product of many rows, with tiles of 128 or 64.
pub const MATMUL_MANY: &str = shader!("matmul_many");
/// A matrix in f16, for matrix units.
pub const UNITS_PACK: &str = shader!("units_pack");
/// A product by matrix units.
pub const MATMUL_UNITS: &str = shader!("matmul_units");
/// The same by loops.
pub const MATMUL_UNITS_TWIN: &str = shader!("matmul_units_twin");
/// A product of matrices, one kernel for every shape.
pub const MATMUL_NT: &str = shader!("matmul_nt");
/// The loss terms of each token, and their derivatives.
pub const OBJECTIVE: &str = shader!("objective");
/// The next token of each row.
pub const SAMPLING: &str = shader!("sampling");
/// Log-probability and entropy of each row of logits.
pub const TOKEN_STATS: &str = shader!("token_stats");
/// Their gradient with respect to the logits, in place.
pub const TOKEN_STATS_BACKWARD: &str = shader!("token_stats_backward");
/// 16-bit weights to F32.
pub const WIDEN: &str = shader!("widen");
/// GGUF's blocks of quantised numbers to F32.
pub const WIDEN_BLOCKS: &str = shader!("widen_blocks");
