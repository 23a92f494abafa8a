//! How good an encoder is, and how far a few labels per class go with its features.
//!
//! Most protocols take rows of numbers ([`Features`]), so that they serve an encoder, an untrained one and raw pixels
//! alike: an [`Extractor`] makes rows of images.
//!
//! - [`LowShot`], that of the low-shot tables (MSN, Assran et al. 2022, section 5): draw a few images of each class
//!   ([`draw`]), fit a [`LogisticRegression`] on them, count the hits on the test rows; mean and deviation over several
//!   draws. Its penalty is given or chosen on the labelled rows ([`Lambda`]).
//! - [`Knn`], [`LinearProbe`], [`robustness`] against corrupted images.
//! - [`FineTune`] trains the encoder itself.
//! - [`classification_report`] looks closer at one classifier; [`curve_picture`] draws accuracy over labels.
//! - [`select`] says which images to label first; a [`Predictor`] labels the rest.
//!
//! All results are the same bits for any number of threads: work is cut into blocks of fixed size and sums run in a
//! fixed order.

mod classes;
mod crossval;
mod curve;
mod error;
mod extract;
mod features;
mod finetune;
mod head;
mod knn;
mod linear;
mod logistic;
mod lowshot;
mod permutation;
mod predict;
mod product;
mod real;
mod report;
mod robust;
mod select;
mod splits;

pub use classes::Classes;
pub use crossval::{CrossValidation, Lambda, cross_validate};
pub use curve::{BudgetCurve, CURVE_PICTURE_START, CurvePoint, budgets, curve_picture};
pub use error::Error;
pub use extract::{
    CLASSES, CLASSIFIER_PART, DESCRIPTION, Description, ExtractError, Extractor, FeatureRows, Import, Origin,
    SavedEncoder, Weights, is_foreign,
};
pub use features::{Features, Labelled};
pub use finetune::{
    FineTune, FineTuneObserver, FineTuneReport, FineTuneRun, FineTuneStart, FineTuneStep, FineTuned, ImageSet,
};
pub use head::linear_head;
pub use knn::{Knn, KnnScore};
pub use linear::{LinearProbe, LinearReport, RateScore};
pub use logistic::{LogisticFit, LogisticRegression, default_lambda};
pub use lowshot::{LowShot, LowShotReport, ShotScore, SplitScore, SplitSet};
pub use predict::{PredictedImages, Prediction, Predictions, Predictor, Probabilities, fit_labels};
pub use report::{CalibrationBin, ClassScore, ClassificationReport, Confusion, classification_report};
pub use robust::{CorruptionScore, RobustReport, robustness};
pub use select::{SelectionScore, select, select_at_random};
pub use splits::{Amount, SplitFile, draw, draw_usable};

/// Percentage of positions where `found` equals `expected`, [0, 100].
///
/// # Panics
/// If the lengths differ or are 0.
pub fn accuracy(found: &[usize], expected: &[usize]) -> f64 {
    assert_eq!(found.len(), expected.len(), "one prediction per label");
    assert!(!found.is_empty(), "accuracy over no image");
    let hits = found.iter().zip(expected).filter(|(f, e)| f == e).count();
    100.0 * hits as f64 / found.len() as f64
}
