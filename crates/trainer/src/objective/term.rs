//! What every loss term gives for one token.

use std::iter::Sum;
use std::ops::Mul;

/// A term's value and its derivatives by the two token statistics. The weights, advantages and old
/// log-probabilities inside it are constants (stop_grad): they have no derivative.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Term {
    /// The term's share of the loss.
    pub value: f64,
    /// Its derivative by ln p_t.
    pub d_logp: f64,
    /// Its derivative by H_t.
    pub d_entropy: f64,
}

impl Mul<Term> for f64 {
    type Output = Term;

    fn mul(self, term: Term) -> Term {
        Term {
            value: self * term.value,
            d_logp: self * term.d_logp,
            d_entropy: self * term.d_entropy,
        }
    }
}

impl Sum for Term {
    fn sum<I: Iterator<Item = Term>>(terms: I) -> Term {
        terms.fold(Term::default(), |a, b| Term {
            value: a.value + b.value,
            d_logp: a.d_logp + b.d_logp,
            d_entropy: a.d_entropy + b.d_entropy,
        })
    }
}
