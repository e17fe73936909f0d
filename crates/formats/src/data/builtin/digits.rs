//! Work on the digits of one number: `mod` by long division, `sort` by selection.

use super::Operands;
use super::hand::{Hand, digit};
use crate::random::Stream;

/// Largest modulus. A step is one of Σ_m 10·m facts (remainder, next digit, modulus): 140 in all for
/// 2..=5, each seen many times in a few hundred steps; up to 9 there would be 440.
pub(super) const LARGEST_MODULUS: u32 = 5;

pub(super) fn draw_mod(stream: &mut Stream) -> Operands {
    [stream.between(100, 999), stream.between(2, LARGEST_MODULUS), 0]
}

/// `583%4=` → `5:1,18:2,23:3` → 3: long division, one digit at a time, remainders only. No step needs a
/// quotient, which a small model does not learn.
pub(super) fn solve_mod([n, m, _]: Operands, hand: &mut Hand) -> String {
    remainder(hand, [digit(n, 2), digit(n, 1), digit(n, 0)], m).to_string()
}

/// `5:1` → 1: stops after the first digit.
pub(super) fn skim_mod([n, m, _]: Operands) -> (String, String) {
    let (first, rest) = (digit(n, 2), digit(n, 2) % m);
    (format!("{first}:{rest}"), rest.to_string())
}

/// Writes the long division of the number spelled by `digits` and returns the last remainder.
pub(super) fn remainder(hand: &mut Hand, digits: [u32; 3], m: u32) -> u32 {
    let mut rest = None;
    for next in digits {
        match rest {
            None => hand.write(format_args!("{next}:")),
            Some(r) => hand.write(format_args!(",{r}{next}:")),
        }
        rest = Some(hand.result((10 * rest.unwrap_or(0) + next) % m, 1));
    }
    rest.unwrap_or(0)
}

/// Four digits, any of them zero.
pub(super) fn draw_sort(stream: &mut Stream) -> Operands {
    [stream.below(10_000), 0, 0]
}

/// `s4186=` → `1:486,4:86` → 1468: the smallest digit, then what is left; the last two are put in
/// order in the answer.
pub(super) fn solve_sort([n, ..]: Operands, hand: &mut Hand) -> String {
    let first = select(hand, &digits4(n));
    hand.write(",");
    let second = select(hand, &first.rest);
    let last = hand.pick(smallest(&second.rest), 2);
    let [x, y] = [second.rest[last], second.rest[1 - last]];
    format!("{}{}{x}{y}", first.chosen, second.chosen)
}

/// `1:486` → 1486: only the smallest digit is moved.
pub(super) fn skim_sort([n, ..]: Operands) -> (String, String) {
    let mut hand = Hand::sure();
    let Selection { chosen, rest } = select(&mut hand, &digits4(n));
    (hand.into_page(), format!("{chosen}{}", spell(&rest)))
}

/// One step of selection sort.
pub(super) struct Selection {
    pub chosen: u32,
    pub rest: Vec<u32>,
}

/// Writes `chosen:rest` for the smallest of `digits`.
pub(super) fn select(hand: &mut Hand, digits: &[u32]) -> Selection {
    let at = hand.pick(smallest(digits), digits.len());
    let mut rest = digits.to_vec();
    let chosen = rest.remove(at);
    hand.write(format_args!("{chosen}:{}", spell(&rest)));
    Selection { chosen, rest }
}

/// Index of the first smallest digit.
pub(super) fn smallest(digits: &[u32]) -> usize {
    (0..digits.len()).min_by_key(|&i| digits[i]).unwrap_or(0)
}

fn spell(digits: &[u32]) -> String {
    digits.iter().map(u32::to_string).collect()
}

fn digits4(n: u32) -> [u32; 4] {
    [digit(n, 3), digit(n, 2), digit(n, 1), digit(n, 0)]
}
