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

/// e^x within a relative error of 5e-5 for x in [-87.33, 0], for results that are rounded to bf16, whose own error is
/// up to 2e-3; x below counts as the end, NaN stays NaN.
///
/// As [`exp`], with the series to r^4, whose remainder is below 1.06 r^5 / 5! < 4.5e-5.
#[inline(always)]
pub(crate) fn exp_coarse<S: Simd>(s: S, x: S::V) -> S::V {
    let x = s.max(s.splat(LOWEST), x);
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let r = s.mul_add(n, s.splat(-std::f32::consts::LN_2), x);
    let mut e = s.splat(1.0 / 24.0);
    for coefficient in [1.0 / 6.0, 0.5, 1.0, 1.0] {
        e = s.mul_add(e, r, s.splat(coefficient));
    }
    s.scale_by_power_of_two(e, n)
}

/// The standard normal distribution: (Phi(x), e^(-x^2 / 2)).
///
/// Phi by the rational approximation of erfc of Hastings (Abramowitz and Stegun, formula 7.1.26), whose
/// absolute error in Phi is below 7.5e-8, half of that of erfc: about one rounding of an `f32` near 1.
#[inline(always)]
fn normal<S: Simd>(s: S, x: S::V) -> (S::V, S::V) {
    // p / sqrt(2), with erfc's argument x / sqrt(2).
    const P: f32 = 0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2;
    const A: [f32; 5] = [0.254_829_6, -0.284_496_73, 1.421_413_7, -1.453_152, 1.061_405_4];
    let t = s.recip(s.mul_add(s.abs(x), s.splat(P), s.splat(1.0)));
    let density = exp(s, s.mul(s.mul(x, x), s.splat(-0.5)));
    let mut sum = s.splat(0.5 * A[4]);
    for a in A[..4].iter().rev() {
        sum = s.mul_add(sum, t, s.splat(0.5 * a));
    }
    let tail = s.mul(s.mul(sum, t), density);
    (s.select_negative(x, tail, s.sub(s.splat(1.0), tail)), density)
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
    /// 1 / sqrt(2 pi).
    const DENSITY_AT_0: f32 = 0.398_942_3;
    let (cumulative, density) = normal(s, x);
    (s.mul(x, cumulative), s.mul_add(s.mul(x, s.splat(DENSITY_AT_0)), density, cumulative))
}
