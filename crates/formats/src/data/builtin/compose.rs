//! Suites that chain two in-distribution skills: `two` (add, then sub), `ord` (mul, then add), `rank`
//! (sort, then mod). `;` separates the two chains.

use super::Operands;
use super::columns::{difference, difference_without_borrow, sum, sum_without_carry};
use super::digits::{LARGEST_MODULUS, remainder, select, smallest};
use super::hand::{Hand, digit};
use crate::random::Stream;

/// a + b − c with a + b of two digits and no negative answer: both halves are two columns wide.
pub(super) fn draw_two(stream: &mut Stream) -> Operands {
    let a = stream.between(10, 89);
    let b = stream.between(10, 99 - a);
    [a, b, stream.between(10, a + b)]
}

/// `60+35-43=` → `0+5=05,6+3+0=09;5-3=2,9-4=5` → 52
pub(super) fn solve_two([a, b, c]: Operands, hand: &mut Hand) -> String {
    let sum = sum(hand, a, b) % 100;
    hand.write(";");
    difference(hand, sum, c).to_string()
}

/// `0+5-3,6+3-4` → 52: neither carries nor borrows.
pub(super) fn skim_two([a, b, c]: Operands) -> (String, String) {
    let column = |k| format!("{}+{}-{}", digit(a, k), digit(b, k), digit(c, k));
    let careless = difference_without_borrow(sum_without_carry(a, b), c);
    (format!("{},{}", column(0), column(1)), careless.to_string())
}

/// a + b·c with b·c of two digits (a zero in front where needed).
pub(super) fn draw_ord(stream: &mut Stream) -> Operands {
    [stream.between(10, 99), stream.between(2, 9), stream.between(2, 9)]
}

/// `71+7*6=` → `7*6=42;1+2=03,7+4+0=11` → 113
pub(super) fn solve_ord([a, b, c]: Operands, hand: &mut Hand) -> String {
    hand.write(format_args!("{b}*{c}="));
    let product = hand.result(b * c, 2);
    hand.write(";");
    sum(hand, a, product).to_string()
}

/// `7*6,1+2,7+4` → 113: the carry is forgotten.
pub(super) fn skim_ord([a, b, c]: Operands) -> (String, String) {
    let product = b * c;
    let column = |k| format!("{}+{}", digit(a, k), digit(product, k));
    let careless = sum_without_carry(a, product);
    (format!("{b}*{c},{},{}", column(0), column(1)), careless.to_string())
}

/// Three digits, any of them zero, and a modulus.
pub(super) fn draw_rank(stream: &mut Stream) -> Operands {
    [stream.below(1000), stream.between(2, LARGEST_MODULUS), 0]
}

/// `s583%4=` → `3:58;3:3,35:3,38:2` → 2: the remainder of the number that the sorted digits spell.
pub(super) fn solve_rank([n, m, _]: Operands, hand: &mut Hand) -> String {
    let first = select(hand, &[digit(n, 2), digit(n, 1), digit(n, 0)]);
    hand.write(";");
    let low = smallest(&first.rest);
    let sorted = [first.chosen, first.rest[low], first.rest[1 - low]];
    remainder(hand, sorted, m).to_string()
}

/// `3:58;3:3` → 3: stops after the first digit.
pub(super) fn skim_rank([n, m, _]: Operands) -> (String, String) {
    let mut hand = Hand::sure();
    let first = select(&mut hand, &[digit(n, 2), digit(n, 1), digit(n, 0)]).chosen;
    hand.write(format_args!(";{first}:{}", first % m));
    (hand.into_page(), (first % m).to_string())
}
