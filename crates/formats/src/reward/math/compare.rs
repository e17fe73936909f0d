//! Whether a response's value is the gold one.
//!
//! Two numbers are equal exactly, or, if one has a decimal point, after rounding to six decimals; a
//! percentage also equals its number without the sign, from 1% on (50% = 0.5 = 50). Most of this
//! follows math-verify. Expressions are equal when their values are (`numeric.rs`).

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, Zero};

use super::expr::{Expr, Number, negated, product, sum};
use super::numeric::{agree, constant_ratio, real_value};
use super::region::{End, Span};
use super::value::{Condition, Order, Value};

/// Rounded numbers are compared to six decimals: 10^6; math-verify's `float_rounding`.
const ROUNDING: u32 = 1_000_000;

/// Whether `given` is the answer `gold`. Where the response's form is ambiguous, the gold answer's form
/// decides: a gold tuple is ordered, a gold set is not.
pub fn accepts(gold: &Value, given: &Value) -> bool {
    use Value::{Matrix, Ratio, Relation, Scalar, Set, Tuple};
    match (gold, given) {
        (Scalar(a), Scalar(b)) => equal(a, b),
        (Matrix(a), Matrix(b)) => pairwise(a, b, |a, b| pairwise(a, b, equal)),
        (Ratio(a), Ratio(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(x, y)| proportional(x, &b[0], y, &a[0]))
        }
        (Matrix(rows), Tuple(b)) if rows.len() == 1 || rows[0].len() == 1 => {
            let entries: Vec<Value> = rows.iter().flatten().cloned().map(Scalar).collect();
            pairwise(&entries, b, accepts)
        }
        (Relation(a), Relation(b)) => one_to_one(a, b, same_condition) || same_function(a, b),
        (Tuple(a), Tuple(b)) => pairwise(a, b, accepts),
        (Tuple(a), Set(b)) => pairwise(a, &by_name(b), accepts),
        (Set(a), Tuple(b) | Set(b)) => one_to_one(&distinct(a), &distinct(b), |a, b| accepts(a, b)),
        _ => match (gold.assigned(), given.assigned()) {
            (Some(right), _) => accepts(&Scalar(right.clone()), given),
            (_, Some(right)) => accepts(gold, &Scalar(right.clone())),
            _ => alone(gold, given) || same_region(gold, given),
        },
    }
}

/// Whether a : b equals c : d.
fn proportional(a: &Expr, b: &Expr, c: &Expr, d: &Expr) -> bool {
    let times = |x: &Expr, y: &Expr| product(vec![x.clone(), y.clone()]);
    equal(&times(a, b), &times(c, d))
}

/// Members such as y = 5, x = 2 in the order of their variables if these are letters; else unchanged.
fn by_name(members: &[Value]) -> Vec<Value> {
    let name = |member: &Value| match member {
        Value::Relation(conditions) => match conditions.as_slice() {
            [Condition { left: Expr::Variable(name), order: Order::Equal, .. }] => {
                Some(name.clone()).filter(|name| name.len() == 1)
            }
            _ => None,
        },
        _ => None,
    };
    let mut named = members.to_vec();
    if members.iter().all(|member| name(member).is_some()) {
        named.sort_by_key(name);
    }
    named
}

/// Whether both define the same function: y = 2x + 1 is f(x) = 2x + 1.
fn same_function(a: &[Condition], b: &[Condition]) -> bool {
    let ([a], [b]) = (a, b) else { return false };
    let is_value = |c: &Condition| {
        matches!(&c.left, Expr::Product(parts)
            if parts.len() == 2 && parts.iter().all(|p| matches!(p, Expr::Variable(_))))
    };
    let is_variable = |c: &Condition| matches!(c.left, Expr::Variable(_));
    let both = a.order == Order::Equal && b.order == Order::Equal;
    let forms = is_value(a) && is_variable(b) || is_variable(a) && is_value(b);
    both && forms && !a.right.is_constant() && equal(&a.right, &b.right)
}

/// Whether one is a set whose only member is the other: {5} is 5.
fn alone(gold: &Value, given: &Value) -> bool {
    match (gold, given) {
        (Value::Set(set), one) => matches!(distinct(set)[..], [member] if accepts(member, one)),
        (one, Value::Set(set)) => matches!(distinct(set)[..], [member] if accepts(one, member)),
        _ => false,
    }
}

