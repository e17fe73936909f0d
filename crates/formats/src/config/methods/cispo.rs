//! CISPO (MiniMax-M1, arXiv 2506.13585, Eqs. 4-5): the clip is on the weight, so that no token's gradient is lost:
//!
//! ```text
//! L = −(1/N_r) Σ_k Σ_t ⊥[min(ρ_t, 5)] Â_k ln p_t
//! ```
//!
//! TRL's `loss_type = "cispo"` with `epsilon_high = 5`, which is the bound itself there.

/// The settings that differ from the defaults.
pub const SETTINGS: &str = r#"
sft = false
rl_demo = false
self_term = "advantage"
entropy_weights = false
self_weight_scale = 1.0
clip = "weight"
clip_low = 1.0
clip_high = 4.0
"#;
