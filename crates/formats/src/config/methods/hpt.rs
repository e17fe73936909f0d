//! HPT (arXiv 2509.04419; Unify-Post-Training, commit ae332f5, `hpt/verl/verl/mix_src/mix_trainer.py`
//! lines 394–407, `mix_actor.py` lines 135–165, `exp_scripts/train.sh`): a prompt is either imitated or
//! reinforced, by the share P of its rollouts that are right,
//!
//! ```text
//! P ≤ γ:  L_SFT = (1/N_d) Σ −ln p_t         over the demonstrations of such prompts
//! P > γ:  L_RL  = −(1/8192) Σ Â ρ_t         Â = r − mean over the rollouts
//! ```
//!
//! The original gives γ as a number of right rollouts out of eight: 0 in the script for Qwen, 2 in the
//! one for Llama. L_SFT has the factor 1. The original's entropy bonus (0.001, over rollouts and
//! demonstrations alike) is not implemented.

/// The settings that differ from the defaults.
pub const SETTINGS: &str = r#"
rl_demo = false
self_term = "advantage"
entropy_weights = false
sft_weight_scale = 1.0
self_weight_scale = 1.0
advantage_std = false
reward_values = "binary"
aggregate = "sum-constant"
sft_aggregate = "token-mean"
sft_gate = "unsolved"
rl_gate = "solved"
group_of = "apart"
clip_low = 1.0
clip_high = 1e9
"#;
