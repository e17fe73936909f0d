//! Column arithmetic: `add`, `sub` and `mul`.
//!
//! Every character of a chain follows from at most three digits in sight: a column's two digits and the
//! carry, which is always the first digit of the result before it (for a borrow: the teen before it).

use super::Operands;
use super::hand::{Hand, digit};
use crate::random::Stream;

pub(super) fn draw_add(stream: &mut Stream) -> Operands {
    [stream.between(10, 99), stream.between(10, 99), 0]
}

/// `59+63=` → `9+3=12,5+6+1=12` → 122
pub(super) fn solve_add([a, b, _]: Operands, hand: &mut Hand) -> String {
    sum(hand, a, b).to_string()
}

/// `9+3,5+6` → 112: the carry is forgotten.
pub(super) fn skim_add([a, b, _]: Operands) -> (String, String) {
    let chain = format!("{}+{},{}+{}", digit(a, 0), digit(b, 0), digit(a, 1), digit(b, 1));
    (chain, sum_without_carry(a, b).to_string())
}

/// The larger operand first, so that no answer is negative.
pub(super) fn draw_sub(stream: &mut Stream) -> Operands {
    let (a, b) = (stream.between(10, 99), stream.between(10, 99));
    [a.max(b), a.min(b), 0]
}

/// `43-28=` → `13-8=5,3-2=1` → 15: the borrow is taken off the tens at once.
pub(super) fn solve_sub([a, b, _]: Operands, hand: &mut Hand) -> String {
    difference(hand, a, b).to_string()
}

/// `3-8,4-2` → 25: the smaller digit is taken from the larger one, whichever is on top.
pub(super) fn skim_sub([a, b, _]: Operands) -> (String, String) {
    let chain = format!("{}-{},{}-{}", digit(a, 0), digit(b, 0), digit(a, 1), digit(b, 1));
    (chain, difference_without_borrow(a, b).to_string())
}

pub(super) fn draw_mul(stream: &mut Stream) -> Operands {
    [stream.between(10, 99), stream.between(2, 9), 0]
}

/// `21*8=` → `1*8=08,2*8=16,16+0=16` → 168: units, tens, tens and carry.
pub(super) fn solve_mul([a, m, _]: Operands, hand: &mut Hand) -> String {
    hand.write(format_args!("{}*{m}=", digit(a, 0)));
    let units = hand.result(digit(a, 0) * m, 2);
    hand.write(format_args!(",{}*{m}=", digit(a, 1)));
    let tens = hand.result(digit(a, 1) * m, 2);
    hand.write(format_args!(",{tens:02}+{}=", digit(units, 1)));
    let tens = hand.result(tens + digit(units, 1), 2);
    (tens * 10 + digit(units, 0)).to_string()
}

/// `7*8,2*8` → 166: the carry is forgotten.
pub(super) fn skim_mul([a, m, _]: Operands) -> (String, String) {
    let (units, tens) = (digit(a, 0), digit(a, 1));
    (format!("{units}*{m},{tens}*{m}"), (tens * m * 10 + units * m % 10).to_string())
}

/// Writes the two columns of a + b from the units up and returns the sum that they spell.
pub(super) fn sum(hand: &mut Hand, a: u32, b: u32) -> u32 {
    hand.write(format_args!("{}+{}=", digit(a, 0), digit(b, 0)));
    let units = hand.result(digit(a, 0) + digit(b, 0), 2);
    let carry = digit(units, 1);
    hand.write(format_args!(",{}+{}+{carry}=", digit(a, 1), digit(b, 1)));
    let tens = hand.result(digit(a, 1) + digit(b, 1) + carry, 2);
    tens * 10 + digit(units, 0)
}

/// Writes the two columns of a − b and returns the difference that they spell.
///
/// A borrow turns the upper units digit into a teen and lowers the upper tens digit before it is
/// written: each step is then a fact about two numbers in sight, and the facts are the same with and
/// without a borrow.
pub(super) fn difference(hand: &mut Hand, a: u32, b: u32) -> u32 {
    let borrow = u32::from(digit(a, 0) < digit(b, 0));
    let upper = 10 * borrow + digit(a, 0);
    hand.write(format_args!("{upper}-{}=", digit(b, 0)));
    let units = hand.result(upper - digit(b, 0), 1);
    // Only after a slip can the tens be too small; digits then wrap.
    let upper = (10 + digit(a, 1) - borrow) % 10;
    hand.write(format_args!(",{upper}-{}=", digit(b, 1)));
    let tens = hand.result(10 + upper - digit(b, 1), 1);
    tens * 10 + units
}

/// a + b when the carry is forgotten.
pub(super) fn sum_without_carry(a: u32, b: u32) -> u32 {
    (digit(a, 1) + digit(b, 1)) * 10 + (digit(a, 0) + digit(b, 0)) % 10
}

/// a − b when the smaller digit is always taken from the larger one.
pub(super) fn difference_without_borrow(a: u32, b: u32) -> u32 {
    (0..2).map(|k| digit(a, k).abs_diff(digit(b, k)) * 10u32.pow(k)).sum()
}
