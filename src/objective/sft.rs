//! SFT on the demonstration (Eq. 8): w_SFT · E_demo[−ln π_θ(y_t | x, y_<t)].

use super::term::Term;

/// −w · ln p_t; `weight` is w_SFT.
pub fn sft(weight: f64, logp: f64) -> Term {
    Term { value: -weight * logp, d_logp: -weight, d_entropy: 0.0 }
}
