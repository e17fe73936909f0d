//! Expressions as numbers: f64 evaluation at fixed pseudo-random points with an estimate of the
//! rounding error, and the equality test based on it.

use num_complex::Complex64;
use num_rational::BigRational;
use num_traits::{ToPrimitive, Zero};

use super::expr::{Constant, Expr, Function};
use crate::random::{threefry4x32, unit_f32};

/// Points at which expressions with variables are compared, and how many of them must be conclusive.
const POINTS: u32 = 12;
const MIN_TELLING: u32 = 4;
/// Relative differences up to this count as none, whatever the estimated rounding error.
const TOLERANCE: f64 = 1e-11;
/// Differences up to this many times the estimated rounding error count as none: the estimate is only
/// first-order.
const SLACK: f64 = 64.0;
/// If both values are 0 but with an error up to this, they underflowed: the point is inconclusive.
const LOST: f64 = 1e-290;

/// How to take an odd root of a negative number. Each convention satisfies identities that the other
/// breaks.
#[derive(Clone, Copy, PartialEq)]
enum Roots {
    /// The principal, complex one: x^(1/3) x^(1/6) = √x everywhere.
    Principal,
    /// The real one: ∛(−x) = −∛x everywhere.
    Real,
}

/// A value and how far rounding may have moved it.
#[derive(Clone, Copy)]
struct Approx {
    value: Complex64,
    error: f64,
}

impl Approx {
    /// A value as exact as f64 can be, or one computed from inputs that are `error` off.
    fn new(value: Complex64, error: f64) -> Self {
        let error = error + f64::EPSILON * value.norm();
        // Rounding noise must not decide on which side of a branch cut a real number lies; nor must −0.
        let real = value.im == 0.0 || value.im.abs() <= error;
        Self { value: if real { value.re.into() } else { value }, error }
    }

    /// A value that isn't 0, even if it is too small for f64.
    fn nonzero(value: Complex64, error: f64) -> Self {
        let lost = if value.norm() == 0.0 { f64::MIN_POSITIVE } else { 0.0 };
        Self::new(value, error + lost)
    }

    fn is_zero(self) -> bool {
        self.value.norm() == 0.0
    }

    fn map(self, f: impl Fn(Complex64) -> Complex64) -> Self {
        let value = f(self.value);
        // A step of the size of the error shows how far the error carries.
        let moved = f(self.value + self.error) - value;
        Self::new(value, moved.norm())
    }
}

/// Whether two expressions have the same value, as far as that can be told.
pub fn agree(a: &Expr, b: &Expr) -> bool {
    [Roots::Principal, Roots::Real].into_iter().any(|roots| agree_under(a, b, roots))
}

fn agree_under(a: &Expr, b: &Expr, roots: Roots) -> bool {
    let constant = a.is_constant() && b.is_constant();
    let (points, needed) = if constant { (1, 1) } else { (POINTS, MIN_TELLING) };
    let mut telling = 0;
    for point in 0..points {
        let (x, y) = (evaluate(a, point, roots), evaluate(b, point, roots));
        let (size, error) = (x.value.norm().max(y.value.norm()), x.error + y.error);
        let lost = size == 0.0 && error > 0.0 && error < LOST;
        let tells = size.is_finite() && error <= TOLERANCE * size.max(1.0) && !lost;
        let gap = (x.value - y.value).norm();
        if tells && gap > TOLERANCE * size && gap > SLACK * error {
            return false;
        }
        telling += u32::from(tells);
    }
    telling >= needed
}

/// `a` divided by `b`, if that is the same non-zero real number at every conclusive point.
pub fn constant_ratio(a: &Expr, b: &Expr) -> Option<f64> {
    let ratios = (0..POINTS).filter_map(|point| {
        let (x, y) = (evaluate(a, point, Roots::Principal), evaluate(b, point, Roots::Principal));
        let tells = [x, y].iter().all(|v| v.error <= TOLERANCE * v.value.norm());
        // The `/` of complex numbers squares, which overflows.
        tells.then(|| x.value.fdiv(y.value))
    });
    let ratios: Vec<Complex64> = ratios.collect();
    let first = *ratios.first().filter(|r| r.re != 0.0 && r.is_finite())?;
    let real = first.im.abs() <= SLACK * TOLERANCE * first.re.abs();
    let same = |r: &Complex64| (r - first).norm() <= SLACK * TOLERANCE * first.norm();
    let enough = ratios.len() >= MIN_TELLING as usize;
    (real && enough && ratios.iter().all(same)).then_some(first.re)
}

