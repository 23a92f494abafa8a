//! Labels for images, from a few labelled ones or by a classifier that is there.

use msn_model::LinearHead;
use serde::Serialize;

use crate::logistic::{Training, first_largest, softmax};
use crate::product::{ROW_BLOCK, rows_by_rows};
use crate::{Classes, Error, Features, Labelled, Lambda, LogisticFit};

/// Rows whose probabilities are computed at a time: a whole number of blocks of a product, so that how rows come makes no
/// difference to their bits.
pub(crate) const PREDICTED_ROWS: usize = 8 * ROW_BLOCK;

/// The most probable class of one image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// Class name.
    pub label: String,
    /// Its softmax probability, (0, 1].
    pub probability: f64,
}

/// What images are predicted to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    /// Class names.
    pub classes: Vec<String>,
    /// The most probable class of each image.
    pub best: Vec<Prediction>,
    /// Softmax probabilities of all classes, [rows, C], where they are kept.
    pub probabilities: Option<Vec<f32>>,
}

/// Which probabilities are kept: those of all classes may take more memory than the features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// That of the most probable class.
    Best,
    /// Those of all classes.
    All,
}

impl Predictions {
    fn none(classes: &[String], keep: Keep) -> Self {
        let probabilities = (keep == Keep::All).then(Vec::new);
        Self { classes: classes.to_vec(), best: Vec::new(), probabilities }
    }

    /// probabilities: [rows, C]
    fn add(&mut self, probabilities: &[f32]) {
        let best = |row: &[f32]| {
            let class = first_largest(row);
            Prediction { label: self.classes[class].clone(), probability: f64::from(row[class]) }
        };
        self.best.extend(probabilities.chunks(self.classes.len()).map(best));
        if let Some(all) = &mut self.probabilities {
            all.extend(probabilities);
        }
    }
}

/// Fits a logistic regression on the labelled rows and classifies the others, one prediction a row in their order.
///
/// Both are normalised here ([`Features::normalise`]).
///
/// # Errors
/// [`Error::Dimension`] if the columns differ, [`Error::Setting`] for a lambda out of range,
/// [`Error::NotConverged`].
pub fn predict(
    labelled: &Labelled,
    images: &Features,
    lambda: Lambda,
    keep: Keep,
) -> Result<Predictions, Error> {
    labelled.features().check_dim(images)?;
    let (classes, fit) = fit_labels(labelled, lambda)?;
    let mut predictions = Predictions::none(classes.names(), keep);
    for block in images.blocks(PREDICTED_ROWS) {
        predictions.add(&fit.probabilities(&block.normalise())?);
    }
    Ok(predictions)
}

/// Classifies rows by a classifier that came with the encoder. head: [C, D]; images: features after
/// the final norm, [rows, D].
///
/// # Errors
/// [`Error::Dimension`] if the features are not as wide as the classifier.
pub fn predict_by_head(head: &LinearHead, images: &Features, keep: Keep) -> Result<Predictions, Error> {
    let (dim, classes) = (head.weight.shape[1], head.classes.len());
    if images.dim() != dim {
        return Err(Error::Dimension { expected: dim, found: images.dim() });
    }
    let mut predictions = Predictions::none(&head.classes, keep);
    for block in images.blocks(PREDICTED_ROWS) {
        let mut rows = vec![0.0; block.rows() * classes];
        rows_by_rows(block.data(), &head.weight.data, dim, &mut rows);
        for row in rows.chunks_mut(classes) {
            row.iter_mut().zip(&head.bias.data).for_each(|(logit, bias)| *logit += bias);
            softmax(row);
        }
        predictions.add(&rows);
    }
    Ok(predictions)
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
