//! DAPO on the fifth of the rollouts' tokens whose entropy is highest (arXiv 2506.01939, Eq. 5): those at which the
//! response forks. TRL's `top_entropy_quantile = 0.2`. The entropies are those of the policy that sampled.

/// The settings that differ from the defaults.
pub const SETTINGS: &str = r#"
sft = false
rl_demo = false
self_term = "advantage"
entropy_weights = false
self_weight_scale = 1.0
clip_high = 0.28
drop_equal_groups = true
top_entropy = 0.2
"#;
