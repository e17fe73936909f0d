//! SRFT as printed (arXiv 2506.19767, Eq. 13), which the defaults are:
//!
//! ```text
//! L = (1/N_d) Σ_i w_SFT Σ_t −ln p_t                       w_SFT = 0.5·exp(−H(d_i))     Eq. 8
//!   − (1/N_d) Σ_i Â_i Σ_t p_t                             Â over G_aug                 Eqs. 6–10
//!   + (1/N_r) [Σ_right w_RL Σ_t −ln p_t + Σ_wrong Σ_t ln p_t]   w_RL = 0.1·exp(+H(y))  Eqs. 11–12
//! ```
//!
//! d are demonstrations, y rollouts, N_d and N_r their tokens over the whole update; no gradient
//! flows through w and Â.

/// No setting differs from the defaults.
pub const SETTINGS: &str = "";
