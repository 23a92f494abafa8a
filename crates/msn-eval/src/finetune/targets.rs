//! What the classifier is to say of an image, and how far off it is.

use burn::tensor::{Tensor, activation};

/// Targets of images with these class numbers: `1 - smoothing` for the label and `smoothing` over all classes alike
/// (Szegedy et al., 2016): [B, classes], rows that sum to 1.
pub(super) fn soft_targets(labels: &[usize], classes: usize, smoothing: f64) -> Vec<f32> {
    let spread = smoothing / classes as f64;
    let mut targets = vec![spread as f32; labels.len() * classes];
    for (row, &label) in targets.chunks_mut(classes).zip(labels) {
        row[label] = (1.0 - smoothing + spread) as f32;
    }
    targets
}

/// `-sum_c t_c ln p_c`, the mean over the rows, where p is the softmax of the logits. logits, targets: [B, C] -> [1]
pub(super) fn cross_entropy(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let rows = logits.dims()[0] as f64;
    (targets * activation::log_softmax(logits, 1)).sum().div_scalar(-rows)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::finetune::classifier::host;

    #[test]
    fn smoothing_takes_its_share_from_the_label_and_gives_it_to_all() {
        let targets = soft_targets(&[1, 0], 4, 0.1);
        for (found, expected) in targets.iter().zip([0.025, 0.925, 0.025, 0.025, 0.925, 0.025, 0.025, 0.025])
        {
            assert!((found - expected).abs() < 1e-6, "{targets:?}");
        }
        assert_eq!(soft_targets(&[2], 3, 0.0), [0.0, 0.0, 1.0]);
    }

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
