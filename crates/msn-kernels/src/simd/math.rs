//! Functions of vectors: the exponential, the normal distribution and GELU.

use super::Simd;

/// Below this, `exp` is not a normal `f32`.
const LOWEST: f32 = -87.33;
/// The largest argument whose power of two, rounded, is at most 127.
const HIGHEST: f32 = 88.3;
/// ln 2 in two parts. The first has 15 significant bits, so that its product with an integer of 8 bits
/// is exact.
const LN_2_HIGH: f32 = 0.693_145_75;
const LN_2_LOW: f32 = 1.428_606_8e-6;

/// e^x within 2 units in the last place for x in [-87.33, 88.3]; x outside counts as the nearest end
/// (so the result is never 0), NaN stays NaN.
///
/// x = n ln 2 + r with |r| <= ln 2 / 2; e^r by its Taylor series to r^7, whose remainder there is below
/// r^8 / 8! < 6e-9.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    let x = s.max(s.splat(LOWEST), s.min(s.splat(HIGHEST), x));
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let r = s.mul_add(n, s.splat(-LN_2_HIGH), x);
    let r = s.mul_add(n, s.splat(-LN_2_LOW), r);
    let mut e = s.splat(1.0 / 5040.0);
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        e = s.mul_add(e, r, s.splat(coefficient));
    }
    s.scale_by_power_of_two(e, n)
}

/// 2^x within a relative error of 3e-6 for x in [-126, 127], for results that are rounded to bf16, whose own error is up to
/// 2e-3; x below counts as the end, NaN stays NaN.
///
/// x = n + r with |r| <= 1/2; 2^r by the polynomial of degree 4 with the least largest relative error.
#[inline(always)]
pub(crate) fn exp2_coarse<S: Simd>(s: S, x: S::V) -> S::V {
    /// The constant first.
    const COEFFICIENTS: [f32; 5] = [0.999_999_3, 0.693_121_8, 0.240_247_44, 0.055_917_86, 0.009_570_101];
    let x = s.max(s.splat(-126.0), x);
    let n = s.round(x);
    let r = s.sub(x, n);
    let mut e = s.splat(COEFFICIENTS[4]);
    for coefficient in COEFFICIENTS[..4].iter().rev() {
        e = s.mul_add(e, r, s.splat(*coefficient));
    }
    s.scale_by_power_of_two(e, n)
}

/// e^x within a relative error of 3e-6 and 1e-7 for each unit of x, for x in [-87.33, 88]: see [`exp2_coarse`].
#[inline(always)]
pub(crate) fn exp_coarse<S: Simd>(s: S, x: S::V) -> S::V {
    exp2_coarse(s, s.mul(x, s.splat(std::f32::consts::LOG2_E)))
}

/// The standard normal distribution: (Phi(x), e^(-x^2 / 2)).
///
/// Phi by the rational approximation of erfc of Hastings (Abramowitz and Stegun, formula 7.1.26), whose
/// absolute error in Phi is below 7.5e-8, half of that of erfc: about one rounding of an `f32` near 1.
#[inline(always)]
fn normal<S: Simd>(s: S, x: S::V) -> (S::V, S::V) {
    const P: f32 = 0.327_591_1;
    const A: [f32; 5] = [0.254_829_6, -0.284_496_73, 1.421_413_7, -1.453_152, 1.061_405_4];
    let density = exp(s, half_square(s, x));
    (cumulative(s, x, density, P, &A), density)
}

/// [`normal`] within 1.3e-5 and a relative error of 2e-5, for results that are rounded to bf16.
///
/// By the shorter of Hastings' approximations (formula 7.1.25), whose error in Phi is below 1.25e-5.
#[inline(always)]
fn normal_coarse<S: Simd>(s: S, x: S::V) -> (S::V, S::V) {
    const P: f32 = 0.470_47;
    const A: [f32; 3] = [0.348_024_2, -0.095_879_8, 0.747_855_6];
    let density = exp_coarse(s, half_square(s, x));
    (cumulative(s, x, density, P, &A), density)
}

