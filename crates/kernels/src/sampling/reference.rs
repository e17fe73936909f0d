//! Sampling in plain f64 loops: the oracle of `shaders/sampling.wgsl` and of its CPU twin.

use super::Sampling;

/// ln π_v for every token, nats.
pub fn log_probabilities(logits: &[f32], temperature: f32) -> Vec<f64> {
    let temperature = f64::from(temperature);
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted: Vec<f64> =
        logits.iter().map(|&x| (f64::from(x) - f64::from(max)) / temperature).collect();
    let log_sum = shifted.iter().map(|x| x.exp()).sum::<f64>().ln();
    shifted.iter().map(|x| x - log_sum).collect()
}

/// H = −Σ_v π_v ln π_v, nats.
pub fn entropy(logits: &[f32], temperature: f32) -> f64 {
    log_probabilities(logits, temperature).iter().map(|l| -l.exp() * l).sum()
}

/// The distribution that tokens are drawn from: temperature, then top-k, then top-p, then min-p.
///
/// A token survives top-k if fewer than k tokens have a larger logit, and top-p if the larger
/// logits that survived top-k hold less than p of the mass: so ties stay together. It survives min-p
/// if it is at least that share as probable as the most probable token.
pub fn distribution(logits: &[f32], settings: Sampling) -> Vec<f64> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a])); // stable: lowest index first
    let mut weights = vec![0.0; logits.len()];
    if settings.temperature == 0.0 {
        weights[order[0]] = 1.0;
        return weights;
    }
    let max = f64::from(logits[order[0]]);
    let weight = |v: usize| ((f64::from(logits[v]) - max) / f64::from(settings.temperature)).exp();

    // How many larger logits each token has, and then how much mass they hold.
    let larger = |i: usize| order.partition_point(|&v| logits[v] > logits[order[i]]);
    let k = if settings.top_k == 0 { usize::MAX } else { settings.top_k as usize };
    let by_k = (0..order.len()).take_while(|&i| larger(i) < k).count();
    let mut mass_before = vec![0.0];
    for &v in &order[..by_k] {
        mass_before.push(mass_before[mass_before.len() - 1] + weight(v));
    }
    let nucleus = f64::from(settings.top_p) * mass_before[by_k];
    for i in 0..by_k {
        let in_nucleus = settings.top_p >= 1.0 || mass_before[larger(i)] < nucleus;
        if in_nucleus && weight(order[i]) >= f64::from(settings.min_p) {
            weights[order[i]] = weight(order[i]);
        }
    }
    let total: f64 = weights.iter().sum();
    weights.iter().map(|w| w / total).collect()
}

/// The inverse of the cumulative distribution in index order at `u` in [0, 1).
pub fn draw(distribution: &[f64], u: f64) -> usize {
    let mut below = 0.0;
    for (v, p) in distribution.iter().enumerate() {
        below += p;
        if u < below {
            return v;
        }
    }
    distribution.iter().rposition(|&p| p > 0.0).unwrap_or(0)
}
