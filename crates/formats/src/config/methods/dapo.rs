//! DAPO (arXiv 2503.14476, Eq. 8):
//!
//! ```text
//! L = −(1/N_r) Σ_k Σ_t min(ρ_t Â_k, clip(ρ_t, 1 − 0.2, 1 + 0.28) Â_k),     Â = (r − mean) / (std + 1e-6)
//! ```
//!
//! over the groups with some right and some wrong rollouts: N_r counts their tokens alone. The original
//! (verl, `recipe/dapo/dapo_ray_trainer.py`, `filter_groups`) goes on sampling until the batch is full
//! again; here the update is that much smaller. Its soft punishment of overlong responses is not here.

/// What it changes.
pub const SETTINGS: &str = r#"
sft = false
rl_demo = false
self_term = "advantage"
entropy_weights = false
self_weight_scale = 1.0
clip_high = 0.28
drop_equal_groups = true
"#;
