//! RL on the policy's own rollouts, in two forms; w is w_RL for positives and 1 for negatives.
//!
//! * signed (Eqs. 11–12): w_RL · E[−ln π_θ(y⁺)] + E[ln π_θ(y⁻)]: no advantage, ratio or clip.
//! * advantage (PPO, arXiv 1707.06347, Eq. 7; GRPO): −E[min(ρ Â, clip(ρ, 1−ε_low, 1+ε_high) Â)]
//!   with ρ_t = π_θ / π_old = exp(ln p_t − ln p_old,t).
//!
//! Where high-probability gradients are clipped (App. A.2), w is 0 for tokens above the threshold:
//! they add nothing to the term but still count in its normaliser.

use super::term::Term;
use crate::ops::objective::{Clip, MAX_LOG_RATIO};

/// w · ln p_t; the coefficient is −1/N_r for right rollouts and +1/N_r for wrong ones.
pub fn signed(weight: f64, logp: f64) -> Term {
    Term { value: weight * logp, d_logp: weight, d_entropy: 0.0 }
}

/// w · max(c ρ, c clip(ρ)) with c = −Â / N_r, which is −w · min(ρ Â, clip(ρ) Â) / N_r, and whether
/// the clip held the token: then its gradient is 0.
pub fn ratio(weight: f64, c: f64, clip: Clip, logp: f64, old_logp: f64) -> (Term, bool) {
    let rho = (logp - old_logp).min(f64::from(MAX_LOG_RATIO)).exp();
    let held = c * rho.clamp(1.0 - f64::from(clip.low), 1.0 + f64::from(clip.high));
    if c * rho < held {
        return (Term { value: weight * held, ..Term::default() }, true);
    }
    (Term { value: weight * c * rho, d_logp: weight * c * rho, d_entropy: 0.0 }, false)
}
