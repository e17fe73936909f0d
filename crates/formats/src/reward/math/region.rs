//! Sets of real numbers as spans between two ends: intervals, their unions, and solutions of
//! inequalities.

use std::cmp::Ordering;

use super::expr::{Constant, Expr, negated};
use super::numeric::{real_value, same};

/// Where a span ends.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// The number there.
    pub at: Expr,
    /// Whether it belongs to the span.
    pub closed: bool,
}

impl End {
    /// An end at a number, or an open one at ±∞.
    pub fn new(at: Expr, closed: bool) -> Self {
        let closed = closed && at.infinity().is_none();
        Self { at, closed }
    }

    fn value(&self) -> Option<f64> {
        real_value(&self.at)
    }

    fn flipped(&self) -> Self {
        Self::new(self.at.clone(), !self.closed)
    }
}

/// The numbers between two ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The lower end.
    pub low: End,
    /// The upper end.
    pub high: End,
}

impl Span {
    /// The single number `at`.
    pub fn point(at: Expr) -> Self {
        let end = End::new(at, true);
        Self { low: end.clone(), high: end }
    }

    /// Numbers up to `high`.
    pub fn below(high: End) -> Self {
        Self { low: End::new(negated(Expr::Constant(Constant::Infinity)), false), high }
    }

    /// Numbers from `low` on.
    pub fn above(low: End) -> Self {
        Self { low, high: End::new(Expr::Constant(Constant::Infinity), false) }
    }

    /// All real numbers.
    pub fn line() -> Self {
        Self::above(Self::below(End::new(Expr::integer(0), false)).low)
    }
}

/// The spans of a union, sorted and merged where they touch. `None` if the order of their ends is
/// unknown because they contain variables.
pub fn union(spans: Vec<Span>) -> Option<Vec<Span>> {
    let keyed = spans.into_iter().map(|s| Some((s.low.value()?, s.high.value()?, s)));
    let mut keyed: Vec<(f64, f64, Span)> = keyed.collect::<Option<_>>()?;
    keyed.retain(|(low, high, span)| match order(*low, *high) {
        Ordering::Less => true,
        Ordering::Equal => span.low.closed && span.high.closed,
        Ordering::Greater => false,
    });
    keyed.sort_by(|a, b| order(a.0, b.0).then(b.2.low.closed.cmp(&a.2.low.closed)));
    let mut merged: Vec<(f64, f64, Span)> = Vec::new();
    for (low, high, span) in keyed {
        if let Some((_, last_high, last)) = merged.last_mut() {
            let meets = match order(low, *last_high) {
                Ordering::Less => true,
                Ordering::Equal => last.high.closed || span.low.closed,
                Ordering::Greater => false,
            };
            if meets {
                match order(high, *last_high) {
                    Ordering::Greater => (*last_high, last.high) = (high, span.high),
                    Ordering::Equal => last.high.closed |= span.high.closed,
                    Ordering::Less => {}
                }
                continue;
            }
        }
        merged.push((low, high, span));
    }
    Some(merged.into_iter().map(|(_, _, span)| span).collect())
}

/// The complement of a union of `spans` in the real line.
pub fn complement(spans: Vec<Span>) -> Option<Vec<Span>> {
    let mut gaps = Vec::new();
    let mut low = Span::line().low;
    for span in union(spans)? {
        gaps.push(Span { low, high: span.low.flipped() });
        low = span.high.flipped();
    }
    gaps.push(Span::above(low));
    union(gaps)
}

/// The intersection of two unions.
pub fn intersection(a: Vec<Span>, b: Vec<Span>) -> Option<Vec<Span>> {
    let mut outside = complement(a)?;
    outside.extend(complement(b)?);
    complement(outside)
}

fn order(a: f64, b: f64) -> Ordering {
    if same(a, b) { Ordering::Equal } else { a.total_cmp(&b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A span such as `[0 1)`, `(-oo 2]`.
    fn span(text: &str) -> Span {
        let (low, high) = text[1..text.len() - 1].split_once(' ').unwrap();
        let number = |text: &str| match text {
            "oo" => Expr::Constant(Constant::Infinity),
            "-oo" => negated(Expr::Constant(Constant::Infinity)),
            digits => Expr::integer(digits.parse().unwrap()),
        };
        Span {
            low: End::new(number(low), text.starts_with('[')),
            high: End::new(number(high), text.ends_with(']')),
        }
    }

    fn spans(text: &str) -> Vec<Span> {
        text.split(" u ").filter(|t| !t.is_empty()).map(span).collect()
    }

    #[test]
    fn unions_merge_where_they_meet() {
        for (text, expected) in [
            ("[2 3] u [0 1)", "[0 1) u [2 3]"),
            ("[1 2] u [2 3]", "[1 3]"),
            ("(1 2) u [2 3]", "(1 3]"),
            ("(1 2) u (2 3)", "(1 2) u (2 3)"),
            ("(1 2) u (1 2]", "(1 2]"),
            ("(1 5) u [1 2]", "[1 5)"),
            ("(1 1) u [3 2]", ""),
            ("(0 1) u [1 1]", "(0 1]"),
            ("(-oo 1] u [0 oo)", "(-oo oo)"),
        ] {
            assert_eq!(union(spans(text)).unwrap(), spans(expected), "{text}");
        }
    }

    #[test]
    fn complements_and_intersections() {
        for (text, expected) in [
            ("", "(-oo oo)"),
            ("(-oo oo)", ""),
            ("[0 0]", "(-oo 0) u (0 oo)"),
            ("(-oo 0) u (0 oo)", "[0 0]"),
            ("(0 1] u [3 oo)", "(-oo 0] u (1 3)"),
        ] {
            assert_eq!(complement(spans(text)).unwrap(), spans(expected), "{text}");
        }
        for (a, b, expected) in [
            ("[0 2]", "[1 3]", "[1 2]"),
            ("(0 1)", "[1 2]", ""),
            ("(0 1]", "[1 2]", "[1 1]"),
            ("(0 9)", "(-oo 1) u (1 oo)", "(0 1) u (1 9)"),
        ] {
            assert_eq!(intersection(spans(a), spans(b)).unwrap(), spans(expected), "{a}, {b}");
        }
    }

    #[test]
    fn ends_with_variables_have_no_order() {
        let x = End::new(Expr::Variable("x".into()), true);
        assert!(union(vec![Span::above(x)]).is_none());
    }
}
