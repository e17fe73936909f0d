//! UFT (arXiv 2505.16984; liumy2010/UFT, commit ad3c8ec, `verl/utils/dataset/rl_dataset.py` lines 134–163,
//! `verl/workers/actor/dp_actor.py` lines 272–284): a prompt's rollouts begin with k of five parts of its demonstration,
//! k ~ Bin(5, p), p along half a cosine from 0.95 to 0.05 over 300 steps, then none. L = GRPO on what is sampled
//! + 0.001 KL(θ‖base) − 0.001 H + 0.001 · mean of −ln p over what is given.

use crate::config::{Objective, Prefix};
use std::f64::consts::PI;

/// The settings that differ from the defaults.
pub const SETTINGS: &str = r#"
rl_demo = false
self_term = "advantage"
entropy_weights = false
sft_weight_scale = 0.001
self_weight_scale = 1.0
rollout_kl = 0.001
entropy_coeff = 0.001
group_of = "apart"
prefix = "parts"
sft_over = "prefix"
"#;

impl Objective {
    /// The share of a demonstration that the schedule gives in update `step`, counted from 0; `None` where nothing is
    /// given.
    pub fn prefix_at(&self, step: u32) -> Option<f64> {
        let over = step >= self.prefix_steps;
        match self.prefix {
            Prefix::None => None,
            Prefix::Success => Some(self.prefix_end),
            Prefix::Share | Prefix::Parts | Prefix::Uniform if over => None,
            Prefix::Share | Prefix::Parts | Prefix::Uniform => {
                let progress = f64::from(step) / f64::from(self.prefix_steps);
                let left = 0.5 * (1.0 + (PI * progress).cos());
                Some(self.prefix_end + (self.prefix_share - self.prefix_end) * left)
            }
        }
    }
}
