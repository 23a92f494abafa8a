//! Signs of collapse: what tells a person that features have become useless while the loss still falls.

mod watch;

use nalgebra::DMatrix;
use serde::Serialize;

pub use watch::CollapseWatch;

/// Below this share of its largest possible value, the entropy of the mean assignment counts as collapsed.
const LEAST_MEAN_ENTROPY: f64 = 0.25;
/// Below this share of its largest possible value, the information in an assignment counts as none. Healthy runs had
/// 2 to 6% in their first hundred steps; where nothing was learned, it fell below 0.3%.
const LEAST_INFORMATION: f64 = 0.01;
/// Below this effective rank, features count as collapsed.
const LEAST_RANK: f64 = 2.0;
/// Below this deviation of unit-length features, measured against 1/sqrt(D), they count as collapsed.
const LEAST_DEVIATION: f64 = 0.05;

/// Measurements of one batch that show whether training is collapsing.
///
/// Prototypes in use, mean entropy and information are those of the anchors' assignments. The targets' would not do:
/// Sinkhorn balances them over the prototypes however little the features say.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Collapse {
    /// Number of prototypes that are some anchor's most probable one, [1, K].
    pub prototypes_used: usize,
    /// Entropy of the mean assignment of all anchors (the mean prediction), nats, [0, ln K].
    pub mean_entropy: f64,
    /// What an assignment tells about its view: entropy of the mean assignment minus mean entropy of the single
    /// ones, nats, [0, ln K]. 0 where all assignments are the same, be they certain or uniform.
    pub information: f64,
    /// Mean over the targets of their largest probability, [1/K, 1].
    pub target_max: f64,
    /// RankMe of the target features, [1, min(B, D)]; 0 if they are all zero.
    pub rank: f64,
    /// Deviation over the batch of the target features scaled to unit length, averaged over dimensions and
    /// multiplied by sqrt(D): 0 where all features agree, about 1 where they point everywhere.
    pub feature_std: f64,
}

/// A way in which training collapses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// All images have the same features.
    EqualFeatures,
    /// Features vary along one direction only.
    LowRank,
    /// All views are assigned to the same few prototypes.
    FewPrototypes,
    /// All views have the same assignment over many prototypes.
    SameAssignment,
}

impl Sign {
    /// What a new run can be given against it, or this one, where it may change the field.
    fn remedy(self) -> &'static str {
        match self {
            Self::EqualFeatures | Self::LowRank => {
                "against it: a lower optim.lr, a longer optim.warmup_epochs, stronger views (a smaller views.focal_scale, \
                 more views.color_jitter)"
            }
            Self::FewPrototypes => {
                "against it: a larger objective.memax_weight, objective.sinkhorn = true, fewer objective.prototypes"
            }
            Self::SameAssignment => {
                "against it: a lower objective.sharpen, not many more objective.prototypes than images in a batch, a larger \
                 encoder.init_std for a narrow encoder"
            }
        }
    }
}

impl Collapse {
    /// Measures a batch of B images. assignments: of the anchor views, [M * B, K]; targets: [B, K]; features: those
    /// of the target views, [B, D]; all row-major.
    ///
    /// # Panics
    /// If a slice has not the length that its shape says.
    pub fn measure(batch: usize, assignments: &[f32], targets: &[f32], features: &[f32]) -> Self {
        assert!(
            batch > 0 && !targets.is_empty() && targets.len().is_multiple_of(batch),
            "targets: [{batch}, K]"
        );
        let classes = targets.len() / batch;
        assert!(
            !assignments.is_empty() && assignments.len().is_multiple_of(targets.len()),
            "assignments: [M * {batch}, {classes}]"
        );
        let largest = |row: &[f32]| {
            let places = row.iter().copied().enumerate();
            places.max_by(|a, b| a.1.total_cmp(&b.1)).expect("K > 0")
        };
        let anchors = (assignments.len() / classes) as f64;
        let mut used = vec![false; classes];
        let mut mean = vec![0.0; classes];
        let mut single_entropy = 0.0;
        for row in assignments.chunks_exact(classes) {
            used[largest(row).0] = true;
            mean.iter_mut().zip(row).for_each(|(mean, p)| *mean += f64::from(*p) / anchors);
            single_entropy += entropy(row.iter().map(|p| f64::from(*p))) / anchors;
        }
        let mean_entropy = entropy(mean.iter().copied());
        let target_max = targets.chunks_exact(classes).map(|row| f64::from(largest(row).1)).sum::<f64>();
        Self {
            prototypes_used: used.into_iter().filter(|used| *used).count(),
            mean_entropy,
            // The two are equal up to rounding where all assignments are the same.
            information: (mean_entropy - single_entropy).max(0.0),
            target_max: target_max / batch as f64,
            rank: effective_rank(batch, features),
            feature_std: direction_deviation(batch, features),
        }
    }