/// The value of a constant, if it is real; infinite for ±∞.
pub fn real_value(expr: &Expr) -> Option<f64> {
    if let Some(sign) = expr.infinity() {
        return Some(sign * f64::INFINITY);
    }
    let known = expr.is_constant().then(|| evaluate(expr, 0, Roots::Real))?;
    let real = known.value.is_finite() && known.value.im == 0.0;
    (real && known.error <= TOLERANCE * known.value.norm().max(1.0)).then_some(known.value.re)
}

/// Whether two numbers from [`real_value`] are the same.
pub fn same(a: f64, b: f64) -> bool {
    let size = a.abs().max(b.abs());
    a == b || size.is_finite() && (a - b).abs() <= TOLERANCE * size
}

/// A variable's value at a point: real, of either sign, neither large nor small.
fn sample(name: &str, point: u32) -> f64 {
    // FNV-1a, since the same name must have the same value on both sides.
    let hash = |h: u64, byte: u8| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let name = name.bytes().fold(0xcbf2_9ce4_8422_2325, hash);
    let words = threefry4x32([name as u32, (name >> 32) as u32, 0, 0], [point, 0, 0, 0]);
    let magnitude = 0.5 + 2.0 * f64::from(unit_f32(words[0]));
    if words[1].is_multiple_of(2) { magnitude } else { -magnitude }
}

fn evaluate(expr: &Expr, point: u32, roots: Roots) -> Approx {
    let value = |expr: &Expr| evaluate(expr, point, roots);
    match expr {
        Expr::Number(n) if n.value.is_zero() => Approx::new(0.0.into(), 0.0),
        Expr::Number(n) => Approx::nonzero(n.value.to_f64().unwrap_or(f64::NAN).into(), 0.0),
        Expr::Constant(constant) => Approx::new(
            match constant {
                Constant::Pi => std::f64::consts::PI.into(),
                Constant::E => std::f64::consts::E.into(),
                Constant::I => Complex64::I,
                Constant::Infinity => f64::INFINITY.into(),
            },
            0.0,
        ),
        Expr::Variable(name) => Approx::new(sample(name, point).into(), 0.0),
        Expr::Sum(terms) => terms.iter().map(value).reduce(add).unwrap_or_else(nothing),
        Expr::Product(factors) => factors.iter().map(value).reduce(times).unwrap_or_else(nothing),
        Expr::Power(parts) => {
            let [base, exponent] = &**parts;
            let odd = exponent.number().filter(|_| roots == Roots::Real).map(|n| &n.value);
            to_power(value(base), value(exponent), odd)
        }
        Expr::Call(function, arguments) => {
            let arguments: Vec<Approx> = arguments.iter().map(value).collect();
            apply(*function, &arguments)
        }
    }
}

fn nothing() -> Approx {
    Approx::new(f64::NAN.into(), 0.0)
}

fn add(a: Approx, b: Approx) -> Approx {
    Approx::new(a.value + b.value, a.error + b.error)
}

fn times(a: Approx, b: Approx) -> Approx {
    let known = if a.is_zero() || b.is_zero() { Approx::new } else { Approx::nonzero };
    known(a.value * b.value, a.value.norm() * b.error + b.value.norm() * a.error)
}

/// a^b; `exponent` is given if odd roots of negative numbers should be real.
fn to_power(a: Approx, b: Approx, exponent: Option<&BigRational>) -> Approx {
    if a.is_zero() {
        let value = if b.value.re > 0.0 { 0.0 } else { f64::NAN };
        return Approx::new(value.into(), a.error.powf(b.value.re.clamp(0.0, 1.0)));
    }
    let negative = a.value.im == 0.0 && a.value.re < 0.0;
    let value = match exponent.filter(|e| negative && e.denom().bit(0)) {
        Some(exponent) => {
            let magnitude = (-a.value.re).powf(b.value.re);
            if exponent.numer().bit(0) { -magnitude } else { magnitude }.into()
        }
        // `powi` is exact in sign and phase, `powc` rounds.
        None if b.value.im == 0.0 && b.value.re.fract() == 0.0 && b.value.re.abs() < 1e6 => {
            let exponent = b.value.re as i32;
            match a.value {
                real if real.im == 0.0 => real.re.powi(exponent).into(),
                complex => complex.powi(exponent),
            }
        }
        None => a.value.powc(b.value),
    };
    let ln = a.value.ln().norm();
    let relative = b.value.norm() * a.error / a.value.norm()
        + ln * b.error
        + f64::EPSILON * (1.0 + ln * b.value.norm());
    Approx::nonzero(value, value.norm() * relative)
}

