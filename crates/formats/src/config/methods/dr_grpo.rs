//! Dr. GRPO (arXiv 2503.20783, Fig. 1 and §3.2): GRPO without its two biases, by difficulty and length:
//!
//! ```text
//! L = −(1/B) Σ_k (1/L) Σ_t min(ρ_t Â_k, clip(ρ_t, 1 − 0.2, 1 + 0.2) Â_k),     Â = r − mean
//! ```
//!
//! L is the longest response that may be sampled, `rollout.max_new_tokens`, as in the authors'
//! `train_zero_math.py` lines 286–309 (sail-sg/understand-r1-zero, commit dfca49d). TRL's
//! `loss_type = "dr_grpo"` with `scale_rewards = "none"`.

/// The settings that differ from the defaults.
pub const SETTINGS: &str = r#"
sft = false
rl_demo = false
self_term = "advantage"
entropy_weights = false
self_weight_scale = 1.0
advantage_std = false
aggregate = "sequence-constant"
aggregate_constant = 0.0
"#;
