//! SRFT as re-implemented in Unify-Post-Training (commit ae332f5, `hpt/verl/verl/mix_src/`:
//! `mix_actor.py` lines 349–368, `mix_core_alg.py` lines 476–692, `exp_scripts/train_srft.sh`):
//!
//! ```text
//! L = (1/N_d) Σ w_SFT · −ln p_t                           w_SFT = 0.5·exp(−H(d))
//!   − (1/8192) Σ_demo Â f(p_t)                            f(p) = p/(p + 0.1),  Â = r − mean over 7 + 1
//!   + (1/8192) [Σ_right w_RL · −ln p_t + Σ_wrong ln p_t]  w_RL = 0.1·exp(+H(y)), signed as in Eq. 12
//! ```
//!
//! Its script adds an entropy bonus of 0.001 over rollouts and demonstrations alike; ours is over
//! rollouts alone, so the preset has none.

/// The settings that differ from the defaults.
pub const SETTINGS: &str = r#"
demo_shaping = "p/(p+0.1)"
advantage_std = false
reward_values = "binary"
aggregate = "sum-constant"
sft_aggregate = "token-mean"
group_of = "shared"
"#;
