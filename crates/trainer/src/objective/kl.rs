//! The KL penalty of sft-kl: KL(θ‖base) by Schulman's k3 (arXiv 2402.03300, Eq. 4), token by token on
//! demonstrations: r − 1 − ln r with r_t = π_base / π_θ = exp(ln p_base,t − ln p_t).

use super::term::Term;
use crate::ops::objective::MAX_LOG_RATIO;

/// k3; the coefficient +λ / N_d stands before it.
pub fn kl(logp: f64, base_logp: f64) -> Term {
    let log_r = (base_logp - logp).min(f64::from(MAX_LOG_RATIO));
    let r = log_r.exp();
    Term { value: r - 1.0 - log_r, d_logp: 1.0 - r, d_entropy: 0.0 }
}
