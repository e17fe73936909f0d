//! CHORD-μ (arXiv 2508.11408; modelscope/Trinity-RFT 0.6.0,
//! `trinity/algorithm/policy_loss_fn/chord_policy_loss.py` lines 14–31 and 228):
//!
//! ```text
//! L = (1 − μ) L_GRPO + μ L_SFT
//! L_GRPO = −(1/N_r) Σ_k Σ_t min(ρ_t Â_k, clip(ρ_t, 1 − 0.2, 1 + 0.2) Â_k),   Â std-normalised
//! L_SFT  = (1/N_d) Σ φ_t · −ln p_t,     φ_t = 1
//! ```
//!
//! μ falls from 0.9 to 0.05 over 200 steps along half a cosine. CHORD-φ is `sft_token_weight =
//! "p(1-p)"` (φ_t = stop_grad(p_t (1 − p_t)), lines 62–97) with `mu = 0.1` and `mu_end = 0.1`. The
//! original also caps the loss of a negative advantage where ρ > 3 (verl's dual clip) and draws
//! demonstrations from a separate data set.

use crate::config::{Mix, Objective, Schedule};
use std::f64::consts::PI;

/// The settings that differ from the defaults.
pub const SETTINGS: &str = r#"
rl_demo = false
self_term = "advantage"
entropy_weights = false
sft_weight_scale = 1.0
self_weight_scale = 1.0
group_of = "apart"
mix = "convex"
mu = 0.9
mu_end = 0.05
mu_decay_steps = 200
"#;

impl Objective {
    /// μ of update `step`, counted from 0: up from 0 in a straight line over the warm-up, then from
    /// `mu` to `mu_end`.
    pub fn mu_at(&self, step: u32) -> f64 {
        if step < self.mu_warmup_steps {
            return self.mu * f64::from(step) / f64::from(self.mu_warmup_steps);
        }
        let decaying = f64::from(step - self.mu_warmup_steps);
        let progress = (decaying / f64::from(self.mu_decay_steps.max(1))).min(1.0);
        let left = match self.mu_schedule {
            Schedule::Constant => 1.0,
            Schedule::Linear => 1.0 - progress,
            Schedule::Cosine => 0.5 * (1.0 + (PI * progress).cos()),
        };
        self.mu_end + (self.mu - self.mu_end) * left
    }

    /// The factors of L_SFT and L_RL.
    pub fn shares(&self) -> (f64, f64) {
        match self.mix {
            Mix::Sum => (1.0, 1.0),
            Mix::Convex => (self.mu, 1.0 - self.mu),
        }
    }
}