    /// The way in which these measurements look like a collapse; `None` where they do not. Before anything is
    /// learned, they may look like one: see [`CollapseWatch`].
    ///
    /// `prototypes` is K, `batch` B: with few images or prototypes even healthy measurements are small.
    pub fn sign(&self, prototypes: usize, batch: usize) -> Option<Sign> {
        let possible = (prototypes.min(batch) as f64).ln();
        if self.feature_std < LEAST_DEVIATION {
            Some(Sign::EqualFeatures)
        } else if self.rank < LEAST_RANK && batch > 4 {
            Some(Sign::LowRank)
        } else if self.mean_entropy < LEAST_MEAN_ENTROPY * possible {
            Some(Sign::FewPrototypes)
        } else if self.information < LEAST_INFORMATION * possible {
            Some(Sign::SameAssignment)
        } else {
            None
        }
    }

    /// A sign in words and numbers.
    fn describe(&self, sign: Sign, prototypes: usize) -> String {
        let Self { prototypes_used: used, mean_entropy, information, rank, feature_std, .. } = self;
        match sign {
            Sign::EqualFeatures => {
                format!("features hardly differ between images (deviation {feature_std:.3})")
            }
            Sign::LowRank => format!("features have an effective rank of only {rank:.1}"),
            Sign::FewPrototypes => {
                format!(
                    "assignments use {used} of {prototypes} prototypes (mean entropy {mean_entropy:.2} nats)"
                )
            }
            Sign::SameAssignment => format!(
                "all images have nearly the same assignment ({information:.4} nats of information, mean entropy \
                 {mean_entropy:.2})"
            ),
        }
    }
}

/// RankMe (Garrido et al., 2023): exp of the entropy of the normalised singular values of the feature matrix.
///
/// features: [B, D], row-major. Between 1 and min(B, D); 0 for features that are all zero, NaN for any that are
/// not finite.
///
/// # Panics
/// If the length is not `batch` times a positive number.
fn effective_rank(batch: usize, features: &[f32]) -> f64 {
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
    entropy(singular.iter().map(|value| value / total)).exp()
}