/// -x^2 / 2
#[inline(always)]
fn half_square<S: Simd>(s: S, x: S::V) -> S::V {
    s.mul(s.mul(x, x), s.splat(-0.5))
}

/// Phi(x) from `density`, e^(-x^2 / 2), with Hastings' coefficients for erfc.
#[inline(always)]
fn cumulative<S: Simd, const N: usize>(s: S, x: S::V, density: S::V, p: f32, a: &[f32; N]) -> S::V {
    // erfc's argument is |x| / sqrt(2).
    let t = s.recip(s.mul_add(s.abs(x), s.splat(p * std::f32::consts::FRAC_1_SQRT_2), s.splat(1.0)));
    let mut sum = s.splat(0.5 * a[N - 1]);
    for a in a[..N - 1].iter().rev() {
        sum = s.mul_add(sum, t, s.splat(0.5 * a));
    }
    let tail = s.mul(s.mul(sum, t), density);
    s.select_negative(x, tail, s.sub(s.splat(1.0), tail))
}

/// GELU(x) = x Phi(x).
#[inline(always)]
pub(crate) fn gelu<S: Simd>(s: S, x: S::V) -> S::V {
    s.mul(x, normal(s, x).0)
}

/// d GELU / dx = Phi(x) + x phi(x), with phi the standard normal density.
#[inline(always)]
pub(crate) fn gelu_grad<S: Simd>(s: S, x: S::V) -> S::V {
    gelu_and_grad(s, x).1
}

/// [`gelu`] and [`gelu_grad`] for little more than the price of one.
#[inline(always)]
pub(crate) fn gelu_and_grad<S: Simd>(s: S, x: S::V) -> (S::V, S::V) {
    value_and_slope(s, x, normal(s, x))
}

/// [`gelu_and_grad`] within 1.3e-5 of |x| and 2e-5, for results that are rounded to bf16.
#[inline(always)]
pub(crate) fn gelu_and_grad_coarse<S: Simd>(s: S, x: S::V) -> (S::V, S::V) {
    value_and_slope(s, x, normal_coarse(s, x))
}

#[inline(always)]
fn value_and_slope<S: Simd>(s: S, x: S::V, (cumulative, density): (S::V, S::V)) -> (S::V, S::V) {
    /// 1 / sqrt(2 pi).
    const DENSITY_AT_0: f32 = 0.398_942_3;
    (s.mul(x, cumulative), s.mul_add(s.mul(x, s.splat(DENSITY_AT_0)), density, cumulative))
}

