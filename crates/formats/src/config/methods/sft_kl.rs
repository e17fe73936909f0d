//! SFT held to the model that the run began with (the SRFT paper's SFT_KL, Table 1, λ = 0.2):
//!
//! ```text
//! L = (1/N_d) Σ −ln p_t + λ · k3_t,      k3_t = q_t/p_t − 1 − ln(q_t/p_t),   q_t = π_base(token t)
//! ```
//!
//! The paper states neither direction nor estimator. This is KL(θ‖base) as GRPO estimates it
//! (Schulman's k3; arXiv 2402.03300, Eq. 4), token by token on the demonstrations. They are not drawn
//! from π_θ, so it is a penalty with its minimum 0 at p = q, not an unbiased KL. Its derivative by ln p
//! is λ(1 − q/p): where p is above the base, it cancels at most λ of SFT's pull; where p is below the
//! base, it pushes p up without bound.

/// The settings that differ from the defaults.
pub const SETTINGS: &str = r#"
rl_demo = false
self_term = "none"
entropy_weights = false
sft_weight_scale = 1.0
kl_coeff = 0.2
"#;
