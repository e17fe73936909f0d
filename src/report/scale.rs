//! Ranges and ticks of a chart's axes.

use serde::Serialize;

/// A linear axis: it maps values from `low` to `high` to positions in the drawing, px.
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    /// Value at `start`.
    pub low: f64,
    /// Value at `end`.
    pub high: f64,
    /// Position of `low`, px.
    pub start: f64,
    /// Position of `high`, px.
    pub end: f64,
}

impl Axis {
    /// The position of a value, px; a value beyond the range is put at its edge.
    pub fn at(&self, value: f64) -> f64 {
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.start + share * (self.end - self.start)
    }
}

/// A tick.
#[derive(Debug, Serialize)]
pub struct Tick {
    /// Its position, px.
    pub at: f64,
    /// Its value.
    pub text: String,
    /// Whether its value is 0.
    pub zero: bool,
}

/// 1, 2 or 5 times a power of ten, so that about `parts` of them fit into the span.
pub fn nice_step(span: f64, parts: f64) -> f64 {
    let rough = span / parts.max(1.0);
    let power = 10f64.powf(rough.log10().floor());
    let multiple = [1.0, 2.0, 5.0].into_iter().find(|m| m * power >= rough * (1.0 - 1e-9));
    multiple.unwrap_or(10.0) * power
}

/// The smallest range of round numbers around both ends; if the ends are equal, it is widened.
pub fn covering(low: f64, high: f64) -> (f64, f64) {
    let (low, high) = match (low, high) {
        (0.0, 0.0) => (0.0, 1.0),
        (l, h) if h - l <= 1e-9 * l.abs().max(h.abs()) => (l - l.abs() / 2.0, h + h.abs() / 2.0),
        both => both,
    };
    let unit = nice_step(high - low, 4.0);
    ((low / unit + 1e-9).floor() * unit, (high / unit - 1e-9).ceil() * unit)
}

/// The round numbers in a range, about `parts` of them, and the distance between two.
pub fn ticks(low: f64, high: f64, parts: f64) -> (Vec<f64>, f64) {
    let unit = nice_step(high - low, parts);
    let first = (low / unit - 1e-9).ceil() as i64;
    let last = (high / unit + 1e-9).floor() as i64;
    ((first..=last).map(|i| i as f64 * unit).collect(), unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12)
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert!(near(&ticks(0.0, 200.0, 5.0).0, &[0.0, 50.0, 100.0, 150.0, 200.0]));
        assert!(near(&ticks(-1.0, 1.0, 4.0).0, &[-1.0, -0.5, 0.0, 0.5, 1.0]));
        assert!(near(&ticks(0.03, 0.11, 4.0).0, &[0.04, 0.06, 0.08, 0.1]));
        assert!(near(&ticks(0.0, 1.0, 5.0).0, &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]));
    }

    #[test]
    fn a_range_covers_its_values_and_is_never_empty() {
        assert_eq!(covering(0.0, 0.0), (0.0, 1.0));
        assert_eq!(covering(-0.9, 3.2), (-2.0, 4.0));
        for (low, high) in [(5.0, 5.0), (-3.0, -3.0), (0.1, 0.1 + 1e-15), (1e-9, 2e-9)] {
            let (l, h) = covering(low, high);
            assert!(l <= low && h >= high && h > l, "{low} to {high}: {l} to {h}");
        }
    }

    #[test]
    fn an_axis_may_fall_and_holds_what_is_beyond_it() {
        let axis = Axis { low: 0.0, high: 2.0, start: 100.0, end: 0.0 };
        assert_eq!([0.0, 0.5, 2.0, 9.0].map(|v| axis.at(v)), [100.0, 75.0, 0.0, 0.0]);
    }
}
