//! Expressions as trees. The constructors fold everything rational, exactly and within bounds, so that
//! two rational answers are compared as two numbers; `numeric.rs` compares the rest.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Pow, Signed, ToPrimitive, Zero};

/// Why a text can't be read, in words that finish "the answer can't be read: ".
pub type Reading<T> = std::result::Result<T, &'static str>;

/// Most bits of an exact number's numerator and denominator, about 2,400 digits. A larger power or
/// factorial stays a tree: no answer can make us compute 10^(10^9).
const MAX_BITS: u64 = 8_192;
const MAX_FACTORIAL: u32 = 500;
const MAX_ROOT: u32 = 64;

/// A rational number, and how it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Number {
    /// Its exact value; 1/2 for 50%.
    pub value: BigRational,
    /// Whether it was computed from a number with a decimal point, and so may be rounded.
    pub decimal: bool,
    /// Whether it is a percentage.
    pub percent: bool,
}

impl Number {
    /// The number; `None` if it is too large to be kept exactly.
    pub fn new(value: BigRational, decimal: bool) -> Option<Self> {
        (bits(&value) <= MAX_BITS).then_some(Self { value, decimal, percent: false })
    }

    /// A whole number.
    pub fn integer(value: i64) -> Self {
        Self { value: BigInt::from(value).into(), decimal: false, percent: false }
    }

    /// Its value, if that is a small whole number.
    pub fn small_integer(&self) -> Option<i64> {
        self.value.is_integer().then(|| self.value.numer().to_i64())?
    }
}

fn bits(value: &BigRational) -> u64 {
    value.numer().bits() + value.denom().bits()
}

/// A number with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Constant {
    /// π.
    Pi,
    /// Euler's e.
    E,
    /// The imaginary unit.
    I,
    /// +∞.
    Infinity,
}

/// A function that stays in the tree. Roots, exponentials and quotients are written as powers; other
/// logarithms and inverse functions in terms of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the usual ones")]
pub enum Function {
    Sin,
    Cos,
    Tan,
    Arcsin,
    Arccos,
    Arctan,
    Sinh,
    Cosh,
    Tanh,
    Arsinh,
    Arcosh,
    Artanh,
    Ln,
    Abs,
    Floor,
    Ceil,
    Factorial,
    Binomial,
    Max,
    Min,
}

/// An expression. Sums and products are flat lists, so that a long one isn't a deep one.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// A rational number.
    Number(Number),
    /// π, e, i or ∞.
    Constant(Constant),
    /// A variable, or a word: `\text{blue}` is the variable "blue".
    Variable(String),
    /// The sum of two or more terms.
    Sum(Vec<Expr>),
    /// The product of two or more factors.
    Product(Vec<Expr>),
    /// Base and exponent.
    Power(Box<[Expr; 2]>),
    /// A function of its arguments.
    Call(Function, Vec<Expr>),
}

impl Expr {
    /// A whole number.
    pub fn integer(value: i64) -> Self {
        Self::Number(Number::integer(value))
    }

    /// The number, if the expression is one.
    pub fn number(&self) -> Option<&Number> {
        match self {
            Self::Number(number) => Some(number),
            _ => None,
        }
    }

    /// Whether no variable occurs.
    pub fn is_constant(&self) -> bool {
        match self {
            Self::Number(_) | Self::Constant(_) => true,
            Self::Variable(_) => false,
            Self::Sum(parts) | Self::Product(parts) | Self::Call(_, parts) => {
                parts.iter().all(Self::is_constant)
            }
            Self::Power(parts) => parts.iter().all(Self::is_constant),
        }
    }

    /// Whether the left side of `… = 5` names the value (x, f(2), AB, |x|) rather than being an
    /// equation to solve (2x, x/2, x + 1): no term and no coefficient is a number.
    pub fn is_name(&self) -> bool {
        let is_argument = |e: &Self| match e {
            Self::Number(number) => number.value.is_integer(),
            e => e.is_name() || e.is_constant(),
        };
        match self {
            Self::Number(_) | Self::Constant(_) => false,
            Self::Variable(_) => true,
            Self::Sum(terms) => terms.iter().all(Self::is_name),
            Self::Product(factors) => factors[0].is_name() && factors.iter().all(is_argument),
            Self::Power(parts) => parts[0].is_name() && parts[1] == Self::integer(-1), // x/y
            Self::Call(..) => !self.is_constant(),
        }
    }

