//! TrSFT, the supervised part of TRAPO (arXiv 2512.17636; Su-my/TRAPO, `mix_core_alg.py` line 235):
//! L = (1/N_d) Σ ⊥[min(p_t/0.1, 1)] · −ln p_t: SFT where p_t is above 0.1, DFT's slope below.

/// The settings that differ from the defaults.
pub const SETTINGS: &str = r#"
rl_demo = false
self_term = "none"
entropy_weights = false
sft_weight_scale = 1.0
sft_token_weight = "min(p/0.1,1)"
"#;
