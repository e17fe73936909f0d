//! BREAD (arXiv 2506.17211; no code of its authors was found): GRPO; a prompt that none of its rollouts solves is rolled
//! out again from a prefix of its demonstration, sought by halving until some rollouts after it succeed and some fail.
//! What is given carries no loss.

/// The settings that differ from the defaults.
pub const SETTINGS: &str = r#"
sft = false
rl_demo = false
self_term = "advantage"
entropy_weights = false
self_weight_scale = 1.0
aggregate = "sequence-mean"
prefix = "success"
"#;
