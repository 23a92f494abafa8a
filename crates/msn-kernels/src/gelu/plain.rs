//! The readable twin, in `f64`.

/// Phi(x), the standard normal distribution.
fn cumulative(x: f64) -> f64 {
    0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

pub(crate) fn gelu(x: f32) -> f32 {
    let x = f64::from(x);
    (x * cumulative(x)) as f32
}

pub(crate) fn gelu_grad(x: f32) -> f32 {
    let x = f64::from(x);
    let density = (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
    (cumulative(x) + x * density) as f32
}
