//! Off-policy RL on the demonstration (Eqs. 9–10). With π_β = 1 and no clip, as the paper's text
//! sets them, the ratio is the probability itself: −Â_demo · f(p_t), f(p) = p.
//!
//! LUFFY's shaping (arXiv 2504.14945), which the authors' script reportedly sets too, is
//! f(p) = p / (p + γ) with γ = 0.1: it lifts the gradient of improbable tokens.

use super::term::Term;

/// f(p_t); the coefficient −Â_demo / N_d stands before it.
pub fn rl_demo(shaping: Option<f64>, logp: f64) -> Term {
    let p = logp.exp();
    match shaping {
        None => Term { value: p, d_logp: p, d_entropy: 0.0 },
        Some(gamma) => Term {
            value: p / (p + gamma),
            d_logp: gamma * p / (p + gamma).powi(2), // f'(p) · dp/dlnp
            d_entropy: 0.0,
        },
    }
}
