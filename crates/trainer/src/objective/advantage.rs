//! The group-relative advantage (Eqs. 6–7): Â_k = (r_k − mean) / (std + 1e-6) over
//! G_aug = rollouts ∪ {demonstration}, with the sample standard deviation (n − 1), as in verl.

/// Added to the standard deviation, as in verl; dimensionless, like the rewards.
pub const EPSILON: f64 = 1e-6;

/// The advantages of one group, in the order of `rewards`; if the demonstration belongs to the group,
/// its reward is one of them. Without `divide_by_std` they are r − mean (Dr. GRPO, LUFFY, HPT).
///
/// All exactly 0 if the rewards are equal; finite for finite rewards.
pub fn advantages(rewards: &[f64], divide_by_std: bool) -> Vec<f64> {
    // Rounding in the mean must not become an advantage of size 1e-17 / 1e-6, let alone 0 / 0.
    if rewards.iter().all(|r| r == &rewards[0]) {
        return vec![0.0; rewards.len()];
    }
    let n = rewards.len() as f64;
    let mean = rewards.iter().sum::<f64>() / n;
    let variance = rewards.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let scale = if divide_by_std { variance.sqrt() + EPSILON } else { 1.0 };
    rewards.iter().map(|r| (r - mean) / scale).collect()
}
