//! Prefix-RFT (arXiv 2507.01679, App. A.2; ZeroYuHuang/prefix_rft, commit e0b6f43, `recipe/prefix_rft`): one of a prompt's
//! rollouts begins with a share l of its demonstration, l ~ U(low, 0.95), low along half a cosine from 0.95 to 0.05 over
//! 500 steps. Dr. GRPO on all rollouts, and of the given tokens on the fifth with the highest entropy.

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
prefix = "uniform"
prefix_steps = 500
prefix_rollouts = 1
prefix_learned = 0.2
"#;
