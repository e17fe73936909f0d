//! The entropy bonus: −entropy_coeff · `E[H_t]`. Absent from the paper, reported in the authors'
//! script; the only term with a gradient by the entropy.

use super::term::Term;

/// H_t; the coefficient −entropy_coeff / N stands before it.
pub fn entropy_bonus(entropy_nats: f64) -> Term {
    Term { value: entropy_nats, d_logp: 0.0, d_entropy: 1.0 }
}
