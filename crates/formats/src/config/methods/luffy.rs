//! LUFFY (arXiv 2504.14945; ElliottYan/LUFFY, commit 01f4ae0, `luffy/verl/verl/mix_src/mix_core_alg.py`
//! lines 69–251, `exp_scripts/train.sh`):
//!
//! ```text
//! L = −(1/8192) [Σ_demo Â f(p_t) + Σ_rollouts Â ρ_t],     f(p) = p/(p + 0.1),   Â = r − mean over 7 + 1
//! ```
//!
//! Neither term is clipped. The script's entropy bonus (0.001, over rollouts and demonstrations alike)
//! is not implemented.

/// The settings that differ from the defaults.
pub const SETTINGS: &str = r#"
sft = false
self_term = "advantage"
entropy_weights = false
self_weight_scale = 1.0
demo_shaping = "p/(p+0.1)"
advantage_std = false
reward_values = "binary"
aggregate = "sum-constant"
group_of = "shared"
clip_low = 1.0
clip_high = 1e9
"#;
