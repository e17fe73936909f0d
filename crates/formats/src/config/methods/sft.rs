//! SFT: the mean negative log-likelihood of the demonstrations' tokens,
//!
//! ```text
//! L = (1/N_d) Σ −ln p_t
//! ```

/// The settings that differ from the defaults.
pub const SETTINGS: &str = r#"
rl_demo = false
self_term = "none"
entropy_weights = false
sft_weight_scale = 1.0
"#;
