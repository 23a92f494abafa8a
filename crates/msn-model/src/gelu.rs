//! The exact GELU, forward and backward, on any device.

use std::f64::consts::FRAC_1_SQRT_2;

use burn::tensor::{Device, Tensor, activation};

/// `x (1 + erf(x / sqrt(2))) / 2` (Hendrycks and Gimpel, 2016). Any shape, kept.
///
/// Burn's `gelu` is that too, but its derivative is the tanh approximation's, up to 9e-4 off, on every backend without one
/// of its own. The CPU's has one, and does either in one pass.
pub(crate) fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if x.device() == Device::flex() { activation::gelu(x) } else { by_erf(x) }
}

fn by_erf<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let twice_the_share = x.clone().mul_scalar(FRAC_1_SQRT_2).erf().add_scalar(1.0);
    x.mul_scalar(0.5) * twice_the_share
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    /// Values of a few units and their derivatives: f32 rounds both at 6e-8 a unit.
    const TOLERANCE: f64 = 1e-6;

    #[test]
    fn the_derivative_is_that_of_the_exact_function() {
        let x: Vec<f32> = (-40..=40).map(|i| i as f32 / 8.0).collect();
        let outputs = [gelu, by_erf].map(|function: fn(Tensor<1>) -> Tensor<1>| {
            let data = TensorData::new(x.clone(), [x.len()]);
            let x = Tensor::<1>::from_data(data, &Device::flex().autodiff()).require_grad();
            let y = function(x.clone());
            let slope = x.grad(&y.clone().sum().backward()).expect("tracked");
            [y.into_data(), slope.into_data()].map(|data| data.try_to_vec::<f32>().expect("f32"))
        });
        for (i, x) in x.into_iter().map(f64::from).enumerate() {
            let share = 0.5 * libm::erfc(-x * FRAC_1_SQRT_2);
            let density = (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
            for [y, slope] in &outputs {
                assert!((f64::from(y[i]) - x * share).abs() < TOLERANCE, "gelu({x}) is {}", y[i]);
                let expected = share + x * density;
                assert!((f64::from(slope[i]) - expected).abs() < TOLERANCE, "gelu'({x}) is {}", slope[i]);
            }
        }
    }
}
