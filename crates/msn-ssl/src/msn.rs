//! The objective of Masked Siamese Networks (Assran et al., 2022, equation 1).

use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

use crate::{Error, check, cosine_similarity, sharpened_log_targets, sinkhorn};

/// Far more than any use of prototypes has.
const MAX_PROTOTYPES: usize = 1 << 20;

/// Section `[objective]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MsnConfig {
    /// Number of prototypes K; 2 to 1,048,576.
    pub prototypes: usize,
    /// Whether the prototypes stay as they are drawn.
    pub freeze_prototypes: bool,
    /// Temperature of the softmax over cosines, above 0.
    pub temperature: f64,
    /// Sharpening temperature of the targets at the first step, (0, 1].
    pub sharpen: f64,
    /// Sharpening temperature that a linear schedule moves to, (0, 1].
    pub sharpen_end: f64,
    /// Whether targets are balanced over the prototypes by Sinkhorn-Knopp.
    pub sinkhorn: bool,
    /// Iterations of the balancing; at least 1.
    pub sinkhorn_iterations: usize,
    /// Weight lambda of mean-entropy maximisation (me-max), at least 0.
    pub memax_weight: f64,
    /// Weight of the mean entropy of the single assignments, at least 0.
    pub entropy_weight: f64,
}

impl Default for MsnConfig {
    fn default() -> Self {
        Self {
            prototypes: 1024,
            freeze_prototypes: false,
            temperature: 0.1,
            sharpen: 0.25,
            sharpen_end: 0.25,
            sinkhorn: true,
            sinkhorn_iterations: 3,
            memax_weight: 1.0,
            entropy_weight: 0.0,
        }
    }
}

impl MsnConfig {
    /// Checks every field against its range.
    ///
    /// # Errors
    /// [`Error::Config`] for the first field that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let positive = |x: f64| x > 0.0 && x.is_finite();
        let weight = |x: f64| x >= 0.0 && x.is_finite();
        let sharpening = |x: f64| x > 0.0 && x <= 1.0;
        let prototypes = (2..=MAX_PROTOTYPES).contains(&self.prototypes);
        check(prototypes, "objective.prototypes", "2 to 1048576", self.prototypes)?;
        check(positive(self.temperature), "objective.temperature", "a number above 0", self.temperature)?;
        check(sharpening(self.sharpen), "objective.sharpen", "a number in (0, 1]", self.sharpen)?;
        check(sharpening(self.sharpen_end), "objective.sharpen_end", "a number in (0, 1]", self.sharpen_end)?;
        let iterations = self.sinkhorn_iterations;
        check(iterations >= 1, "objective.sinkhorn_iterations", "at least 1", iterations)?;
        check(
            weight(self.memax_weight),
            "objective.memax_weight",
            "a number of at least 0",
            self.memax_weight,
        )?;
        check(
            weight(self.entropy_weight),
            "objective.entropy_weight",
            "a number of at least 0",
            self.entropy_weight,
        )
    }
}

/// The loss of a step, its terms, and the assignments behind them.
#[derive(Debug)]
pub struct MsnLoss {
    /// `cross_entropy + memax_weight * memax + entropy_weight * entropy`, scalar.
    pub total: Tensor<1>,
    /// Mean cross-entropy between targets and the anchors' assignments, in nats, scalar.
    pub cross_entropy: Tensor<1>,
    /// ln K minus the entropy of the mean assignment of all anchors, in nats, scalar: 0 where all prototypes are
    /// used alike.
    pub memax: Tensor<1>,
    /// Mean entropy of the single assignments, in nats, scalar.
    pub entropy: Tensor<1>,
    /// Assignments of the anchor views: [M * B, K].
    pub assignments: Tensor<2>,
    /// Targets, outside the graph: [B, K].
    pub targets: Tensor<2>,
}

