//! How far off the classifier is.

use burn::tensor::{Tensor, activation};

/// `-sum_c t_c ln p_c`, the mean over the rows, where p is the softmax of the logits. logits, targets: [B, C] -> [1]
pub(super) fn cross_entropy(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let rows = logits.dims()[0] as f64;
    (targets * activation::log_softmax(logits, 1)).sum().div_scalar(-rows)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use msn_model::host;

    use super::*;

    #[test]
    fn the_cross_entropy_is_the_one_by_hand() {
        let device = Device::flex();
        let tensor = |data: [f32; 4]| Tensor::<2>::from_data(TensorData::new(data.to_vec(), [2, 2]), &device);
        // Softmax of (ln 3, 0) is (3/4, 1/4), of (1, 1) it is (1/2, 1/2).
        let logits = tensor([3f32.ln(), 0.0, 1.0, 1.0]);
        let loss = host(cross_entropy(logits, tensor([0.8, 0.2, 0.0, 1.0])))[0];
        let expected = (-0.8 * 0.75f32.ln() - 0.2 * 0.25f32.ln() - 0.5f32.ln()) / 2.0;
        assert!((loss - expected).abs() < 1e-6, "{loss}, expected {expected}");
    }
}
