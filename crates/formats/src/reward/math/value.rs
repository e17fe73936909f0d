//! The values that an answer can have, and how they combine: expressions, tuples, sets, sets of real
//! numbers, matrices, equations and inequalities.

use num_bigint::BigInt;

use super::expr::{self, Expr, Number, Reading, product, sum};
use super::numeric::real_value;
use super::region::{self, End, Span};
use super::units::number_words;

/// The value of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number or an expression.
    Scalar(Expr),
    /// A point or a vector; with two members also an open interval.
    Tuple(Vec<Value>),
    /// A set, or several answers, in written order.
    Set(Vec<Value>),
    /// A set of real numbers; sorted and merged unless its ends contain variables.
    Region(Vec<Span>),
    /// The proportion of three or more numbers.
    Ratio(Vec<Expr>),
    /// Rows of equal length.
    Matrix(Vec<Vec<Expr>>),
    /// Equations and inequalities that hold together, as in 1 < x < 2.
    Relation(Vec<Condition>),
}

/// An equation or inequality; > and ≥ are stored with their sides swapped.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The left side.
    pub left: Expr,
    /// How they compare.
    pub order: Order,
    /// The right side.
    pub right: Expr,
}

/// How the left side compares with the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the usual ones")]
pub enum Order {
    Equal,
    Unequal,
    Less,
    AtMost,
}

impl Condition {
    /// What this bounds (a variable or a function's value) and the numbers that it allows.
    fn region(&self) -> Option<(&Expr, Vec<Span>)> {
        let is_bounded =
            |e: &Expr| matches!(e, Expr::Variable(_) | Expr::Product(_)) && e.is_name();
        let (variable, bound, below) = match (&self.left, &self.right) {
            (left, bound) if is_bounded(left) => (left, bound, true),
            (bound, right) if is_bounded(right) => (right, bound, false),
            _ => return None,
        };
        let closed = self.order == Order::AtMost;
        real_value(bound)?;
        let spans = match self.order {
            Order::Equal => vec![Span::point(bound.clone())],
            Order::Unequal => region::complement(vec![Span::point(bound.clone())])?,
            _ if below => vec![Span::below(End::new(bound.clone(), closed))],
            _ => vec![Span::above(End::new(bound.clone(), closed))],
        };
        Some((variable, spans))
    }
}

impl Value {
    /// The expression, if the value is one.
    pub fn scalar(self) -> Reading<Expr> {
        match self {
            Self::Scalar(expr) => Ok(expr),
            _ => Err("it calculates with something that is not a number"),
        }
    }

    /// The set of real numbers as which this can be read.
    pub fn region(&self) -> Option<Vec<Span>> {
        match self {
            Self::Region(spans) => Some(spans.clone()),
            Self::Tuple(ends) => match ends.as_slice() {
                [Self::Scalar(low), Self::Scalar(high)] => Some(vec![Span {
                    low: End::new(low.clone(), false),
                    high: End::new(high.clone(), false),
                }]),
                _ => None,
            },
            Self::Set(members) => {
                let points = members.iter().map(|member| match member {
                    Self::Scalar(at) => Some(Span::point(at.clone())),
                    _ => None,
                });
                points.collect::<Option<Vec<Span>>>().map(united).or_else(|| alternatives(members))
            }
            Self::Relation(conditions) => Some(bounds(conditions)?.1),
            Self::Scalar(_) | Self::Matrix(_) | Self::Ratio(_) => None,
        }
    }

