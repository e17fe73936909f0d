//! ReLIFT (arXiv 2506.07527; TheRoadQaQ/ReLIFT, commit eb95454, `relift/verl/verl/relift/`:
//! `core_algos.py`, `trainer.py` lines 436–533, `examples/math-7b/train.sh`): RL, and between its steps
//! SFT on what RL could not solve,
//!
//! ```text
//! L_RL  = −(1/8192) Σ Â ρ_t,     Â = r − mean            while fewer than M demonstrations are held
//! L_SFT = (1/N_d) Σ −ln p_t      over M of them          in the step after, which samples nothing
//! ```
//!
//! The buffer holds right demonstrations of prompts without a right rollout, the latest first. M is 128
//! in the script, its prompts per step; here it is 32, our prompts per step. The original gives SFT its
//! own optimiser (and both losses an entropy bonus of 0.001) and takes the SFT step in addition to the
//! RL step; here SFT is an update like any other, and the prompts of that step are skipped.

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
group_of = "apart"
clip_low = 1.0
clip_high = 1e9
buffer = 32
"#;
