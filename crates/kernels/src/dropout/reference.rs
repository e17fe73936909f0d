//! The oracle, in f64.

use srft_formats::random::DropoutMask;

/// x times its mask.
pub fn dropout(x: &[f64], mask: &DropoutMask) -> Vec<f64> {
    let factor = |i: usize| f64::from(mask.block(i as u64 / 8)[i % 8]);
    x.iter().enumerate().map(|(i, x)| x * factor(i)).collect()
}
