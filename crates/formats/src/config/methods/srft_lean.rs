//! SRFT that weighs compute (beyond the paper): a step either imitates alone, or samples. GRPO on what is sampled, and on
//! demonstrations that the verifier accepts
//!
//! ```text
//! L_SFT = 1/N_d Σ ⊥[p] · −ln p
//! ```
//!
//! A step imitates with the share 1 − (1 − `imitation`)·s, where s is the share of rollouts that were right when it last
//! sampled: where none is right there is nothing to reinforce. Such a step makes as many updates as cost what its rollouts would have. What the policy would write
//! by itself with a probability of `known` is passed over, at each reading for twice as long; where too little is
//! left, the step samples. The learning rate of an update on rollouts falls where few groups are mixed.

/// The settings that differ from the defaults.
pub const SETTINGS: &str = r#"
rl_demo = false
self_term = "advantage"
entropy_weights = false
sft_weight_scale = 1.0
sft_token_weight = "p"
self_weight_scale = 1.0
aggregate = "sequence-mean"
sft_aggregate = "token-mean"
sft_gate = "reward"
drop_equal_groups = true
group_of = "apart"
imitation = 0.75
mixed_rate = true
"#;
