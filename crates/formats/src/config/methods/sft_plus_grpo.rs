//! SFT + GRPO in one stage, unweighted (the SRFT paper's Fig. 5):
//!
//! ```text
//! L = (1/N_d) Σ −ln p_t − (1/B) Σ_k (1/|y_k|) Σ_t min(ρ_t Â_k, clip(ρ_t) Â_k)
//! ```
//!
//! SFT is a mean over tokens and GRPO a mean over responses, as in each method alone; Â is computed
//! over the rollouts.

/// The settings that differ from the defaults.
pub const SETTINGS: &str = r#"
rl_demo = false
self_term = "advantage"
entropy_weights = false
sft_weight_scale = 1.0
self_weight_scale = 1.0
aggregate = "sequence-mean"
sft_aggregate = "token-mean"
group_of = "apart"
"#;
