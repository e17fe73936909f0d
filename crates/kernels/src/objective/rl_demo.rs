//! Off-policy RL on the demonstration (Eqs. 9–10). With π_β = 1 and no clip, as the paper's text
//! sets them, the ratio is the probability itself: −Â_demo · f(p_t), f(p) = p.
//!
//! LUFFY's shaping (arXiv 2504.14945), which the authors' script sets too, is
//! f(p) = p / (p + γ) with γ = 0.1: it lifts the gradient of improbable tokens.

use super::term::{Float, Term};

/// c · f(p_t) with c = −Â_demo / N_d.
pub fn rl_demo<F: Float>(shaping: Option<F>, c: F, logp: F) -> Term<F> {
    let p = logp.exp();
    let (f, slope) = match shaping {
        None => (p, p),
        // f'(p) · dp/dlnp
        Some(gamma) => (p / (p + gamma), gamma * p / ((p + gamma) * (p + gamma))),
    };
    Term { value: c * f, d_logp: c * slope, ..Term::default() }
}
