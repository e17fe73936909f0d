//! DFT (arXiv 2508.05629, Eq. 9): L = (1/N_d) Σ ⊥[p_t] · −ln p_t. TRL's `loss_type = "dft"`.

/// The settings that differ from the defaults.
pub const SETTINGS: &str = r#"
rl_demo = false
self_term = "none"
entropy_weights = false
sft_weight_scale = 1.0
sft_token_weight = "p"
"#;
