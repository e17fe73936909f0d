//! The oracle, in f64: each activation as its paper has it.

use srft_formats::model::Activation;

/// act(gate)·up.
pub fn glu(gate: f64, up: f64, activation: Activation) -> f64 {
    let active = match activation {
        Activation::Silu => gate / (1.0 + (-gate).exp()),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (gate + 0.044715 * gate.powi(3));
            0.5 * gate * (1.0 + inner.tanh())
        }
    };
    active * up
}
