//! Writes a chain. The teacher makes no slips; the pretraining mix writes wrong results now and then
//! *and goes on with them*, as a pupil does, so that the answer follows from the chain.

use std::fmt::{Display, Write};

use crate::random::Stream;

/// Writes a chain piece by piece and returns the text.
pub(super) struct Hand<'a> {
    page: String,
    /// The randomness and the chance of a slip per result; `None` makes no slips.
    slip: Option<(&'a mut Stream, f64)>,
}

impl<'a> Hand<'a> {
    /// Never errs.
    pub fn sure() -> Self {
        Self { page: String::new(), slip: None }
    }

    /// Gets each result wrong with probability `rate`.
    pub fn slipping(stream: &'a mut Stream, rate: f64) -> Self {
        Self { page: String::new(), slip: Some((stream, rate)) }
    }

    /// Writes text in which no slip can happen.
    pub fn write(&mut self, text: impl Display) {
        write!(self.page, "{text}").expect("a String takes every write");
    }

    /// Writes `value` in `width` digits, zeros in front, and returns the value as written.
    pub fn result(&mut self, value: u32, width: u32) -> u32 {
        let value = value % 10u32.pow(width);
        let written = match self.slipped() {
            Some(stream) => other_digit(value, stream.below(width), stream),
            None => value,
        };
        self.write(format_args!("{written:0width$}", width = width as usize));
        written
    }

    /// Chooses one of `choices`: the `right` one, or after a slip any other.
    pub fn pick(&mut self, right: usize, choices: usize) -> usize {
        match self.slipped() {
            Some(stream) => (right + 1 + stream.below(choices as u32 - 1) as usize) % choices,
            None => right,
        }
    }

    /// What was written.
    pub fn into_page(self) -> String {
        self.page
    }

    fn slipped(&mut self) -> Option<&mut Stream> {
        let (stream, rate) = self.slip.as_mut()?;
        stream.chance(*rate).then_some(&mut **stream)
    }
}

/// `value` with its digit at `place` (0 is the units) replaced by another one.
fn other_digit(value: u32, place: u32, stream: &mut Stream) -> u32 {
    let (old, unit) = (digit(value, place), 10u32.pow(place));
    let new = (old + stream.between(1, 9)) % 10;
    value - old * unit + new * unit
}

/// The decimal digit of `number` at `place`; 0 is the units.
pub(super) fn digit(number: u32, place: u32) -> u32 {
    number / 10u32.pow(place) % 10
}
