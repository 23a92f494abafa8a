//! Targets: assignments of the target views, made sharper and, optionally, balanced over the prototypes.

use burn::tensor::{Tensor, activation};

/// Logarithms of the sharpened assignments of the target views.
///
/// similarity: cosines [B, K]. Sharpening with temperature T raises probabilities to 1/T and normalises (MSN,
/// section 3); of a softmax at `temperature` that is the softmax at `temperature * sharpen`.
pub fn sharpened_log_targets(similarity: Tensor<2>, temperature: f64, sharpen: f64) -> Tensor<2> {
    activation::log_softmax(similarity / (temperature * sharpen), 1)
}

/// Sinkhorn-Knopp balancing (Cuturi, 2013; used for assignments by Caron et al., 2020), in log space.
///
/// log_targets: [B, K] -> [B, K]. Each iteration gives every prototype the same total weight and then every image
/// the total weight 1, so rows are distributions at the end and columns nearly balanced.
pub fn sinkhorn(mut log_targets: Tensor<2>, iterations: usize) -> Tensor<2> {
    for _ in 0..iterations {
        log_targets = activation::log_softmax(log_targets, 0);
        log_targets = activation::log_softmax(log_targets, 1);
    }
    log_targets
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn sinkhorn_balances_the_prototypes_and_keeps_rows_distributions() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_data([[4.0, 0.0, 0.0], [3.0, 0.5, 0.0], [5.0, 0.0, 0.2]], &device);
        let before =
            activation::softmax(logits.clone(), 1).sum_dim(0).into_data().try_to_vec::<f32>().expect("f32");
        let balanced = sinkhorn(logits, 50).exp();
        let rows = balanced.clone().sum_dim(1).into_data().try_to_vec::<f32>().expect("f32");
        let columns = balanced.sum_dim(0).into_data().try_to_vec::<f32>().expect("f32");
        assert!(before[0] > 2.5, "the case is unbalanced at first: {before:?}");
        assert!(rows.iter().chain(&columns).all(|sum| (sum - 1.0).abs() < 1e-4), "{rows:?} {columns:?}");
    }

    #[test]
    fn extreme_similarities_stay_finite() {
        let device = Device::flex();
        let similarity = Tensor::<2>::from_data([[1.0, -1.0], [1.0, -1.0]], &device);
        let targets = sinkhorn(sharpened_log_targets(similarity, 1e-3, 1e-2), 3).exp();
        let targets = targets.into_data().try_to_vec::<f32>().expect("f32");
        assert!(targets.iter().all(|p| (p - 0.5).abs() < 1e-4), "{targets:?}");
    }
}
