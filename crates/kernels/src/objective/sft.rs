//! SFT on the demonstration (Eq. 8): w_SFT · E_demo[−ln π_θ(y_t | x, y_<t)].
//!
//! CHORD-φ (arXiv 2508.11408) also weighs each token by stop_grad(p_t (1 − p_t)): most where the policy
//! is undecided, almost nothing where p_t is close to 0 or 1.

use super::term::{Float, Term};

/// φ_t = p_t (1 − p_t); a constant for the gradient.
pub fn phi<F: Float>(logp: F) -> F {
    let p = logp.exp();
    p * (F::from(1.0) - p)
}

/// −c · w · ln p_t; `weight` is w_SFT, times φ_t where that is on, and c the gate / N_d.
pub fn sft<F: Float>(weight: F, c: F, logp: F) -> Term<F> {
    let scale = c * weight;
    Term { value: -(scale * logp), d_logp: -scale, ..Term::default() }
}
