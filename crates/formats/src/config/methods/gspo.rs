//! GSPO (arXiv 2507.18071, Eqs. 5-7): GRPO with the ratio of the whole response, s = (Π_t ρ_t)^(1/|y|):
//!
//! ```text
//! L = −(1/B) Σ_k min(s_k Â_k, clip(s_k, 1 − 3e-4, 1 + 4e-4) Â_k)
//! ```
//!
//! TRL's `importance_sampling_level = "sequence"`, verl's `loss_mode = "gspo"`. It differs from GRPO only where a step
//! has several updates.

/// The settings that differ from the defaults.
pub const SETTINGS: &str = r#"
sft = false
rl_demo = false
self_term = "advantage"
entropy_weights = false
self_weight_scale = 1.0
aggregate = "sequence-mean"
ratio = "sequence"
clip_low = 3e-4
clip_high = 4e-4
"#;
