use burn::tensor::Tensor;

/// A row that has a largest element of 1 is no shorter than that: only rows of zeros are, which stay zero by it.
const SMALLEST_NORM: f64 = 1e-12;

/// Cosine of the angle between every row of `x` and every row of `y`: [A, D], [B, D] -> [A, B].
///
/// A zero row has similarity 0 with everything. Rows are scaled by their largest element first, so that neither
/// 1e-30 nor 1e30 under- or overflows in its square.
pub fn cosine_similarity(x: Tensor<2>, y: Tensor<2>) -> Tensor<2> {
    normalise(x).matmul(normalise(y).transpose())
}

/// Rows of unit length. The scaling by the largest element needs no gradient: the result does not depend on it.
fn normalise(x: Tensor<2>) -> Tensor<2> {
    let largest = x.clone().detach().abs().max_dim(1);
    let zero_row = largest.clone().equal_elem(0.0);
    let x = x / largest.mask_fill(zero_row, 1.0);
    let square = x.clone().powi_scalar(2).sum_dim(1);
    x / square.clamp_min(SMALLEST_NORM * SMALLEST_NORM).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn lengths_do_not_matter_however_extreme() {
        let device = Device::flex().autodiff();
        for scale in [1e-30f32, 1.0, 1e30] {
            let x = Tensor::<2>::from_data([[3.0 * scale, 4.0 * scale]], &device).require_grad();
            let y = Tensor::<2>::from_data([[1.0, 0.0], [0.0, -2.0]], &device);
            let cosine = cosine_similarity(x.clone(), y);
            let found = cosine.clone().into_data().try_to_vec::<f32>().expect("f32");
            assert!((found[0] - 0.6).abs() < 1e-6 && (found[1] + 0.8).abs() < 1e-6, "{scale}: {found:?}");
            let gradient = x.grad(&cosine.sum().backward()).expect("tracked");
            assert!(gradient.into_data().try_to_vec::<f32>().expect("f32").iter().all(|g| !g.is_nan()));
        }
    }

    #[test]
    fn a_zero_row_has_no_direction_and_a_finite_gradient() {
        let device = Device::flex().autodiff();
        let x = Tensor::<2>::zeros([1, 3], &device).require_grad();
        let cosine = cosine_similarity(x.clone(), Tensor::ones([2, 3], &device));
        assert_eq!(cosine.clone().into_data().try_to_vec::<f32>().expect("f32"), [0.0, 0.0]);
        let gradient = x.grad(&cosine.sum().backward()).expect("tracked");
        assert!(gradient.into_data().try_to_vec::<f32>().expect("f32").iter().all(|g| g.is_finite()));
    }
}
