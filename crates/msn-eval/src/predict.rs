//! Labels for images from a few labelled ones.

use serde::Serialize;

use crate::logistic::Training;
use crate::{Classes, Error, Features, Labelled, Lambda, LogisticFit};

/// The most probable class of one image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// Class name.
    pub label: String,
    /// Its softmax probability, (0, 1].
    pub probability: f64,
}

/// Fits a logistic regression on the labelled rows and classifies the others, one prediction a row in their order.
///
/// Both are normalised here ([`Features::normalise`]).
///
/// # Errors
/// [`Error::Dimension`] if the columns differ, [`Error::Setting`] for a lambda out of range,
/// [`Error::NotConverged`].
pub fn predict(labelled: &Labelled, images: &Features, lambda: Lambda) -> Result<Vec<Prediction>, Error> {
    labelled.features().check_dim(images)?;
    let (classes, fit) = fit_labels(labelled, lambda)?;
    let probabilities = fit.probabilities(&images.clone().normalise())?;
    let best = |row: &[f32]| {
        let class = crate::logistic::first_largest(row);
        Prediction { label: classes.names()[class].clone(), probability: f64::from(row[class]) }
    };
    Ok(probabilities.chunks(classes.len()).map(best).collect())
}

/// The classes of the labelled rows, and the logistic regression on these rows, [normalised](Features::normalise).
/// `lambda`: as [`predict`] takes it.
///
/// # Errors
/// [`Error::Setting`] for a lambda out of range, [`Error::NotConverged`].
pub fn fit_labels(labelled: &Labelled, lambda: Lambda) -> Result<(Classes, LogisticFit), Error> {
    let training = Training::new(labelled)?;
    let (fit, _) = training.solve(lambda)?;
    Ok((training.classes, fit))
}
