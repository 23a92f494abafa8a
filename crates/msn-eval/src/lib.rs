//! Low-shot evaluation: how far a few labels per class go with the features of an encoder.
//!
//! Everything here takes rows of numbers ([`Features`]), so that it serves an encoder, an untrained one and raw
//! pixels alike. The protocol of the low-shot tables (MSN, Assran et al. 2022, section 5) is [`LowShot`]: draw a few
//! images of each class ([`draw`]), fit a [`LogisticRegression`] on them, count the hits on the test rows; the mean
//! and the deviation over several draws are reported.
//!
//! All results are the same bits for any number of threads: work is cut into blocks of fixed size and sums run in a
//! fixed order.

mod classes;
mod error;
mod extract;
mod features;
mod head;
mod knn;
mod logistic;
mod lowshot;
mod predict;
mod product;
mod real;
mod splits;

pub use classes::Classes;
pub use error::Error;
pub use extract::{
    DESCRIPTION, Description, ExtractError, Extractor, FeatureRows, Import, SavedEncoder, Weights, is_foreign,
};
pub use features::{Features, Labelled};
pub use head::linear_head;
pub use knn::{Knn, KnnScore};
pub use logistic::{LogisticFit, LogisticRegression, default_lambda};
pub use lowshot::{LowShot, LowShotReport, ShotScore, SplitScore};
pub use predict::{Prediction, fit_labels, predict};
pub use splits::{SplitFile, draw, draw_usable};

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
