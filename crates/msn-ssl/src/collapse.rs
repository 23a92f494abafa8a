//! Signs of collapse: what tells a person that features have become useless while the loss still falls.

use nalgebra::DMatrix;
use serde::Serialize;

/// Below this share of its largest possible value, the entropy of the mean assignment counts as collapsed.
const LEAST_MEAN_ENTROPY: f64 = 0.25;
/// Below this effective rank, features count as collapsed.
const LEAST_RANK: f64 = 2.0;
/// Below this deviation of unit-length features, measured against 1/sqrt(D), they count as collapsed.
const LEAST_DEVIATION: f64 = 0.05;

/// Measurements of one batch that show whether training is collapsing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Collapse {
    /// Number of prototypes that are some target's most probable one.
    pub prototypes_used: usize,
    /// Entropy of the mean target, nats, [0, ln K].
    pub mean_entropy: f64,
    /// Mean over the targets of their largest probability, [1/K, 1].
    pub target_max: f64,
    /// RankMe of the target features, [1, min(B, D)].
    pub rank: f64,
    /// Deviation over the batch of the target features scaled to unit length, averaged over dimensions and
    /// multiplied by sqrt(D): 0 where all features agree, about 1 where they point everywhere.
    pub feature_std: f64,
}

impl Collapse {
    /// Measures a batch. targets: assignments [B, K]; features: [B, D]; both row-major.
    ///
    /// # Panics
    /// If a slice's length is not `batch` times a positive number.
    pub fn measure(batch: usize, targets: &[f32], features: &[f32]) -> Self {
        assert!(
            batch > 0 && !targets.is_empty() && targets.len().is_multiple_of(batch),
            "targets: [{batch}, K]"
        );
        let classes = targets.len() / batch;
        let mut used = vec![false; classes];
        let mut mean = vec![0.0; classes];
        let mut target_max = 0.0;
        for row in targets.chunks_exact(classes) {
            let (best, largest) = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).expect("K > 0");
            used[best] = true;
            target_max += f64::from(*largest) / batch as f64;
            mean.iter_mut().zip(row).for_each(|(mean, p)| *mean += f64::from(*p) / batch as f64);
        }
        Self {
            prototypes_used: used.into_iter().filter(|used| *used).count(),
            mean_entropy: entropy(&mean),
            target_max,
            rank: effective_rank(batch, features),
            feature_std: direction_deviation(batch, features),
        }
    }

    /// Why these measurements look like a collapse; `None` where they do not.
    ///
    /// `prototypes` is K, `batch` B: with few images or prototypes even healthy measurements are small.
    pub fn warning(&self, prototypes: usize, batch: usize) -> Option<String> {
        let possible = (prototypes.min(batch) as f64).ln();
        if self.feature_std < LEAST_DEVIATION {
            return Some(format!(
                "features hardly differ between images (deviation {:.3})",
                self.feature_std
            ));
        }
        if self.rank < LEAST_RANK && batch > 4 {
            return Some(format!("features have an effective rank of only {:.1}", self.rank));
        }
        if self.mean_entropy < LEAST_MEAN_ENTROPY * possible {
            let Self { prototypes_used: used, mean_entropy: entropy, .. } = self;
            return Some(format!(
                "targets use {used} of {prototypes} prototypes (mean entropy {entropy:.2} nats)"
            ));
        }
        None
    }
}

/// RankMe (Garrido et al., 2023): exp of the entropy of the normalised singular values of the feature matrix.
///
/// features: [B, D], row-major. Between 1 and min(B, D); 0 for features that are all zero, NaN for any that are
/// not finite.
///
/// # Panics
/// If the length is not `batch` times a positive number.
pub fn effective_rank(batch: usize, features: &[f32]) -> f64 {
    assert!(
        batch > 0 && !features.is_empty() && features.len().is_multiple_of(batch),
        "features: [{batch}, D]"
    );
    if features.iter().any(|x| !x.is_finite()) {
        return f64::NAN;
    }
    let features = features.iter().map(|x| f64::from(*x));
    let matrix = DMatrix::from_row_iterator(batch, features.len() / batch, features);
    let singular = matrix.singular_values();
    let total: f64 = singular.sum();
    if total == 0.0 {
        return 0.0;
    }
    let shares: Vec<f64> = singular.iter().map(|value| value / total).collect();
    entropy(&shares).exp()
}

/// -sum p ln p, nats.
fn entropy(probabilities: &[f64]) -> f64 {
    -probabilities.iter().filter(|p| **p > 0.0).map(|p| p * p.ln()).sum::<f64>()
}

fn direction_deviation(batch: usize, features: &[f32]) -> f64 {
    let dim = features.len() / batch;
    let (mut sum, mut square) = (vec![0.0; dim], vec![0.0; dim]);
    for row in features.chunks_exact(dim) {
        let norm = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
        for (index, x) in row.iter().enumerate() {
            let x = f64::from(*x) / norm;
            sum[index] += x / batch as f64;
            square[index] += x * x / batch as f64;
        }
    }
    let deviation = |(mean, square): (&f64, &f64)| (square - mean * mean).max(0.0).sqrt();
    sum.iter().zip(&square).map(deviation).sum::<f64>() / dim as f64 * (dim as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Orthogonal rows: a multiple of the identity.
    fn spread(batch: usize) -> Vec<f32> {
        (0..batch * batch).map(|i| if i / batch == i % batch { 3.0 } else { 0.0 }).collect()
    }

    #[test]
    fn orthogonal_features_have_full_rank_and_equal_ones_rank_one() {
        assert!((effective_rank(8, &spread(8)) - 8.0).abs() < 1e-9);
        assert!((effective_rank(8, &[0.5; 8 * 16]) - 1.0).abs() < 1e-6);
        assert_eq!(effective_rank(2, &[0.0; 4]), 0.0);
        assert!(effective_rank(2, &[f32::NAN, 0.0, 1.0, 1.0]).is_nan());
    }

    #[test]
    fn healthy_batches_raise_no_warning() {
        let measured = Collapse::measure(8, &spread(8).map_to_distributions(), &spread(8));
        assert_eq!(measured.prototypes_used, 8);
        assert!((measured.mean_entropy - 8f64.ln()).abs() < 1e-6 && measured.target_max > 0.99);
        assert_eq!(measured.warning(8, 8), None);
    }

    #[test]
    fn each_kind_of_collapse_is_named() {
        let one_prototype: Vec<f32> = (0..8 * 8).map(|i| if i % 8 == 2 { 1.0 } else { 0.0 }).collect();
        let warning = Collapse::measure(8, &one_prototype, &spread(8)).warning(8, 8).expect("collapsed");
        assert!(warning.contains("1 of 8 prototypes"), "{warning}");
        let same = Collapse::measure(8, &spread(8).map_to_distributions(), &[1.0; 64]);
        assert!(same.warning(8, 8).expect("collapsed").contains("hardly differ"));
        let line: Vec<f32> = (0..64).map(|i| if i / 8 % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let line = Collapse::measure(8, &spread(8).map_to_distributions(), &line);
        assert!(line.warning(8, 8).expect("collapsed").contains("effective rank"), "{line:?}");
    }

    trait Distributions {
        fn map_to_distributions(self) -> Vec<f32>;
    }
    impl Distributions for Vec<f32> {
        fn map_to_distributions(self) -> Vec<f32> {
            self.into_iter().map(|x| x / 3.0).collect()
        }
    }
}
