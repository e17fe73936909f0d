//! SRFT as the authors' code has it (fyqqyf/SRFT, commit 8d4e10a: `mix_src/mix_core_alg.py` lines 134-163,
//! `exp_scripts/train.sh`), where it differs from the paper:
//!
//! ```text
//! L = (1/N_d) Σ w_SFT,t · −ln p_t                         w_SFT,t = 0.5·exp(+H_t)
//!   − (1/N_d) Σ Â f(p_t)                                  f(p) = p/(p + 0.1),  Â = r − mean over G_aug
//!   − (1/N_r) Σ w Â min(ρ_t, …)                           w = 0.1·exp(+H_t) where Â > 0, else 1
//!   − 0.001 · (1/N_r) Σ H_t
//! ```
//!
//! and two updates a step (batch 128, mini-batch 64). That code was read through four notes that quote it and agree.
//! Its adaptive temperature of the entropy, which is off there, is not implemented.

/// The settings that differ from the defaults.
pub const SETTINGS: &str = r#"
entropy_over = "token"
sft_weight_sign = "plus"
self_term = "advantage"
demo_shaping = "p/(p+0.1)"
advantage_std = false
entropy_coeff = 0.001
[train]
minibatches = 2
"#;
