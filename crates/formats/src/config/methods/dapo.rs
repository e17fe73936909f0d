//! DAPO (arXiv 2503.14476, Eq. 8):
//!
//! ```text
//! L = −(1/N_r) Σ_k Σ_t min(ρ_t Â_k, clip(ρ_t, 1 − 0.2, 1 + 0.28) Â_k),     Â = (r − mean) / (std + 1e-6)
//! ```
//!
//! over the groups with both right and wrong rollouts; N_r counts only their tokens. The original
//! (verl, `recipe/dapo/dapo_ray_trainer.py`, `filter_groups`) keeps sampling until the batch is full; here the update is
//! smaller unless `refill` says how often. The original's soft penalty on overlong responses is
//! `truncated = "soft"` with `soft_tokens`, whose size depends on the task.

/// The settings that differ from the defaults.
pub const SETTINGS: &str = r#"
sft = false
rl_demo = false
self_term = "advantage"
entropy_weights = false
self_weight_scale = 1.0
clip_high = 0.28
drop_equal_groups = true
"#;