fn apply(function: Function, arguments: &[Approx]) -> Approx {
    let [x, rest @ ..] = arguments else { return nothing() };
    let real =
        |f: fn(f64) -> f64| x.map(|z| if z.im == 0.0 { f(z.re).into() } else { f64::NAN.into() });
    let extreme = |f: fn(f64, f64) -> f64| {
        let all_real = arguments.iter().all(|a| a.value.im == 0.0);
        let value = arguments.iter().map(|a| a.value.re).reduce(f).filter(|_| all_real);
        Approx::new(value.unwrap_or(f64::NAN).into(), arguments.iter().map(|a| a.error).sum())
    };
    match function {
        Function::Sin => x.map(|z| z.sin()),
        Function::Cos => x.map(|z| z.cos()),
        Function::Tan => x.map(|z| z.tan()),
        Function::Arcsin => x.map(|z| z.asin()),
        Function::Arccos => x.map(|z| z.acos()),
        Function::Arctan => x.map(|z| z.atan()),
        Function::Sinh => x.map(|z| z.sinh()),
        Function::Cosh => x.map(|z| z.cosh()),
        Function::Tanh => x.map(|z| z.tanh()),
        Function::Arsinh => x.map(|z| z.asinh()),
        Function::Arcosh => x.map(|z| z.acosh()),
        Function::Artanh => x.map(|z| z.atanh()),
        Function::Ln => x.map(|z| z.ln()),
        Function::Abs => x.map(|z| z.norm().into()),
        Function::Floor => real(f64::floor),
        Function::Ceil => real(f64::ceil),
        Function::Factorial => real(|x| gamma(x + 1.0)),
        Function::Binomial => {
            let [k] = rest else { return nothing() };
            let factorial = |z: Approx| apply(Function::Factorial, &[z]);
            let minus = |a: Approx, b: Approx| Approx::new(a.value - b.value, a.error + b.error);
            let below = times(factorial(*k), factorial(minus(*x, *k)));
            times(factorial(*x), below.map(|z| z.finv()))
        }
        Function::Max => extreme(f64::max),
        Function::Min => extreme(f64::min),
    }
}

/// Γ(x) by Lanczos' approximation with g = 7 and nine terms (coefficients as in Numerical Recipes'
/// successors, computed by P. Godfrey); relative error near 1e-15.
fn gamma(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    use std::f64::consts::PI;
    if x < 0.5 {
        return PI / ((PI * x).sin() * gamma(1.0 - x));
    }
    let x = x - 1.0;
    let series = (1..).zip(COEFFICIENTS).map(|(i, c)| c / (x + f64::from(i)));
    let series = 0.999_999_999_999_809_9 + series.sum::<f64>();
    let t = x + 7.5;
    (2.0 * PI).sqrt() * t.powf(x + 0.5) * (-t).exp() * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gamma_at_known_values() {
        for (x, expected) in [
            (1.0, 1.0),
            (5.0, 24.0),
            (0.5, 1.772_453_850_905_516),
            (-0.5, -3.544_907_701_811_032),
            (18.0, 355_687_428_096_000.0),
        ] {
            assert!((gamma(x) / expected - 1.0).abs() < 1e-13, "{x}: {}", gamma(x));
        }
    }

    #[test]
    fn a_variable_differs_between_names_and_points_and_has_both_signs() {
        let values: Vec<f64> = (0..POINTS).map(|p| sample("x", p)).collect();
        assert!(values.iter().any(|&v| v < 0.0) && values.iter().any(|&v| v > 0.0));
        assert!(values.windows(2).all(|w| w[0] != w[1]));
        assert_ne!(sample("x", 0), sample("y", 0));
        assert_eq!(sample("x", 3), sample("x", 3));
    }

    #[test]
    fn rounding_noise_is_estimated() {
        let x = || Expr::Variable("x".into());
        let int = Expr::integer;
        let huge = Expr::Power(Box::new([int(10), int(20)]));
        let minus_huge = Expr::Product(vec![int(-1), huge.clone()]);
        // 10^20 + x − 10^20 is lost in noise: it then equals nothing, rather than everything.
        let lost = Expr::Sum(vec![huge, x(), minus_huge]);
        assert!(!agree(&lost, &x()) && !agree(&lost, &int(5)));
    }
}
