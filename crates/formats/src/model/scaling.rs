//! The scalings of rotary frequencies.

use std::f64::consts::TAU;

/// How a model's frequencies θ^(−2i/dh) are scaled for contexts longer than it was first trained on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scaling {
    /// Unscaled.
    None,
    /// All divided by `factor` (position interpolation, Chen et al., 2023).
    Linear {
        /// At least 1.
        factor: f64,
    },
    /// Llama 3.1's: frequencies of long wavelengths are divided by `factor`, those of short ones kept,
    /// with a ramp in between (`_compute_llama3_parameters` in transformers' `modeling_rope_utils.py`).
    Llama3 {
        /// Divides the frequencies whose wavelength is above `original_positions / low`.
        factor: f64,
        /// `low_freq_factor`.
        low: f64,
        /// `high_freq_factor`, above `low`: frequencies with a wavelength below `original_positions /
        /// high` are kept.
        high: f64,
        /// `original_max_position_embeddings`.
        original_positions: f64,
    },
}

impl Scaling {
    /// The scaled frequency, radians per position.
    pub fn apply(self, frequency: f64) -> f64 {
        match self {
            Self::None => frequency,
            Self::Linear { factor } => frequency / factor,
            Self::Llama3 { factor, low, high, original_positions } => {
                let turns = original_positions * frequency / TAU;
                let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                (1.0 - kept) * frequency / factor + kept * frequency
            }
        }
    }
}