fn same_region(gold: &Value, given: &Value) -> bool {
    let same_end = |a: &End, b: &End| a.closed == b.closed && equal(&a.at, &b.at);
    let same = |a: &Span, b: &Span| same_end(&a.low, &b.low) && same_end(&a.high, &b.high);
    match (gold.region(), given.region()) {
        (Some(a), Some(b)) => one_to_one(&a, &b, same),
        _ => false,
    }
}

/// Whether two conditions are equivalent: their sides are equal, or the differences of their sides are
/// equal up to a factor, which must be positive for an inequality.
fn same_condition(a: &Condition, b: &Condition) -> bool {
    let difference = |c: &Condition| sum(vec![c.left.clone(), negated(c.right.clone())]);
    let directed = matches!(a.order, Order::Less | Order::AtMost);
    a.order == b.order
        && (equal(&a.left, &b.left) && equal(&a.right, &b.right)
            || constant_ratio(&difference(a), &difference(b))
                .is_some_and(|ratio| ratio > 0.0 || !directed))
}

/// Whether two expressions have the same value.
pub fn equal(a: &Expr, b: &Expr) -> bool {
    if a == b {
        return true;
    }
    match (a, b) {
        _ if a.infinity().is_some() || b.infinity().is_some() => a.infinity() == b.infinity(),
        (Expr::Number(a), Expr::Number(b)) => same_number(a, b),
        (Expr::Number(rounded), exact) | (exact, Expr::Number(rounded)) if rounded.decimal => {
            agree(a, b) || real_value(exact).is_some_and(|exact| rounds_to(exact, &rounded.value))
        }
        _ => agree(a, b),
    }
}

fn same_number(a: &Number, b: &Number) -> bool {
    let without_sign = |a: &Number, b: &Number| {
        let bare = percent_sign_off(a);
        a.percent && !b.percent && bare.abs() >= BigRational::one() && bare == b.value
    };
    a.value == b.value
        || (a.decimal || b.decimal) && rounded(&a.value) == rounded(&b.value)
        || without_sign(a, b)
        || without_sign(b, a)
}

fn percent_sign_off(number: &Number) -> BigRational {
    &number.value * BigRational::from(BigInt::from(100))
}

/// A number in units of the sixth decimal; a number below one unit stays as it is, so that small
/// numbers don't all equal 0.
fn rounded(value: &BigRational) -> BigRational {
    let units = (value * BigRational::from(BigInt::from(ROUNDING))).round();
    if units.is_zero() { value.clone() } else { units }
}

fn rounds_to(exact: f64, decimal: &BigRational) -> bool {
    let exact = BigRational::from_float(exact);
    exact.is_some_and(|exact| {
        let small = |v: &BigRational| v.abs() < BigRational::new(1.into(), ROUNDING.into());
        !small(&exact) && !small(decimal) && rounded(&exact) == rounded(decimal)
    })
}

fn pairwise<A, B>(a: &[A], b: &[B], same: impl Fn(&A, &B) -> bool) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
}

/// Whether the members of `a` and `b` can be paired one to one. Equality isn't transitive (50% is 0.5
/// and 50), so taking the first free partner could leave another member without any.
fn one_to_one<A, B>(a: &[A], b: &[B], same: impl Fn(&A, &B) -> bool) -> bool {
    let mut equals: Vec<Vec<usize>> = Vec::new();
    let mut partners = vec![None; b.len()];
    let finds_partner = |(place, a): (usize, &A)| {
        equals.push((0..b.len()).filter(|&other| same(a, &b[other])).collect());
        pair_up(place, &equals, &mut partners, &mut vec![false; b.len()])
    };
    a.len() == b.len() && a.iter().enumerate().all(finds_partner)
}

/// Pairs the member at `place`, if need be by moving others to new partners (the augmenting paths of
/// bipartite matching). `equals` lists for each place the members of the other side that it equals,
/// `partners` the pairs so far; members marked in `asked` are not tried again.
fn pair_up(
    place: usize,
    equals: &[Vec<usize>],
    partners: &mut [Option<usize>],
    asked: &mut [bool],
) -> bool {
    equals[place].iter().any(|&other| {
        let free = !std::mem::replace(&mut asked[other], true)
            && partners[other].is_none_or(|rival| pair_up(rival, equals, partners, asked));
        if free {
            partners[other] = Some(place);
        }
        free
    })
}

/// The distinct members of a set.
fn distinct(members: &[Value]) -> Vec<&Value> {
    let mut distinct: Vec<&Value> = Vec::new();
    for member in members {
        if !distinct.iter().any(|seen| accepts(seen, member)) {
            distinct.push(member);
        }
    }
    distinct
}
