//! The oracle: plain loops in f64.

use super::Update;

/// Updates weights, first and second moments in place.
pub fn adamw(
    [weights, first, second]: [&mut [f64]; 3],
    gradient: &[f64],
    decay: f64,
    update: &Update,
) {
    let Update { scale, betas: [beta1, beta2], corrections, epsilon, rate } = *update;
    for (i, g) in gradient.iter().map(|g| g * scale).enumerate() {
        first[i] = beta1 * first[i] + (1.0 - beta1) * g;
        second[i] = beta2 * second[i] + (1.0 - beta2) * g * g;
        let (m, v) = (first[i] / corrections[0], second[i] / corrections[1]);
        weights[i] = decay * weights[i] - rate * m / (v.sqrt() + epsilon);
    }
}

/// The sum of squares of all gradients.
pub fn squared_norm(gradients: &[&[f64]]) -> f64 {
    gradients.iter().flat_map(|g| g.iter()).map(|g| g * g).sum()
}
