//! The objective in f64, sequence by sequence: the oracle of `shaders/objective.wgsl` and of the CPU
//! backend (see [`super::objective`]).

use super::formula::sequence;
use super::{COLUMNS, GIVEN, Row, Switches, column};

/// What the kernel computes, in f64.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// `[n]` pairs (dL/dlogp, dL/dH); 0 for tokens outside every row.
    pub coefficients: Vec<[f64; 2]>,
    /// `[S]` rows of the columns named in [`mod@column`].
    pub sums: Vec<[f64; COLUMNS]>,
}

impl Reference {
    /// The loss: the four loss columns over all sequences.
    pub fn loss(&self) -> f64 {
        self.sums.iter().flat_map(|s| &s[..column::LOSSES]).sum()
    }
}

/// `stats` is `[n]` pairs (ln p_t, H_t), `given` is `[n]` triples as [`super::objective`] has them.
pub fn objective(
    stats: &[[f64; 2]],
    given: &[[f64; GIVEN]],
    rows: &[Row],
    switches: &Switches,
) -> Reference {
    let mut coefficients = vec![[0.0; 2]; stats.len()];
    let sums = rows.iter().map(|row| {
        let own = row.tokens();
        let (stats, given) = (&stats[own.clone()], &given[own.clone()]);
        sequence(row, switches, stats, given, &mut coefficients[own])
    });
    let sums = sums.collect();
    Reference { coefficients, sums }
}
