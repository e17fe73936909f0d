//! SFT on the demonstration (Eq. 8): w_SFT · E_demo[−ln π_θ(y_t | x, y_<t)].
//!
//! A second weight of each token's own, φ_t, is a constant for the gradient, too ([`SftTokenWeight`]). CHORD's is most
//! where the policy is undecided. DFT's takes from −ln p the slope 1/p, so that an improbable token pulls no
//! harder than a probable one; TrSFT's does so below p = 0.1 alone. EAFT's is small where the policy is sure,
//! which it may be of another token.

use super::term::{Float, Term};
use srft_formats::config::SftTokenWeight;

/// φ_t from ln p_t and H_t (nats).
pub fn phi<F: Float>(weight: SftTokenWeight, logp: F, entropy_nats: F) -> F {
    let (one, p) = (F::from(1.0), logp.exp());
    match weight {
        SftTokenWeight::None => one,
        SftTokenWeight::Phi => p * (one - p),
        SftTokenWeight::Probability => p,
        SftTokenWeight::Entropy => entropy_nats / F::from(3.0),
        SftTokenWeight::Trusted => (p / F::from(0.1)).min(one),
    }
}

/// −c · w · ln p_t; `weight` is w_SFT · φ_t, and c the gate / N_d.
pub fn sft<F: Float>(weight: F, c: F, logp: F) -> Term<F> {
    let scale = c * weight;
    Term { value: -(scale * logp), d_logp: -scale, ..Term::default() }
}
