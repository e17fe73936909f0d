//! GRPO (arXiv 2402.03300, Eq. 3, without its KL term):
//!
//! ```text
//! L = −(1/B) Σ_k (1/|y_k|) Σ_t min(ρ_t Â_k, clip(ρ_t, 1 − 0.2, 1 + 0.2) Â_k)
//! Â = (r − mean) / (std + 1e-6) over the G rollouts of a prompt
//! ```
//!
//! B is the number of rollouts in the update. TRL's `loss_type = "grpo"`, verl's `seq-mean-token-mean`.

/// The settings that differ from the defaults.
pub const SETTINGS: &str = r#"
sft = false
rl_demo = false
self_term = "advantage"
entropy_weights = false
self_weight_scale = 1.0
aggregate = "sequence-mean"
"#;
