//! SFT on the demonstration (Eq. 8): w_SFT · E_demo[−ln π_θ(y_t | x, y_<t)].
//!
//! CHORD-φ (arXiv 2508.11408) weighs each token by stop_grad(p_t (1 − p_t)) besides: most where the
//! policy is undecided, nothing where it is certain or far away.

use super::term::Term;

/// φ_t = p_t (1 − p_t); a constant for the gradient.
pub fn phi(logp: f64) -> f64 {
    logp.exp() * -logp.exp_m1()
}

/// −w · ln p_t; `weight` is w_SFT, times φ_t where that is on.
pub fn sft(weight: f64, logp: f64) -> Term {
    Term { value: -weight * logp, d_logp: -weight, d_entropy: 0.0 }
}
