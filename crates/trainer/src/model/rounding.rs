//! How much of a change of weights is left when they are stored in half precision.

use super::Llama;
use crate::config::Storage;
use crate::error::Result;
use crate::ops::readback;
use burn::tensor::{bf16, f16};
use std::fmt;

/// If a smaller share of the changed weights is still changed when stored, much of the training is lost.
const MOST: f64 = 0.9;

/// What rounding on storing does to the weights that differ between two models.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Kept {
    /// Weights that differ.
    pub changed: usize,
    /// Weights that still differ once both models are stored.
    pub kept: usize,
    /// Mean |change| of the weights that differ.
    pub mean_change: f64,
    /// Mean rounding error of those weights.
    pub mean_rounding: f64,
    /// Largest rounding error of those weights.
    pub largest_rounding: f64,
}

impl Kept {
    /// Adds one matrix's weights.
    fn add(&mut self, before: &[f32], after: &[f32], storage: Storage) {
        let stored = |x: f32| match storage {
            Storage::F32 => x,
            Storage::F16 => f16::from_f32(x).to_f32(),
            Storage::Bf16 => bf16::from_f32(x).to_f32(),
        };
        for (&before, &after) in before.iter().zip(after).filter(|(before, after)| before != after)
        {
            let rounding = f64::from((stored(after) - after).abs());
            self.changed += 1;
            self.kept += usize::from(stored(after) != stored(before));
            self.mean_change += f64::from((after - before).abs());
            self.mean_rounding += rounding;
            self.largest_rounding = self.largest_rounding.max(rounding);
        }
    }

    /// Whether much of the change is lost.
    pub fn loses_much(&self) -> bool {
        self.share() < MOST
    }

    /// The share of changed weights that are still changed when stored; 1 if none changed.
    fn share(&self) -> f64 {
        if self.changed == 0 { 1.0 } else { self.kept as f64 / self.changed as f64 }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.1}% of the {} changed weights remain changed (a mean change of {:.1e}, a mean rounding of \
             {:.1e}, the largest {:.1e})",
            100.0 * self.share(),
            self.changed,
            self.mean_change,
            self.mean_rounding,
            self.largest_rounding
        )
    }
}

/// What rounding leaves of the change from `before` to `after`, two models of one shape.
pub async fn kept(before: &Llama, after: &Llama, storage: Storage) -> Result<Kept> {
    let mut sum = Kept::default();
    for (before, after) in before.weights().into_iter().zip(after.weights()) {
        let before = readback::floats(before.tensor).await?;
        sum.add(&before, &readback::floats(after.tensor).await?, storage);
    }
    let count = sum.changed.max(1) as f64;
    (sum.mean_change, sum.mean_rounding) = (sum.mean_change / count, sum.mean_rounding / count);
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_changes_are_lost_in_half_precision() {
        // BF16 has 8 bits of a number: near 1 the next ones are 1/128 above and 1/256 below.
        let (before, after) = ([1.0, 1.0, 1.0, 2.0], [1.001, 1.01, 1.0, 1.0]);
        let mut kept = Kept::default();
        kept.add(&before, &after, Storage::Bf16);
        assert_eq!((kept.changed, kept.kept), (3, 2));
        assert!((kept.largest_rounding - (1.01 - 1.007_812_5)).abs() < 1e-6, "{kept:?}");
        let mut whole = Kept::default();
        whole.add(&before, &after, Storage::F32);
        assert_eq!((whole.share(), whole.mean_rounding), (1.0, 0.0));
    }
}
