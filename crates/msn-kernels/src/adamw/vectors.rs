//! AdamW on vectors.

use super::Coefficients;
use crate::simd::{Simd, Task};

pub(super) struct Update<'a> {
    pub(super) coefficients: Coefficients<f32>,
    pub(super) parameters: &'a mut [f32],
    pub(super) gradients: &'a [f32],
    pub(super) m: &'a mut [f32],
    pub(super) v: &'a mut [f32],
    /// The share of the parameters (1 - momentum) and the moving average.
    pub(super) ema: Option<(f32, &'a mut [f32])>,
}

impl Task for Update<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let c = self.coefficients.map(|x| s.splat(x));
        let n = self.parameters.len();
        for at in (0..n).step_by(S::LANES) {
            let range = at..n.min(at + S::LANES);
            let parameters = &mut self.parameters[range.clone()];
            let (m, v) = (&mut self.m[range.clone()], &mut self.v[range.clone()]);
            let gradient = s.mul(c.grad_scale, s.load(&self.gradients[range.clone()]));
            let mean = s.mul_add(c.one_minus_beta1, gradient, s.mul(c.beta1, s.load(m)));
            let kept = s.mul(c.beta2, s.load(v));
            let square = s.mul_add(s.mul(c.one_minus_beta2, gradient), gradient, kept);
            let denominator = s.mul_add(s.sqrt(square), c.inverse_root_correction, c.eps);
            let step = s.div(s.mul(c.step_size, mean), denominator);
            let parameter = s.sub(s.mul(c.keep, s.load(parameters)), step);
            s.store(mean, m);
            s.store(square, v);
            s.store(parameter, parameters);
            if let Some((share, average)) = &mut self.ema {
                let average = &mut average[range];
                // average + share (p - average) stays put where both are equal.
                let difference = s.sub(parameter, s.load(average));
                s.store(s.mul_add(s.splat(*share), difference, s.load(average)), average);
            }
        }
    }
}

pub(super) struct SumOfSquares<'a> {
    pub(super) x: &'a [f32],
    /// Elements that are summed in `f32`.
    pub(super) block: usize,
}

impl Task for SumOfSquares<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let block = |x: &[f32]| {
            let mut sum = s.splat(0.0);
            for x in x.chunks(S::LANES) {
                let v = s.load(x);
                sum = s.mul_add(v, v, sum);
            }
            f64::from(s.sum(sum))
        };
        self.x.chunks(self.block).map(block).sum()
    }
}
