//! What every loss term gives for one token, generic over the precision: f32 on the CPU backend, f64
//! for the reference.

use std::iter::Sum;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A term's value and its derivatives in the two token statistics. The weights, advantages and old
/// log-probabilities inside it are constants (stop_grad): they have no derivative.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Term<F> {
    /// The term's share of the loss.
    pub value: F,
    /// ∂value/∂ln p_t.
    pub d_logp: F,
    /// ∂value/∂H_t.
    pub d_entropy: F,
}

impl<F: Float> Sum for Term<F> {
    fn sum<I: Iterator<Item = Self>>(terms: I) -> Self {
        terms.fold(Self::default(), |a, b| Self {
            value: a.value + b.value,
            d_logp: a.d_logp + b.d_logp,
            d_entropy: a.d_entropy + b.d_entropy,
        })
    }
}

/// f32 or f64.
pub trait Float:
    Copy
    + Default
    + PartialOrd
    + From<f32>
    + Into<f64>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// Rounded to this precision.
    fn of(value: f64) -> Self;
    /// e to this power.
    fn exp(self) -> Self;
    /// The smaller of two.
    fn min(self, other: Self) -> Self;
    /// The larger of two.
    fn max(self, other: Self) -> Self;
}

macro_rules! float {
    ($type:ty) => {
        impl Float for $type {
            fn of(value: f64) -> Self {
                value as $type
            }

            fn exp(self) -> Self {
                self.exp()
            }

            fn min(self, other: Self) -> Self {
                self.min(other)
            }

            fn max(self, other: Self) -> Self {
                self.max(other)
            }
        }
    };
}

float!(f32);
float!(f64);
