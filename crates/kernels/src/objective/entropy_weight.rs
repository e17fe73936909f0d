//! The entropy weights w_SFT (Eq. 8) and w_RL (Eq. 12): scale · stop_grad(exp(sign · H)).
//!
//! The paper prints w_SFT = 0.5·exp(−H) and w_RL = 0.1·exp(+H). It does not say over which tokens H is
//! averaged; [`EntropyOver`] decides. H is the entropy over the full vocabulary, in nats.

use super::term::Float;
use super::{EntropyOver, Weight};

/// The weight at entropy `entropy_nats`; exactly 1 where it is off (`None`).
pub fn weight<F: Float>(weight: Option<Weight>, entropy_nats: F) -> F {
    let of = |w: Weight| F::from(w.scale) * (F::from(w.sign) * entropy_nats).exp();
    weight.map_or(F::from(1.0), of)
}

/// The H of the weights for all tokens of a sequence, from the tokens' entropies H_t (nats); `None`
/// where each token's own H_t is used.
pub fn entropy<F: Float>(
    over: EntropyOver,
    demonstration: bool,
    entropies: impl ExactSizeIterator<Item = F>,
) -> Option<F> {
    match over {
        EntropyOver::Token => None,
        EntropyOver::Sequence => {
            let count = entropies.len().max(1) as f64;
            Some(F::of(entropies.map(Into::<f64>::into).sum::<f64>() / count))
        }
        EntropyOver::Batch { demonstrations_nats, .. } if demonstration => {
            Some(F::from(demonstrations_nats))
        }
        EntropyOver::Batch { rollouts_nats, .. } => Some(F::from(rollouts_nats)),
    }
}
