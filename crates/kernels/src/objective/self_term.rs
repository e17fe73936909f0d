//! RL on the policy's own rollouts, in two forms; w is w_RL for positives and 1 for negatives.
//!
//! * signed (Eqs. 11–12): w_RL · E[−ln π_θ(y⁺)] + E[ln π_θ(y⁻)]: no advantage, ratio or clip.
//! * advantage (PPO, arXiv 1707.06347, Eq. 7; GRPO): −E[min(ρ Â, clip(ρ, 1−ε_low, 1+ε_high) Â)]
//!   with ρ_t = π_θ / π_old = exp(ln p_t − ln p_old,t), or for all tokens of a sequence the exp of that
//!   difference's mean (GSPO). Where Â is negative, the dual clip holds −ρ Â at −c Â, c > 1. With the clip on the
//!   weight (CISPO) it is −E[⊥(clip(ρ)) Â ln π_θ].
//!
//! Where high-probability gradients are clipped (App. A.2), w is 0 for tokens above the threshold:
//! they add nothing to the term but still count in its normaliser.

use super::term::{Float, Term};
use super::{Clip, Switches};
use srft_formats::config::ClipOf;

/// w · c · ln p_t; c is −1/N_r for right rollouts and +1/N_r for wrong ones.
pub fn signed<F: Float>(weight: F, c: F, logp: F) -> Term<F> {
    Term { value: weight * (c * logp), d_logp: weight * c, ..Term::default() }
}

/// w · max(c ρ, c clip(ρ)) with c = −Â / N_r, which is −w · min(ρ Â, clip(ρ) Â) / N_r, or with the clip on the
/// weight w · c · clip(ρ) · ln p_t; and whether the token was clipped: then the first has no gradient.
pub fn ratio<F: Float>(
    weight: F,
    c: F,
    switches: &Switches,
    logp: F,
    log_rho: F,
) -> (Term<F>, bool) {
    let Switches { clip: Clip { low, high }, clip_form, dual_clip, .. } = *switches;
    let rho = log_rho.exp();
    let [low, high] = [F::from(1.0) - F::from(low), F::from(1.0) + F::from(high)];
    let inside = rho.max(low).min(high);
    if clip_form == ClipOf::Weight {
        let clipped = c < F::default() && rho > high;
        return (signed(weight, c * inside, logp), clipped);
    }
    let (free, held) = (c * rho, c * inside);
    let constant = |value: F| Term { value: weight * value, ..Term::default() };
    if free < held {
        return (constant(held), true);
    }
    match dual_clip.map(F::from) {
        Some(most) if c > F::default() && rho > most => (constant(c * most), false),
        _ => (Term { value: weight * free, d_logp: weight * free, ..Term::default() }, false),
    }
}
