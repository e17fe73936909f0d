//! The entropy weights w_SFT (Eq. 8) and w_RL (Eq. 12): scale · stop_grad(exp(sign · H)).
//!
//! The paper prints w_SFT = 0.5·exp(−H) and w_RL = 0.1·exp(+H). It does not say over what H is
//! taken; [`EntropyOver`] decides. H is the entropy over the full vocabulary, in nats.

use crate::ops::objective::{EntropyOver, Weight};

/// The weight at entropy `entropy_nats`; exactly 1 where the weight is off (frozen).
pub fn weight(weight: Option<Weight>, entropy_nats: f64) -> f64 {
    weight.map_or(1.0, |w| f64::from(w.scale) * (f64::from(w.sign) * entropy_nats).exp())
}

/// The entropy that weighs each token of one sequence, from its tokens' entropies H_t (nats).
pub fn entropy(over: EntropyOver, demonstration: bool, entropies: &[f64]) -> Vec<f64> {
    let one = match over {
        EntropyOver::Token => return entropies.to_vec(),
        EntropyOver::Sequence => entropies.iter().sum::<f64>() / entropies.len().max(1) as f64,
        EntropyOver::Batch { demonstrations_nats, .. } if demonstration => {
            f64::from(demonstrations_nats)
        }
        EntropyOver::Batch { rollouts_nats, .. } => f64::from(rollouts_nats),
    };
    vec![one; entropies.len()]
}
