//! Self-distillation on policy (OPSD, arXiv 2601.18734; SDFT, arXiv 2601.19897): the teacher is the policy itself where it also
//! sees the demonstration d:
//!
//! ```text
//! L = −(1/N_r) Σ_k Σ_t Â_t ρ_t,     Â_t = ⊥[ln π(y_t | x, d, x, y_<t) − ln π(y_t | x, y_<t)]
//! ```
//!
//! whose gradient is that of KL(π ‖ teacher) over the policy's own responses. It needs no reward and no second model. The
//! originals tell the teacher in words what the demonstration is for, and OPSD's default compares whole distributions; here the
//! demonstration stands before the prompt as a solved example of it, and the sampled token's log-probability decides.

/// The settings that differ from the defaults.
pub const SETTINGS: &str = r#"
sft = false
rl_demo = false
self_term = "advantage"
entropy_weights = false
self_weight_scale = 1.0
advantage_of = "teacher"
group_of = "apart"
"#;
