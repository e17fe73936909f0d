//! GTPO (arXiv 2508.04349, Eqs. 3 and 5): DAPO with a reward a token. At position t, where d_t right and h_t wrong responses of the
//! group have a token,
//!
//! ```text
//! right:  r_t =  1 + α d_t H_t / Σ_right H_t            an uncertain choice that came out well earns more
//! wrong:  r_t = −1 − α h_t (1/H_t) / Σ_wrong (1/H_t)    a sure one that came out badly costs more
//! Â_t = (r_t − mean) / std over the tokens of the group,  α = 0.1
//! ```
//!
//! The authors have published no code. An independent implementation takes mean and std over right and wrong tokens apart; then right
//! responses are no better than wrong ones, which is not what the paper proves of its reward.

/// The settings that differ from the defaults.
pub const SETTINGS: &str = r#"
sft = false
rl_demo = false
self_term = "advantage"
entropy_weights = false
self_weight_scale = 1.0
clip_high = 0.28
drop_equal_groups = true
advantage_of = "entropy"
"#;