/// The MSN objective at sharpening temperature `sharpen`.
///
/// anchors: projections of M views of B images, view by view, [M * B, D]; targets: projections of the target views
/// by the momentum encoder, [B, D], through which no gradient flows; prototypes: [K, D].
///
/// H(p+, p) = -sum_k p+_k ln p_k averaged over anchors, plus lambda (ln K - H(mean p)), plus the weighted mean
/// entropy. Everything is computed from log-softmax, since ln p is -inf where p rounds to 0; the mean
/// assignment's logarithm is a log-sum-exp over the anchors.
///
/// # Panics
/// If the number of anchors is no multiple of the number of targets.
pub fn msn_loss(
    anchors: Tensor<2>,
    targets: Tensor<2>,
    prototypes: Tensor<2>,
    config: &MsnConfig,
    sharpen: f64,
) -> MsnLoss {
    let ([count, _], [batch, _], [classes, _]) = (anchors.dims(), targets.dims(), prototypes.dims());
    assert!(count > 0 && count.is_multiple_of(batch), "msn_loss: {count} anchors for {batch} targets");

    let similarity = cosine_similarity(targets.detach(), prototypes.clone().detach());
    let mut log_targets = sharpened_log_targets(similarity, config.temperature, sharpen);
    if config.sinkhorn {
        log_targets = sinkhorn(log_targets, config.sinkhorn_iterations);
    }
    let targets = log_targets.exp();

    let log_assignments =
        activation::log_softmax(cosine_similarity(anchors, prototypes) / config.temperature, 1);
    let cross_entropy =
        mean_row_sum(targets.clone().repeat_dim(0, count / batch) * log_assignments.clone()).neg();
    // A term without weight is reported alone: nothing of it is kept for a backward pass.
    let of_weight = |weight: f64| match weight {
        0.0 => log_assignments.clone().detach(),
        _ => log_assignments.clone(),
    };
    let single = of_weight(config.entropy_weight);
    let assignments = single.clone().exp();
    let entropy = mean_row_sum(assignments.clone() * single).neg();
    let log_mean = log_mean_exp(of_weight(config.memax_weight));
    let memax = (log_mean.clone().exp() * log_mean).sum() + (classes as f64).ln();
    let total = cross_entropy.clone()
        + memax.clone().mul_scalar(config.memax_weight)
        + entropy.clone().mul_scalar(config.entropy_weight);
    MsnLoss { total, cross_entropy, memax, entropy, assignments, targets }
}

/// Sum over the columns, mean over the rows: [N, K] -> [1]. In two steps, since the backend adds up millions of numbers in
/// an order that differs from call to call.
fn mean_row_sum(x: Tensor<2>) -> Tensor<1> {
    let [rows, _] = x.dims();
    x.sum_dim(1).sum() / rows as f64
}

/// ln of the mean over the rows of exp(x): [N, K] -> [1, K]
fn log_mean_exp(x: Tensor<2>) -> Tensor<2> {
    let [rows, _] = x.dims();
    let largest = x.clone().detach().max_dim(0);
    (x - largest.clone()).exp().sum_dim(0).log() + largest - (rows as f64).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    /// Three weights that tell the terms apart; temperature 1, no balancing.
    fn config() -> MsnConfig {
        MsnConfig {
            temperature: 1.0,
            sinkhorn: false,
            memax_weight: 3.0,
            entropy_weight: 2.0,
            ..MsnConfig::default()
        }
    }

    /// Loss, cross-entropy, me-max and entropy, where targets and prototypes are the unit vectors of the plane.
    fn terms(anchors: [[f32; 2]; 2]) -> [f32; 4] {
        let device = Device::flex();
        let unit = Tensor::<2>::from_data([[1.0, 0.0], [0.0, 1.0]], &device);
        let anchors = Tensor::<2>::from_data(anchors, &device);
        let MsnLoss { total, cross_entropy, memax, entropy, .. } =
            msn_loss(anchors, unit.clone(), unit, &config(), 0.5);
        [total, cross_entropy, memax, entropy]
            .map(|term| term.into_data().try_to_vec::<f32>().expect("f32")[0])
    }

    /// To the six digits that the values below have, of numbers around 1.
    fn assert_close(found: [f32; 4], expected: [f32; 4]) {
        let close = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 2e-6);
        assert!(close, "{found:?}, expected {expected:?}");
    }

    #[test]
    fn terms_of_anchors_on_their_prototypes_are_those_computed_by_hand() {
        // Assignments: softmax(1, 0) = (s, 1 - s) with s = 1 / (1 + 1/e) = 0.731059, and the other way round.
        // Targets: softmax(1, 0) at temperature 0.5, which is softmax(2, 0) = (t, 1 - t) with t = 0.880797.
        // Cross-entropy: -t ln s - (1 - t) ln(1 - s) = ln(1 + 1/e) + 1 - t = 0.313262 + 0.119203.
        // Me-max: the mean assignment is uniform. Entropy: ln(1 + 1/e) + 1 - s = 0.313262 + 0.268941.
        let (cross_entropy, memax, entropy) = (0.432465, 0.0, 0.582203);
        let found = terms([[1.0, 0.0], [0.0, 1.0]]);
        assert_close(found, [cross_entropy + 2.0 * entropy, cross_entropy, memax, entropy]);
    }

    #[test]
    fn terms_of_anchors_on_one_prototype_are_those_computed_by_hand() {
        // Both assignments are (s, 1 - s) of the test above. The second image's cross-entropy is
        // -(1 - t) ln s - t ln(1 - s) = ln(1 + 1/e) + t = 0.313262 + 0.880797; their mean ln(1 + 1/e) + 1/2.
        // Me-max: ln 2 minus the entropy of (s, 1 - s), 0.693147 - 0.582203.
        let (cross_entropy, memax, entropy) = (0.813262, 0.110944, 0.582203);
        let found = terms([[1.0, 0.0], [1.0, 0.0]]);
        assert_close(found, [cross_entropy + 3.0 * memax + 2.0 * entropy, cross_entropy, memax, entropy]);
    }
}
