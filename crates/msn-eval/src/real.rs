//! The two precisions of the solver.

use faer::traits::RealField;

/// `f32` while far from the optimum, `f64` to finish.
pub(crate) trait Real: RealField + Copy + PartialOrd + Send + Sync {
    /// Nearest value.
    fn narrow(x: f64) -> Self;
    /// Exact value.
    fn wide(self) -> f64;
    /// self + step * direction.
    fn stepped(self, step: Self, direction: Self) -> Self;
    /// e^(self - shift) for self <= shift.
    fn exp_below(self, shift: Self) -> Self;
}

impl Real for f32 {
    fn narrow(x: f64) -> Self {
        x as Self
    }
    fn wide(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn stepped(self, step: Self, direction: Self) -> Self {
        self + step * direction
    }
    #[inline(always)]
    fn exp_below(self, shift: Self) -> Self {
        exp(self - shift)
    }
}

impl Real for f64 {
    fn narrow(x: f64) -> Self {
        x
    }
    fn wide(self) -> f64 {
        self
    }
    #[inline(always)]
    fn stepped(self, step: Self, direction: Self) -> Self {
        self + step * direction
    }
    #[inline(always)]
    fn exp_below(self, shift: Self) -> Self {
        (self - shift).exp()
    }
}

/// e^x for x <= 0, within 2 units in the last place; 0 below -60 (9e-27), so that no probability is a subnormal
/// number: those make products ten times slower.
///
/// A loop over it becomes vector instructions, unlike one over the call of the C library: a pass over the logits
/// would take longer than a fifth of a product otherwise.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Added to a small number it leaves the nearest whole number in the low bits: 1.5 * 2^23.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts; products of the first with whole numbers below 2^9 are exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    // e^x = 2^n e^r with |r| <= ln 2 / 2, where seven terms of the series leave 5e-9.
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN_2[0] - n * LN_2[1];
    let series = [5040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0].map(f32::recip);
    let power = series.into_iter().fold(0.0, |sum, term| sum * r + term);
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    if x < -60.0 { 0.0 } else { power * f32::from_bits(exponent << 23) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        for i in 0..=600_000 {
            let x = -1e-4 * i as f32;
            let expected = f64::from(x).exp();
            assert!((f64::from(exp(x)) / expected - 1.0).abs() < 2.0 * f64::from(f32::EPSILON), "{x}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!((exp(-60.1), exp(-1e30)), (0.0, 0.0));
    }
}
