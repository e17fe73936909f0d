//! The KL penalty of sft-kl: KL(θ‖base) by Schulman's k3 (arXiv 2402.03300, Eq. 4), token by token on
//! demonstrations: r − 1 − ln r with r_t = π_base / π_θ = exp(ln p_base,t − ln p_t).

use super::MAX_LOG_RATIO;
use super::term::{Float, Term};

/// c · k3 with c = λ / N_d.
pub fn kl<F: Float>(c: F, logp: F, base_logp: F) -> Term<F> {
    let (one, log_r) = (F::from(1.0), (base_logp - logp).min(F::from(MAX_LOG_RATIO)));
    let r = log_r.exp();
    Term { value: c * (r - one - log_r), d_logp: c * (one - r), ..Term::default() }
}
