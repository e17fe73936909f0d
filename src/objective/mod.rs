//! objective

pub mod advantage;
pub mod entropy_bonus;
pub mod entropy_weight;
pub mod reference;
pub mod rl_demo;
pub mod self_term;
pub mod sft;
pub mod term;
