//! EAFT (arXiv 2601.02151, Eq. 5): L = (1/N_d) Σ ⊥[H_t/3] · −ln p_t: where the policy is sure of another token, the
//! demonstration does not force it. The original's H is over the 20 likeliest tokens; here over all.

/// The settings that differ from the defaults.
pub const SETTINGS: &str = r#"
rl_demo = false
self_term = "none"
entropy_weights = false
sft_weight_scale = 1.0
sft_token_weight = "H/3"
"#;
