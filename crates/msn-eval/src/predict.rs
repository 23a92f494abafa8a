//! Labels for images, from a few labelled ones or by a classifier that is there.

use msn_model::LinearHead;
use serde::Serialize;

use crate::logistic::{Training, first_largest, softmax};
use crate::product::rows_by_rows;
use crate::{Classes, Error, Features, Labelled, Lambda, LogisticFit};

/// Rows that are classified at a time, lest the probabilities of all classes take more memory than the features.
const BLOCK: usize = 4096;

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
    let mut predictions = Vec::with_capacity(images.rows());
    for block in images.blocks(BLOCK) {
        predictions.extend(most_probable(classes.names(), &fit.probabilities(&block.normalise())?));
    }
    Ok(predictions)
}

/// The most probable class of each row by a classifier that came with the encoder. head: [C, D]; images: features after
/// the final norm, [rows, D].
///
/// # Errors
/// [`Error::Dimension`] if the features are not as wide as the classifier.
pub fn predict_by_head(head: &LinearHead, images: &Features) -> Result<Vec<Prediction>, Error> {
    let (dim, classes) = (head.weight.shape[1], head.classes.len());
    if images.dim() != dim {
        return Err(Error::Dimension { expected: dim, found: images.dim() });
    }
    let classify = |block: Features| {
        let mut rows = vec![0.0; block.rows() * classes];
        rows_by_rows(block.data(), &head.weight.data, dim, &mut rows);
        for row in rows.chunks_mut(classes) {
            row.iter_mut().zip(&head.bias.data).for_each(|(logit, bias)| *logit += bias);
            softmax(row);
        }
        most_probable(&head.classes, &rows)
    };
    Ok(images.blocks(BLOCK).flat_map(classify).collect())
}

/// The class that each row is most probably of. probabilities: [rows, C]
fn most_probable(classes: &[String], probabilities: &[f32]) -> Vec<Prediction> {
    let best = |row: &[f32]| {
        let class = first_largest(row);
        Prediction { label: classes[class].clone(), probability: f64::from(row[class]) }
    };
    probabilities.chunks(classes.len()).map(best).collect()
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
