//! Half precision in plain loops over the fields of IEEE 754: the oracle of `shaders/widen.wgsl` and
//! of its CPU twin.

use super::Half;

/// The `[2n]` numbers in words `[n]`, low half first.
pub fn widen(words: &[u32], half: Half) -> Vec<f64> {
    words
        .iter()
        .flat_map(|word| [word & 0xffff, word >> 16])
        .map(|bits| number(bits, half))
        .collect()
}

/// (−1)^sign · 1.fraction · 2^(exponent − bias), or 0.fraction · 2^(1 − bias) below the normal range.
fn number(bits: u32, half: Half) -> f64 {
    let (fraction_bits, bias) = match half {
        Half::F16 => (10, 15),
        Half::Bf16 => (7, 127),
    };
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let fraction = f64::from(bits & ((1 << fraction_bits) - 1)) / f64::from(1 << fraction_bits);
    match (bits & 0x7fff) >> fraction_bits {
        0 => sign * fraction * 2f64.powi(1 - bias),
        exponent => sign * (1.0 + fraction) * 2f64.powi(exponent as i32 - bias),
    }
}
