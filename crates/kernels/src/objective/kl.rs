//! The KL penalty: KL(θ‖base) by Schulman's k3 (arXiv 2402.03300, Eq. 4), token by token: r − 1 − ln r with
//! r_t = π_base / π_θ = exp(ln p_base,t − ln p_t); by k1, −ln r; or by ρ_t·k3, ρ_t = π_θ / π_old: its slope is
//! ρ_t·(−ln r), whose mean over the sampler's tokens is the gradient of the KL (arXiv 2512.02556).

use super::MAX_LOG_RATIO;
use super::term::{Float, Term};
use srft_formats::config::KlForm;

/// c times the estimate, with c = λ / N; `old_logp` is read for ρ alone.
pub fn kl<F: Float>(c: F, form: KlForm, logp: F, base_logp: F, old_logp: F) -> Term<F> {
    let (one, most) = (F::from(1.0), F::from(MAX_LOG_RATIO));
    let log_r = (base_logp - logp).min(most);
    let r = log_r.exp();
    let (value, d_logp) = match form {
        KlForm::K3 => (r - one - log_r, one - r),
        KlForm::K1 => (logp - base_logp, one),
        KlForm::K3Ratio => {
            let rho = (logp - old_logp).min(most).exp();
            (rho * (r - one - log_r), -(rho * log_r))
        }
    };
    Term { value: c * value, d_logp: c * d_logp, ..Term::default() }
}