/// -sum p ln p, nats.
fn entropy(probabilities: impl Iterator<Item = f64>) -> f64 {
    -probabilities.filter(|p| *p > 0.0).map(|p| p * p.ln()).sum::<f64>()
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
        // s = (3, 1): p = (3/4, 1/4), exp(H) = (4/3)^(3/4) * 4^(1/4).
        let expected = (4f64 / 3.0).powf(0.75) * 4f64.powf(0.25);
        assert!((effective_rank(2, &[0.0, 3.0, 1.0, 0.0]) - expected).abs() < 1e-12);
        assert_eq!(effective_rank(2, &[0.0; 4]), 0.0);
        assert!(effective_rank(2, &[f32::NAN, 0.0, 1.0, 1.0]).is_nan());
    }

    /// One-hot assignments of eight images, each to its own prototype.
    fn one_each() -> Vec<f32> {
        spread(8).into_iter().map(|x| x / 3.0).collect()
    }

    #[test]
    fn healthy_batches_show_no_sign() {
        let measured = Collapse::measure(8, &one_each(), &one_each(), &spread(8));
        assert_eq!(measured.prototypes_used, 8);
        assert!((measured.mean_entropy - 8f64.ln()).abs() < 1e-6 && measured.target_max > 0.99);
        assert!((measured.information - 8f64.ln()).abs() < 1e-6, "{}", measured.information);
        assert_eq!(measured.sign(8, 8), None);
    }

    #[test]
    fn each_kind_of_collapse_has_its_sign() {
        let one_prototype: Vec<f32> = (0..8 * 8).map(|i| if i % 8 == 2 { 1.0 } else { 0.0 }).collect();
        let line: Vec<f32> = (0..64).map(|i| if i / 8 % 2 == 0 { 1.0 } else { -1.0 }).collect();
        for (assignments, features, sign, words) in [
            (one_prototype, spread(8), Sign::FewPrototypes, "1 of 8 prototypes"),
            (vec![1.0 / 8.0; 64], spread(8), Sign::SameAssignment, "same assignment"),
            (one_each(), vec![1.0; 64], Sign::EqualFeatures, "hardly differ"),
            (one_each(), line, Sign::LowRank, "effective rank"),
        ] {
            let measured = Collapse::measure(8, &assignments, &one_each(), &features);
            assert_eq!(measured.sign(8, 8), Some(sign), "{measured:?}");
            let description = measured.describe(sign, 8);
            assert!(description.contains(words), "{description}");
        }
    }

    #[test]
    fn signs_begin_at_the_bounds_that_the_documentation_names() {
        // ln of 64 images or prototypes, whichever are fewer.
        let possible = 64f64.ln();
        let healthy = Collapse {
            prototypes_used: 60,
            mean_entropy: 0.9 * possible,
            information: 0.3 * possible,
            target_max: 0.5,
            rank: 20.0,
            feature_std: 0.6,
        };
        let with = |change: fn(&mut Collapse, f64), value: f64| {
            let mut measured = healthy;
            change(&mut measured, value);
            (measured.sign(64, 1000), measured.sign(1000, 64))
        };
        type Change = fn(&mut Collapse, f64);
        let cases: [(Change, f64, Sign); 4] = [
            (|measured, x| measured.feature_std = x, 0.05, Sign::EqualFeatures),
            (|measured, x| measured.rank = x, 2.0, Sign::LowRank),
            (|measured, x| measured.mean_entropy = x, 0.25 * possible, Sign::FewPrototypes),
            (|measured, x| measured.information = x, 0.01 * possible, Sign::SameAssignment),
        ];
        for (change, bound, sign) in cases {
            assert_eq!(with(change, 0.98 * bound), (Some(sign), Some(sign)));
            assert_eq!(with(change, 1.02 * bound), (None, None), "{sign:?}");
        }
        // Four images have no rank worth the name.
        assert_eq!(Collapse { rank: 1.5, ..healthy }.sign(64, 4), None);
    }

    #[test]
    fn balanced_targets_hide_no_collapse_of_the_assignments() {
        // What Sinkhorn makes of assignments that are all alike.
        let balanced = [1.0 / 8.0; 64];
        let collapsed: Vec<f32> = (0..8 * 8).map(|i| if i % 8 == 2 { 0.93 } else { 0.01 }).collect();
        let measured = Collapse::measure(8, &collapsed, &balanced, &spread(8));
        assert_eq!((measured.prototypes_used, measured.sign(8, 8)), (1, Some(Sign::FewPrototypes)));
        assert!((measured.target_max - 1.0 / 8.0).abs() < 1e-6);
    }

    #[test]
    fn information_is_counted_over_all_anchors() {
        // Two views of two images: certain, on one prototype for the first image and another for the second.
        let assignments = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0];
        let measured = Collapse::measure(2, &assignments, &[0.5, 0.5, 0.0, 0.2, 0.2, 0.6], &spread(2));
        assert_eq!(measured.prototypes_used, 2);
        assert!((measured.information - 2f64.ln()).abs() < 1e-9);
        assert!((measured.target_max - 0.55).abs() < 1e-6);
    }
}
