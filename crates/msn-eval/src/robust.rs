//! Accuracy on corrupted copies of the test images.

use msn_data::{Corruption, CorruptionKind, SEVERITIES};
use serde::{Deserialize, Serialize};

use crate::logistic::Training;
use crate::{Error, Features, Labelled, Lambda, accuracy};

/// What corruptions cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RobustReport {
    /// Test images.
    pub images: usize,
    /// Penalty of the regression.
    pub lambda: f64,
    /// Top-1 accuracy on the images as they are, percent.
    pub clean_top1: f64,
    /// Mean over the corruptions of their mean errors, percent.
    pub mean_corruption_error: f64,
    /// One entry a corruption.
    pub corruptions: Vec<CorruptionScore>,
}

/// What one corruption costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CorruptionScore {
    /// Its name.
    pub name: String,
    /// Top-1 accuracy at severities 1 to 5, percent.
    pub top1: Vec<f64>,
    /// Mean error over the severities, percent.
    pub mean_error: f64,
}

/// Fits a logistic regression on the labelled rows and scores it on the test rows, and on those that `corrupted` makes
/// of the same images, in the same order, for each of `kinds` at each severity.
///
/// The mean corruption error is the plain mean of errors; that of Hendrycks and Dietterich (2019) divides each by the
/// error of an AlexNet on ImageNet first, which says nothing on other images.
///
/// # Errors
/// [`Error::Dimension`], [`Error::UnseenClass`], [`Error::Setting`] for a lambda out of range, [`Error::NotConverged`],
/// [`Error::LabelCount`] if `corrupted` gives another number of rows, and those of `corrupted`.
///
/// # Panics
/// If there is no kind.
pub fn robustness<E: From<Error>>(
    labelled: &Labelled,
    test: &Labelled,
    lambda: Lambda,
    kinds: &[CorruptionKind],
    mut corrupted: impl FnMut(Corruption) -> Result<Features, E>,
) -> Result<RobustReport, E> {
    assert!(!kinds.is_empty(), "robustness against nothing");
    labelled.features().check_dim(test.features())?;
    let training = Training::new(labelled)?;
    let expected = training.classes.indices(test.labels())?;
    let (fit, lambda) = training.solve(lambda)?;
    let top1 = |features: &Features| -> Result<f64, Error> {
        if features.rows() != expected.len() {
            return Err(Error::LabelCount { rows: features.rows(), found: expected.len() });
        }
        Ok(accuracy(&fit.classify(&features.clone().normalise())?, &expected))
    };
    let clean_top1 = top1(test.features())?;
    let mut scores = Vec::new();
    for &kind in kinds {
        let at = |severity| Ok(top1(&corrupted(Corruption { kind, severity })?)?);
        let top1 = (1..=SEVERITIES).map(at).collect::<Result<Vec<f64>, E>>()?;
        let mean_error = 100.0 - top1.iter().sum::<f64>() / SEVERITIES as f64;
        scores.push(CorruptionScore { name: kind.name().to_owned(), top1, mean_error });
    }
    let errors: f64 = scores.iter().map(|score| score.mean_error).sum();
    let mean_corruption_error = errors / scores.len() as f64;
    Ok(RobustReport {
        images: expected.len(),
        lambda,
        clean_top1,
        mean_corruption_error,
        corruptions: scores,
    })
}
