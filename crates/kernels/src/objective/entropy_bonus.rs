//! The entropy bonus: −entropy_coeff · `E[H_t]`. Absent from the paper, reported in the authors'
//! script; the only term with a gradient by the entropy.

use super::term::{Float, Term};

/// c · H_t with c = −entropy_coeff / N.
pub fn entropy_bonus<F: Float>(c: F, entropy_nats: F) -> Term<F> {
    Term { value: c * entropy_nats, d_entropy: c, ..Term::default() }
}