/// [`gelu`] within 1.2e-5, for results that are rounded to bf16, whose own error is up to 2e-3 of them.
///
/// By a polynomial, half the work of [`normal`]: `(Phi(x) - 1/2) / x` is even, and for |x| up to `TAIL` a polynomial in
/// `t = 2 (x / TAIL)^2 - 1`, in which no digits cancel. It is fitted for the least largest error of GELU, under the
/// condition that Phi reaches 0 and 1 at the ends.
#[inline(always)]
pub(crate) fn gelu_coarse<S: Simd>(s: S, x: S::V) -> S::V {
    /// Where Phi is taken for 0 or 1.
    const TAIL: f32 = 4.6;
    /// The constant first.
    const COEFFICIENTS: [f32; 10] = [
        0.153_543_44,
        -0.075_755_77,
        0.054_136_88,
        -0.040_615_34,
        0.029_527_988,
        -0.019_019_226,
        0.010_949_147,
        -0.007_849_609,
        0.005_619_315,
        -0.001_841_174_9,
    ];
    let raised = s.max(s.splat(-TAIL), x);
    let x = s.min(s.splat(TAIL), raised);
    let t = s.mul_add(s.mul(x, s.splat(2.0 / (TAIL * TAIL))), x, s.splat(-1.0));
    let mut sum = s.splat(COEFFICIENTS[9]);
    for coefficient in COEFFICIENTS[..9].iter().rev() {
        sum = s.mul_add(sum, t, s.splat(*coefficient));
    }
    s.mul(raised, s.mul_add(sum, x, s.splat(0.5)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;
    use crate::gelu::plain;
    use crate::simd::{self, Task, for_vectors};

    /// The functions whose errors are stated above: exp, exp_coarse, gelu, its slope; both coarse with the slope, gelu
    /// coarse alone.
    const FUNCTIONS: usize = 7;

    struct All<'a>(&'a [f32], &'a mut [Vec<f32>; FUNCTIONS]);

    impl Task for All<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            for_vectors(
                s,
                self.0.len(),
                #[inline(always)]
                |range| {
                    let x = s.load(&self.0[range.clone()]);
                    let (exact, coarse) = (gelu_and_grad(s, x), gelu_and_grad_coarse(s, x));
                    let found = [
                        exp(s, x),
                        exp_coarse(s, s.min(s.splat(88.0), x)),
                        exact.0,
                        exact.1,
                        coarse.0,
                        coarse.1,
                        gelu_coarse(s, x),
                    ];
                    for (found, out) in found.into_iter().zip(&mut *self.1) {
                        s.store(found, &mut out[range.clone()]);
                    }
                },
            );
        }
    }

    fn all(isa: Isa, x: &[f32]) -> [Vec<f32>; FUNCTIONS] {
        let mut found = std::array::from_fn(|_| vec![f32::NAN; x.len()]);
        simd::run(isa, All(x, &mut found));
        found
    }

    #[test]
    fn errors_are_as_stated() {
        let count = if cfg!(miri) { 200 } else { 40_000 };
        let x: Vec<f32> = (0..=count).map(|i| 24.0 * i as f32 / count as f32 - 12.0).collect();
        for isa in Isa::supported().filter(|isa| *isa != Isa::Plain) {
            let found = all(isa, &x);
            for (i, &x) in x.iter().enumerate() {
                let [exp, exp_coarse, gelu, slope, gelu_coarse, slope_coarse, gelu_polynomial] =
                    std::array::from_fn(|function| f64::from(found[function][i]));
                let wide = f64::from(x);
                let (value, derivative) = (f64::from(plain::gelu(x)), f64::from(plain::gelu_grad(x)));
                let close = |what: &str, found: f64, expected: f64, error: f64| {
                    let off = (found - expected).abs();
                    assert!(
                        off <= error,
                        "{isa:?}: {what}({x}) is {found}, expected {expected}: off by {off:e}"
                    );
                };
                close("exp", exp, wide.exp(), 2.5e-7 * wide.exp());
                close("exp_coarse", exp_coarse, wide.exp(), (3e-6 + 1e-7 * wide.abs()) * wide.exp());
                close("gelu", gelu, value, 1e-7 + 2.5e-7 * wide.abs());
                close("gelu'", slope, derivative, 1e-6);
                close("gelu of both coarse", gelu_coarse, value, 1e-7 + 1.3e-5 * wide.abs());
                close("gelu' coarse", slope_coarse, derivative, 2e-5);
                close("gelu coarse", gelu_polynomial, value, 1.2e-5 + 2.5e-7 * wide.abs());
            }
        }
    }

    #[test]
    fn gelu_is_exact_far_out_and_keeps_nan() {
        for isa in Isa::supported().filter(|isa| *isa != Isa::Plain) {
            let found = all(isa, &[1e30, -1e30, f32::NAN]);
            for (function, found) in found.iter().enumerate().skip(2) {
                let [right, left, nan] = found[..] else { unreachable!("three arguments") };
                let (far_right, far_left) = if [3, 5].contains(&function) { (1.0, 0.0) } else { (1e30, 0.0) };
                assert!((right / far_right - 1.0).abs() < 1e-6, "{isa:?}: function {function} gives {right}");
                assert!((left - far_left).abs() < 1e-6, "{isa:?}: function {function} gives {left}");
                assert!(nan.is_nan(), "{isa:?}: function {function} gives {nan} for NaN");
            }
        }
    }
}