    /// The right side of "x =".
    pub fn assigned(&self) -> Option<&Expr> {
        match self {
            Self::Relation(conditions) => match conditions.as_slice() {
                [Condition { left, order: Order::Equal, right }] if left.is_name() => Some(right),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether this is an expression without variables.
    pub fn is_constant(&self) -> bool {
        matches!(self, Self::Scalar(expr) if expr.is_constant())
    }

    /// Whether this is a rational number.
    pub fn is_number(&self) -> bool {
        matches!(self, Self::Scalar(Expr::Number(_)))
    }

    /// Whether no variable occurs.
    pub fn is_numeric(&self) -> bool {
        match self {
            Self::Scalar(expr) => expr.is_constant(),
            Self::Tuple(members) | Self::Set(members) => members.iter().all(Self::is_numeric),
            Self::Ratio(parts) => parts.iter().all(Expr::is_constant),
            Self::Matrix(rows) => rows.iter().flatten().all(Expr::is_constant),
            Self::Relation(_) => self.assigned().is_some_and(Expr::is_constant),
            Self::Region(_) => true,
        }
    }

    fn is_name(&self) -> bool {
        match self {
            Self::Scalar(expr) => expr.is_name(),
            Self::Tuple(members) => members.iter().all(Self::is_name),
            _ => false,
        }
    }
}

/// What `conditions` bound, and the numbers that they allow together.
fn bounds(conditions: &[Condition]) -> Option<(&Expr, Vec<Span>)> {
    let (first, rest) = conditions.split_first()?;
    rest.iter().try_fold(first.region()?, |(variable, spans), condition| {
        let (other, allowed) = condition.region()?;
        Some((variable, (other == variable).then(|| region::intersection(spans, allowed))??))
    })
}

/// What several relations allow: any of them in "x < 2 or x > 3", all of them in "x > 2 and x < 5". If
/// their union would be everything, the intersection is meant, since commas and loose words don't tell.
fn alternatives(members: &[Value]) -> Option<Vec<Span>> {
    let regions = members.iter().map(|member| match member {
        Value::Relation(conditions) => bounds(conditions),
        _ => None,
    });
    let regions: Vec<(&Expr, Vec<Span>)> = regions.collect::<Option<_>>()?;
    let variable = regions.first()?.0;
    if regions.iter().any(|(other, _)| other != &variable) {
        return None;
    }
    let spans = regions.into_iter().map(|(_, spans)| spans);
    let any = united(spans.clone().flatten().collect());
    if any != [Span::line()] {
        return Some(any);
    }
    spans.map(Some).reduce(|a, b| region::intersection(a?, b?))?
}

/// The union of `spans`, or the spans unchanged if their order is unknown.
fn united(spans: Vec<Span>) -> Vec<Span> {
    region::union(spans.clone()).unwrap_or(spans)
}

/// An interval with at least one square bracket. If its ends are in the wrong order, it is a pair of
/// numbers.
pub fn interval(low: End, high: End) -> Value {
    match (real_value(&low.at), real_value(&high.at)) {
        (Some(a), Some(b)) if a > b => {
            Value::Tuple(vec![Value::Scalar(low.at), Value::Scalar(high.at)])
        }
        _ => Value::Region(vec![Span { low, high }]),
    }
}

/// An operation on sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the usual ones")]
pub enum SetOperation {
    Union,
    Intersection,
    Difference,
}

/// Two sets, combined.
pub fn combine(a: Value, operation: SetOperation, b: Value) -> Reading<Value> {
    if let (Value::Set(a), SetOperation::Union, Value::Set(b)) = (&a, operation, &b) {
        return Ok(Value::Set([a.as_slice(), b].concat()));
    }
    let unknown = "it combines sets that are not known as sets of real numbers";
    let (a, b) = (a.region().ok_or(unknown)?, b.region().ok_or(unknown)?);
    let spans = match operation {
        SetOperation::Union => Some(united([a, b].concat())),
        SetOperation::Intersection => region::intersection(a, b),
        SetOperation::Difference => region::complement(b).and_then(|b| region::intersection(a, b)),
    };
    Ok(Value::Region(spans.ok_or(unknown)?))
}

/// The sum of `a` and `b`.
pub fn add(a: Value, b: Value) -> Reading<Value> {
    match (a, b) {
        (Value::Matrix(a), Value::Matrix(b)) => {
            if a.len() != b.len() || a[0].len() != b[0].len() {
                return Err("it adds matrices of different shapes");
            }
            let add_rows = |(a, b): (Vec<Expr>, Vec<Expr>)| {
                a.into_iter().zip(b).map(|(a, b)| sum(vec![a, b])).collect()
            };
            Ok(Value::Matrix(a.into_iter().zip(b).map(add_rows).collect()))
        }
        (a, b) => Ok(Value::Scalar(sum(vec![a.scalar()?, b.scalar()?]))),
    }
}

/// The product of `a` and `b`; one of them may be a matrix.
pub fn multiply(a: Value, b: Value) -> Reading<Value> {
    match (a, b) {
        (Value::Matrix(rows), factor) | (factor, Value::Matrix(rows)) => {
            let factor = factor.scalar()?;
            let scale = |entry| product(vec![factor.clone(), entry]);
            let rows = rows.into_iter().map(|row| row.into_iter().map(scale).collect());
            Ok(Value::Matrix(rows.collect()))
        }
        (a, b) => Ok(Value::Scalar(product(vec![a.scalar()?, b.scalar()?]))),
    }
}

/// `a` divided by `b`.
pub fn divide(a: Value, b: Value) -> Reading<Value> {
    multiply(a, Value::Scalar(expr::power(b.scalar()?, Expr::integer(-1))?))
}

/// The ratio of `parts`; for two, their quotient.
pub fn ratio(mut parts: Vec<Expr>) -> Reading<Value> {
    if parts.len() == 2
        && let (Some(below), Some(above)) = (parts.pop(), parts.pop())
    {
        return Ok(Value::Scalar(expr::quotient(above, below)?));
    }
    Ok(Value::Ratio(parts))
}

/// The number whose digits are `digits` in `base`.
pub fn in_base(digits: Value, base: Value) -> Reading<Value> {
    let unknown = "it has a number in a base other than 2 to 10";
    let small = |value: Value| match value {
        Value::Scalar(Expr::Number(number)) => Some(number),
        Value::Scalar(Expr::Variable(word)) => {
            let (value, _) = number_words(&[&word])?;
            Some(Number::integer(value as i64))
        }
        _ => None,
    };
    let (digits, base) = (small(digits).ok_or(unknown)?, small(base).ok_or(unknown)?);
    let base = base.small_integer().filter(|base| (2..=36).contains(base)).ok_or(unknown)?;
    let written = digits.value.is_integer().then(|| digits.value.to_string()).ok_or(unknown)?;
    let mut total = BigInt::from(0);
    for digit in written.trim_start_matches('-').chars().filter_map(|c| c.to_digit(10)) {
        if i64::from(digit) >= base {
            return Err(unknown);
        }
        total = total * base + digit;
    }
    let total = if written.starts_with('-') { -total } else { total };
    let number = Number::new(total.into(), false).ok_or("its numbers are too long")?;
    Ok(Value::Scalar(Expr::Number(number)))
}

/// A sign between two sides of a relation, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the usual ones")]
pub enum Sign {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
    Approximately,
}

/// The relation `first sign side sign side …`; only a value where that is all that counts: "2 + 3 = 5"
/// is 5, "x = {1, 2}" and "x ∈ {1, 2}" are {1, 2}, "√2 ≈ 1.414" is √2.
pub fn relation(first: Value, mut rest: Vec<(Sign, Value)>) -> Reading<Value> {
    if let Some(at) = rest.iter().position(|(sign, _)| *sign == Sign::Approximately) {
        if at == 0 && first.is_name() {
            rest[0].0 = Sign::Equal;
        } else {
            rest.truncate(at);
        }
    }
    let equation = rest.iter().all(|(sign, _)| *sign == Sign::Equal);
    let Some((_, last)) = rest.last().cloned() else { return Ok(first) };
    if equation && first.is_name() {
        return Ok(equals(first, last));
    }
    if equation && first.is_constant() && last.is_name() {
        return Ok(equals(last, first));
    }
    if equation && first.is_constant() && last.is_constant() {
        return Ok(last);
    }
    let mut left = first.scalar()?;
    let mut conditions = Vec::new();
    for (sign, right) in rest {
        let right = right.scalar()?;
        conditions.push(condition(left, sign, right.clone()));
        left = right;
    }
    Ok(Value::Relation(conditions))
}

/// name = value; the value alone if it is no expression.
fn equals(name: Value, value: Value) -> Value {
    match (name, value) {
        (Value::Scalar(left), Value::Scalar(right)) => {
            Value::Relation(vec![Condition { left, order: Order::Equal, right }])
        }
        (_, value) => value,
    }
}

fn condition(left: Expr, sign: Sign, right: Expr) -> Condition {
    let (left, order, right) = match sign {
        Sign::Equal | Sign::Approximately => (left, Order::Equal, right),
        Sign::Unequal => (left, Order::Unequal, right),
        Sign::Less => (left, Order::Less, right),
        Sign::AtMost => (left, Order::AtMost, right),
        Sign::Greater => (right, Order::Less, left),
        Sign::AtLeast => (right, Order::AtMost, left),
    };
    Condition { left, order, right }
}
