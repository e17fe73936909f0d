//! RL on the policy's own rollouts, in two forms; w is w_RL for positives and 1 for negatives.
//!
//! * signed (Eqs. 11–12): w_RL · E[−ln π_θ(y⁺)] + E[ln π_θ(y⁻)]: no advantage, ratio or clip.
//! * advantage (PPO, arXiv 1707.06347, Eq. 7; GRPO): −E[min(ρ Â, clip(ρ, 1−ε_low, 1+ε_high) Â)]
//!   with ρ_t = π_θ / π_old = exp(ln p_t − ln p_old,t).
//!
//! Where high-probability gradients are clipped (App. A.2), w is 0 for tokens above the threshold:
//! they add nothing to the term but still count in its normaliser.

use super::term::{Float, Term};
use super::{Clip, MAX_LOG_RATIO};

/// w · c · ln p_t; c is −1/N_r for right rollouts and +1/N_r for wrong ones.
pub fn signed<F: Float>(weight: F, c: F, logp: F) -> Term<F> {
    Term { value: weight * (c * logp), d_logp: weight * c, ..Term::default() }
}

/// w · max(c ρ, c clip(ρ)) with c = −Â / N_r, which is −w · min(ρ Â, clip(ρ) Â) / N_r, and whether
/// the token was clipped: then its gradient is 0.
pub fn ratio<F: Float>(weight: F, c: F, clip: Clip, logp: F, old_logp: F) -> (Term<F>, bool) {
    let rho = (logp - old_logp).min(F::from(MAX_LOG_RATIO)).exp();
    let [low, high] = [F::from(1.0) - F::from(clip.low), F::from(1.0) + F::from(clip.high)];
    let (free, held) = (c * rho, c * rho.max(low).min(high));
    if free < held {
        return (Term { value: weight * held, ..Term::default() }, true);
    }
    (Term { value: weight * free, d_logp: weight * free, ..Term::default() }, false)
}