    /// 1 for +∞, −1 for −∞.
    pub fn infinity(&self) -> Option<f64> {
        match self {
            Self::Constant(Constant::Infinity) => Some(1.0),
            Self::Product(factors) => match factors.as_slice() {
                [Self::Number(n), Self::Constant(Constant::Infinity)] => n.value.signum().to_f64(),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Splits the numbers off `parts` and folds them into one by `fold`, as long as it stays small.
fn fold(
    parts: impl Iterator<Item = Expr>,
    neutral: i64,
    operation: fn(&BigRational, &BigRational) -> BigRational,
) -> (Number, Vec<Expr>) {
    let mut total = Number::integer(neutral);
    let mut rest = Vec::new();
    for part in parts {
        let folded = part.number().and_then(|n| {
            // Checked before computing: large numbers take time, and there may be many.
            let small = bits(&total.value) + bits(&n.value) <= MAX_BITS;
            let value = small.then(|| operation(&total.value, &n.value))?;
            Number::new(value, total.decimal || n.decimal)
        });
        match folded {
            Some(number) => total = number,
            None => rest.push(part),
        }
    }
    (total, rest)
}

/// The sum of `terms`.
pub fn sum(terms: Vec<Expr>) -> Expr {
    if terms.len() == 1 {
        return terms.into_iter().next().unwrap_or_else(|| Expr::integer(0));
    }
    let flat = terms.into_iter().flat_map(|term| match term {
        Expr::Sum(inner) => inner,
        term => vec![term],
    });
    let (total, mut rest) = fold(flat, 0, |a, b| a + b);
    if !total.value.is_zero() || rest.is_empty() {
        rest.push(Expr::Number(total));
    }
    if rest.len() == 1 { rest.remove(0) } else { Expr::Sum(rest) }
}

/// The product of `factors`.
pub fn product(factors: Vec<Expr>) -> Expr {
    if factors.len() == 1 {
        return factors.into_iter().next().unwrap_or_else(|| Expr::integer(1));
    }
    let mut flat = factors.into_iter().flat_map(|factor| match factor {
        Expr::Product(inner) => inner,
        factor => vec![factor],
    });
    let first = flat.next();
    let starts_with_number = first.as_ref().is_some_and(|f| f.number().is_some());
    let (total, mut rest) = fold(first.into_iter().chain(flat), 1, |a, b| a * b);
    if !total.value.is_one() || rest.is_empty() {
        // `is_name` tells 2x from f(2) by what comes first.
        let place = if starts_with_number { 0 } else { rest.len() };
        rest.insert(place, Expr::Number(total));
    }
    if rest.len() == 1 { rest.remove(0) } else { Expr::Product(rest) }
}

/// −`expr`.
pub fn negated(expr: Expr) -> Expr {
    product(vec![Expr::integer(-1), expr])
}

/// `a`/`b`.
pub fn quotient(a: Expr, b: Expr) -> Reading<Expr> {
    Ok(product(vec![a, power(b, Expr::integer(-1))?]))
}

/// The `degree`-th root.
pub fn root(radicand: Expr, degree: Expr) -> Reading<Expr> {
    power(radicand, quotient(Expr::integer(1), degree)?)
}

/// `base`^`exponent`.
pub fn power(base: Expr, exponent: Expr) -> Reading<Expr> {
    if let (Expr::Number(b), Expr::Number(e)) = (&base, &exponent) {
        if b.value.is_zero() && e.value.is_negative() {
            return Err("it divides by zero");
        }
        if let Some(value) = exact_power(&b.value, &e.value)
            && let Some(number) = Number::new(value, b.decimal || e.decimal)
        {
            return Ok(Expr::Number(number));
        }
    }
    if exponent == Expr::integer(1) {
        return Ok(base);
    }
    Ok(Expr::Power(Box::new([base, exponent])))
}

/// `base`^`exponent` if that is rational and small enough. An odd root of a negative number is the real
/// one.
fn exact_power(base: &BigRational, exponent: &BigRational) -> Option<BigRational> {
    let base = match exponent.denom().to_u32()? {
        1 => base.clone(),
        degree => exact_root(base, degree)?,
    };
    let exponent = exponent.numer().to_i32()?;
    let small = bits(&base) * u64::from(exponent.unsigned_abs()) <= MAX_BITS;
    small.then(|| Pow::pow(base, exponent))
}

fn exact_root(value: &BigRational, degree: u32) -> Option<BigRational> {
    if degree > MAX_ROOT || (value.is_negative() && degree.is_multiple_of(2)) {
        return None;
    }
    let root = |n: &BigInt| {
        let root = n.nth_root(degree);
        (Pow::pow(&root, degree) == *n).then_some(root)
    };
    Some(BigRational::new(root(value.numer())?, root(value.denom())?))
}

/// `function` of `arguments`, whose number is right.
pub fn call(function: Function, arguments: Vec<Expr>) -> Reading<Expr> {
    let numbers: Option<Vec<&Number>> = arguments.iter().map(Expr::number).collect();
    let exact = match (function, numbers.as_deref()) {
        (Function::Abs, Some([x])) => Some(x.value.abs()),
        (Function::Floor, Some([x])) => Some(x.value.floor()),
        (Function::Ceil, Some([x])) => Some(x.value.ceil()),
        (Function::Max, Some(all)) => all.iter().map(|x| x.value.clone()).max(),
        (Function::Min, Some(all)) => all.iter().map(|x| x.value.clone()).min(),
        (Function::Factorial, Some([x])) => match x.small_integer() {
            Some(..0) => return Err("it has the factorial of a negative number"),
            Some(n) => falling(n, n),
            None => None,
        },
        (Function::Binomial, Some([n, k])) => binomial(n.small_integer(), k.small_integer()),
        _ => None,
    };
    let decimal = numbers.is_some_and(|all| all.iter().any(|x| x.decimal))
        && !matches!(function, Function::Floor | Function::Ceil);
    let number = exact.and_then(|value| Number::new(value, decimal));
    Ok(number.map_or(Expr::Call(function, arguments), Expr::Number))
}

/// n(n − 1)…(n − k + 1).
fn falling(n: i64, k: i64) -> Option<BigRational> {
    let factors = 0..k.to_u32().filter(|&k| k <= MAX_FACTORIAL)?;
    Some(factors.fold(BigInt::one(), |product, i| product * (n - i64::from(i))).into())
}

fn binomial(n: Option<i64>, k: Option<i64>) -> Option<BigRational> {
    let (n, k) = (n.filter(|n| (0..=i64::from(u32::MAX)).contains(n))?, k.filter(|&k| k >= 0)?);
    let k = if k > n { k } else { k.min(n - k) };
    Some(falling(n, k)? / falling(k, k)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rational(numerator: i64, denominator: i64) -> Expr {
        quotient(Expr::integer(numerator), Expr::integer(denominator)).unwrap()
    }

    fn x() -> Expr {
        Expr::Variable("x".into())
    }

    #[test]
    fn what_is_rational_folds() {
        let int = Expr::integer;
        for (folded, expected) in [
            (sum(vec![rational(1, 3), rational(1, 6)]), rational(1, 2)),
            (product(vec![rational(2, 3), rational(3, 2)]), int(1)),
            (power(rational(2, 3), int(-3)).unwrap(), rational(27, 8)),
            (root(rational(4, 9), int(2)).unwrap(), rational(2, 3)),
            (root(int(-8), int(3)).unwrap(), int(-2)),
            (power(int(-8), rational(2, 3)).unwrap(), int(4)),
            (power(int(-1), int(-301)).unwrap(), int(-1)),
            (power(int(0), int(0)).unwrap(), int(1)),
            (power(int(0), int(5)).unwrap(), int(0)),
            (call(Function::Factorial, vec![int(10)]).unwrap(), int(3_628_800)),
            (call(Function::Binomial, vec![int(50), int(48)]).unwrap(), int(1225)),
            (call(Function::Binomial, vec![int(2), int(3)]).unwrap(), int(0)),
            (call(Function::Floor, vec![rational(-5, 2)]).unwrap(), int(-3)),
            (call(Function::Max, vec![int(1), rational(3, 2)]).unwrap(), rational(3, 2)),
            (sum(vec![x(), int(2), int(-2)]), x()),
            (product(vec![rational(1, 2), x(), int(2)]), x()),
        ] {
            assert_eq!(folded, expected);
        }
    }

    #[test]
    fn what_is_not_rational_or_too_large_stays_a_tree() {
        let int = Expr::integer;
        for expr in [
            root(int(2), int(2)).unwrap(),
            root(int(-4), int(2)).unwrap(),
            power(int(10), int(1_000_000_000)).unwrap(),
            power(int(10), power(int(10), int(100)).unwrap()).unwrap(),
            power(int(10), int(2_500)).unwrap(),
            call(Function::Factorial, vec![int(501)]).unwrap(),
            call(Function::Factorial, vec![rational(1, 2)]).unwrap(),
            call(Function::Binomial, vec![int(-2), int(3)]).unwrap(),
            call(Function::Binomial, vec![int(i64::MAX), int(3)]).unwrap(),
        ] {
            assert!(expr.number().is_none(), "{expr:?}");
        }
        let large = || power(int(10), int(1_200)).unwrap();
        assert!(large().number().is_some());
        assert!(product(vec![large(), large(), large()]).number().is_none());
    }

    #[test]
    fn undefined_values_are_errors() {
        assert!(quotient(x(), Expr::integer(0)).is_err());
        assert!(power(Expr::integer(0), rational(-1, 2)).is_err());
        assert!(call(Function::Factorial, vec![Expr::integer(-1)]).is_err());
    }

    #[test]
    fn names_are_told_from_equations() {
        let int = Expr::integer;
        for (expr, expected) in [
            (x(), true),
            (product(vec![x(), int(2)]), true), // x(2)
            (sum(vec![x(), Expr::Variable("y".into())]), true),
            (quotient(x(), x()).unwrap(), true),
            (power(x(), int(2)).unwrap(), false),
            (call(Function::Abs, vec![x()]).unwrap(), true),
            (product(vec![int(2), x()]), false),
            (product(vec![x(), rational(1, 2)]), false), // x/2
            (negated(x()), false),
            (sum(vec![x(), int(1)]), false),
            (int(2), false),
        ] {
            assert_eq!(expr.is_name(), expected, "{expr:?}");
        }
    }
}
