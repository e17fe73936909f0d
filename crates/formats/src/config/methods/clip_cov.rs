//! Clip-Cov (arXiv 2505.22617, Eqs. 12-13; PRIME-RL/Entropy-Mechanism-of-RL, verl `loss_mode="clip_cov"`): GRPO without the
//! gradient of a few tokens whose advantage and log-probability are both far above their means, or both far below. Those are the
//! tokens that lower the policy's entropy most:
//!
//! ```text
//! Cov_t = (Â_t − mean Â)(ln p_t − mean ln p),   drawn from 1 < Cov_t < 5: a share of 2e-4 of all tokens
//! ```
//!
//! The means are over the update's tokens. The authors' script has no other clip (1 below and above). Here ln p is the
//! sampler's; theirs is the policy's, which is the same in a step's first update.

/// The settings that differ from the defaults.
pub const SETTINGS: &str = r#"
sft = false
rl_demo = false
self_term = "advantage"
entropy_weights = false
self_weight_scale = 1.0
clip_low = 1.0
clip_high = 1.0
clip_cov = 2e-4
"#;
