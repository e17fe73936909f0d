//! The arithmetic that the CPU kernels share.

use pulp::{Simd, WithSimd};
use srft::ops::vector::{LANES, dot, exp, wide};

struct ExpInPlace<'a>(&'a mut [f32]);

impl WithSimd for ExpInPlace<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.0.iter_mut().for_each(|y| *y = exp(*y));
    }
}

struct Norm<'a>(&'a [f32]);

impl WithSimd for Norm<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        dot(simd, self.0, self.0)
    }
}

#[test]
fn exp_is_within_two_units_in_the_last_place() {
    let xs: Vec<f32> = (0..2_000_000).map(|i| -87.3 + i as f32 * (175.6 / 2e6)).collect();
    let mut ys = xs.clone();
    wide(ExpInPlace(&mut ys));
    let worst = xs.iter().zip(&ys);
    let worst = worst.map(|(&x, &y)| (f64::from(y) / f64::from(x).exp() - 1.0).abs());
    let worst = worst.fold(0.0, f64::max);
    assert!(worst < 2.4e-7, "worst relative error {worst:e}");
    assert_eq!(exp(0.0), 1.0);
    assert!(exp(f32::NAN).is_nan());
    assert!(exp(f32::NEG_INFINITY) < 1.3e-38 && exp(f32::INFINITY) > 1e38);
}

#[test]
fn sums_take_tails() {
    for n in [0, 1, LANES - 1, LANES, LANES + 1, 67, 131] {
        let x: Vec<f32> = (0..n).map(|i| i as f32 - 7.0).collect();
        let expected: f32 = x.iter().map(|x| x * x).sum();
        assert_eq!(wide(Norm(&x)), expected, "{n} elements");
    }
}
