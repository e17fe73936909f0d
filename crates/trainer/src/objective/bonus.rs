//! The coefficient of the entropy bonus where it follows the rollouts' entropy.

use crate::config::{EntropyControl, Objective};
use serde::{Deserialize, Serialize};

/// AdamW as the authors' code sets it for ln of the coefficient: PyTorch's defaults but for the rate.
const BETAS: [f64; 2] = [0.9, 0.999];
const EPS: f64 = 1e-8;
const DECAY: f64 = 1e-2;

/// A coefficient that a run moves; kept in its checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bonus {
    /// The coefficient, 1/nat.
    pub coefficient: f64,
    /// AdamW's moments of the gradient of its logarithm.
    pub moments: [f64; 2],
    /// Times that it was moved.
    pub updates: u32,
}

impl Bonus {
    /// Where it begins; `None` where the objective's coefficient stays.
    pub fn of(objective: &Objective) -> Option<Self> {
        let moves = objective.entropy_control != EntropyControl::None;
        moves.then(|| Self { coefficient: objective.entropy_coeff, ..Self::default() })
    }

    /// The coefficient that acts in a step whose rollouts have the mean entropy `entropy`, nats.
    pub fn acting(&self, objective: &Objective, entropy: f64) -> f64 {
        let Objective { entropy_control, entropy_target, entropy_coeff_max: most, .. } = *objective;
        match entropy_control {
            // Skywork-OR1 (arXiv 2505.22312, Eq. 5).
            EntropyControl::Step if entropy > entropy_target => 0.0,
            _ => self.coefficient.min(most),
        }
    }

    /// Moves on after a step with the mean entropy `entropy`, nats.
    pub fn follow(&mut self, objective: &Objective, entropy: f64) {
        let Objective {
            entropy_target: target, entropy_rate: rate, entropy_coeff_max: most, ..
        } = *objective;
        self.updates += 1;
        match objective.entropy_control {
            EntropyControl::None => {}
            EntropyControl::Step => {
                let up = if entropy <= target { rate } else { -rate };
                self.coefficient = (self.coefficient + up).clamp(0.0, most);
            }
            // LUFFY's `mix_actor.py` lines 205-218 (commit 01f4ae0), which the authors' code builds on: the loss
            // (H − target)·α by gradient descent on ln α.
            EntropyControl::Gradient => {
                let held = self.coefficient > most;
                let slope = if held { 0.0 } else { (entropy - target) * self.coefficient };
                let nth = self.updates as i32;
                let powers = [slope, slope * slope];
                for ((moment, beta), power) in self.moments.iter_mut().zip(BETAS).zip(powers) {
                    *moment = beta * *moment + (1.0 - beta) * power;
                }
                let [first, second] = [0, 1].map(|i| self.moments[i] / (1.0 - BETAS[i].powi(nth)));
                let log = self.coefficient.ln() * (1.0 - rate * DECAY);
                self.coefficient = (log - rate * first / (second.sqrt() + EPS)).exp();
            }
        }
    }
}
