//! Two stages in one run, `sft-grpo` (SFT→GRPO) and `grpo-sft` (GRPO→SFT): the first method's loss,
//! then for the last `second_share` of the steps the second's. Optimiser, schedule and data continue.

/// The settings of the first stage, and the name of the second stage's method.
pub fn settings(first: &str, second: &str) -> String {
    format!("{first}second = \"{second}\"\n")
}
