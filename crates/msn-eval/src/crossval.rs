//! The penalty of the regression, and its choice on the labelled images alone.

use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::classes::members;
use crate::{Error, Features, LogisticRegression, default_lambda};

/// Penalties tried, as powers of sqrt(10): two a factor of ten, from 1e-4 to 10.
const EXPONENTS: RangeInclusive<i32> = -8..=2;
/// Parts that the labelled images are split into, at most.
const FOLDS: usize = 5;
/// Relative gradient norm of the fits that only choose.
const TOLERANCE: f64 = 1e-4;

/// How the penalty lambda of a [`LogisticRegression`] is found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Lambda {
    /// [`default_lambda`] of the number of images in the largest class.
    #[default]
    Default,
    /// This one, above 0.
    Fixed(f64),
    /// [`cross_validate`] on the labelled images; the default where that cannot be done.
    CrossValidated,
}

impl Lambda {
    /// The penalty for the given training set: features, used as they are, [n, D]; labels: [n].
    ///
    /// # Errors
    /// Those of [`cross_validate`].
    pub fn choose(self, features: &Features, labels: &[usize], classes: usize) -> Result<f64, Error> {
        let largest = members(labels, classes).iter().map(Vec::len).max().unwrap_or(0);
        match self {
            Self::Default => Ok(default_lambda(largest)),
            Self::Fixed(lambda) => Ok(lambda),
            Self::CrossValidated => {
                let found = cross_validate(features, labels, classes)?;
                Ok(found.map_or_else(|| default_lambda(largest), |found| found.best))
            }
        }
    }
}

impl FromStr for Lambda {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text.trim(), text.trim().parse::<f64>()) {
            ("auto", _) => Ok(Self::CrossValidated),
            (_, Ok(lambda)) if lambda > 0.0 && lambda.is_finite() => Ok(Self::Fixed(lambda)),
            _ => Err("expected a number above 0, or auto".to_owned()),
        }
    }
}

/// How well each penalty serves for images that were held out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CrossValidation {
    /// The penalty with the lowest loss; of equal ones the largest.
    pub best: f64,
    /// Penalties and their mean cross-entropy over the held-out images, nats; largest penalty first.
    pub losses: Vec<(f64, f64)>,
}

/// Tries penalties by stratified cross-validation: the images of each class are dealt out in turn to as many parts as
/// the largest class has images, five at most; each part is classified by a fit on the others. Images that are alone in
/// their class are never held out. `None` if all are: there is nothing to compare then.
///
/// The penalty acts on the sum over images (see [`LogisticRegression`]), so that one value means the same for a part
/// and for the whole. The loss decides rather than the accuracy, which for a few images moves in steps of several
/// percent.
///
/// features: [n, D], used as they are; labels: [n], below `classes`.
///
/// # Errors
/// Those of [`LogisticRegression::fit`].
pub fn cross_validate(
    features: &Features,
    labels: &[usize],
    classes: usize,
) -> Result<Option<CrossValidation>, Error> {
    if labels.len() != features.rows() {
        return Err(Error::LabelCount { rows: features.rows(), found: labels.len() });
    }
    if let Some(row) = labels.iter().position(|&label| label >= classes) {
        return Err(Error::LabelRange { row, classes, found: labels[row] });
    }
    let fold_of = folds(labels, classes);
    let Some(count) = fold_of.iter().flatten().max().map(|last| last + 1) else { return Ok(None) };
    let lambdas: Vec<f64> = EXPONENTS.rev().map(|e| 10f64.powf(f64::from(e) / 2.0)).collect();
    let mut losses = vec![0.0; lambdas.len()];
    for fold in 0..count {
        let (held_out, kept): (Vec<usize>, Vec<usize>) =
            (0..labels.len()).partition(|&row| fold_of[row] == Some(fold));
        let labels_of = |rows: &[usize]| rows.iter().map(|&row| labels[row]).collect::<Vec<_>>();
        let solver = LogisticRegression { tolerance: TOLERANCE, ..LogisticRegression::new(1.0) };
        let fits = solver.path(&lambdas, &features.select(&kept), &labels_of(&kept), classes)?;
        let (rows, expected) = (features.select(&held_out), labels_of(&held_out));
        for (loss, fit) in losses.iter_mut().zip(&fits) {
            *loss += fit.cross_entropy(&rows, &expected)? * expected.len() as f64;
        }
    }
    let held_out = fold_of.iter().flatten().count() as f64;
    let losses: Vec<(f64, f64)> =
        lambdas.into_iter().zip(losses).map(|(lambda, loss)| (lambda, loss / held_out)).collect();
    let first = losses[0];
    let (best, _) = losses.iter().fold(first, |best, &tried| if tried.1 < best.1 { tried } else { best });
    Ok(Some(CrossValidation { best, losses }))
}

/// The part of each image, `None` for those that are alone in their class.
fn folds(labels: &[usize], classes: usize) -> Vec<Option<usize>> {
    let mut folds = vec![None; labels.len()];
    for rows in members(labels, classes).iter().filter(|rows| rows.len() > 1) {
        for (i, &row) in rows.iter().enumerate() {
            folds[row] = Some(i % FOLDS);
        }
    }
    folds
}
