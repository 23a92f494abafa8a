//! The readable twin, in `f64`.

use super::{Coefficients, Ema};

pub(super) fn update(
    c: Coefficients<f64>,
    parameters: &mut [f32],
    gradients: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    ema: Option<Ema<'_>>,
) {
    for i in 0..parameters.len() {
        let gradient = c.grad_scale * f64::from(gradients[i]);
        let mean = c.beta1 * f64::from(m[i]) + c.one_minus_beta1 * gradient;
        let square = c.beta2 * f64::from(v[i]) + c.one_minus_beta2 * gradient * gradient;
        let denominator = square.sqrt() * c.inverse_root_correction + c.eps;
        let parameter = c.keep * f64::from(parameters[i]) - c.step_size * mean / denominator;
        m[i] = mean as f32;
        v[i] = square as f32;
        parameters[i] = parameter as f32;
    }
    if let Some(Ema { momentum, average }) = ema {
        for (average, parameter) in average.iter_mut().zip(parameters) {
            let kept = momentum * f64::from(*average);
            *average = (kept + (1.0 - momentum) * f64::from(*parameter)) as f32;
        }
    }
}
