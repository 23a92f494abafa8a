//! Labels for images, from a few labelled ones or by a classifier that is there.

use msn_data::{Dataset, Skipped};
use msn_model::LinearHead;
use rayon::prelude::*;
use serde::Serialize;

use crate::extract::BatchesDone;
use crate::logistic::{Training, first_largest, softmax};
use crate::product::{ROW_BLOCK, rows_by_rows};
use crate::{Classes, Error, ExtractError, Extractor, Features, Labelled, Lambda, LogisticFit};

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
    /// Softmax probabilities of all classes, [rows, C], where they were asked for.
    pub probabilities: Option<Vec<f32>>,
}

/// Which probabilities are given: those of all classes may take more memory than there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probabilities {
    /// That of the most probable class.
    Best,
    /// Those of all classes.
    All,
}

/// What the images that could be read are predicted to be.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictedImages {
    /// The images by their index in the dataset, in the order asked for.
    pub images: Vec<usize>,
    /// What each is predicted to be.
    pub predictions: Predictions,
    /// The images that could not be read, which have no prediction.
    pub skipped: Vec<Skipped>,
    /// Of how many the features were known already ([`Extractor::keeping`]).
    pub recalled: usize,
}

/// A classifier of rows of features.
#[derive(Clone, Debug)]
pub struct Predictor {
    classes: Vec<String>,
    layer: Layer,
}

#[derive(Clone, Debug)]
enum Layer {
    /// On normalised rows.
    Fit(LogisticFit),
    /// On rows as they are.
    Head(LinearHead),
}

impl Predictions {
    fn none(classes: &[String], probabilities: Probabilities) -> Self {
        let probabilities = (probabilities == Probabilities::All).then(Vec::new);
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

impl Predictor {
    /// A logistic regression on the labelled rows. They are normalised here ([`Features::normalise`]), as are those that it
    /// classifies.
    ///
    /// # Errors
    /// Those of [`fit_labels`].
    pub fn of_labels(labelled: &Labelled, lambda: Lambda) -> Result<Self, Error> {
        let (classes, fit) = fit_labels(labelled, lambda)?;
        Ok(Self { classes: classes.names().to_vec(), layer: Layer::Fit(fit) })
    }

    /// A classifier that came with the encoder, of features after the final norm. head: [C, D]
    pub fn of_head(head: LinearHead) -> Self {
        Self { classes: head.classes.clone(), layer: Layer::Head(head) }
    }

    /// Class names.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Classifies rows, [rows, D]: one prediction a row in their order.
    ///
    /// # Errors
    /// [`Error::Dimension`] if the columns are not those of the classifier.
    pub fn rows(&self, rows: &Features, probabilities: Probabilities) -> Result<Predictions, Error> {
        self.check_dim(rows.dim())?;
        let mut predictions = Predictions::none(&self.classes, probabilities);
        for block in rows.blocks(PREDICTED_ROWS) {
            predictions.add(&self.probabilities(block)?);
        }
        Ok(predictions)
    }

    /// Classifies the images of `indices`, in that order, as [`rows`](Self::rows) classifies their features
    /// ([`Extractor::rows`]), to the same bits. A feature is held no longer than it takes to classify its image, so that there
    /// may be more than fit in memory. `progress` is told how many images have gone through the encoder.
    ///
    /// # Errors
    /// Those of [`Extractor::rows`]; [`Error::Dimension`], before any work, as [`ExtractError::Evaluation`].
    ///
    /// # Panics
    /// As [`Extractor::rows`].
    pub fn images(
        &self,
        extractor: &Extractor,
        dataset: &dyn Dataset,
        indices: &[usize],
        probabilities: Probabilities,
        mut progress: impl FnMut(usize),
    ) -> Result<PredictedImages, ExtractError> {
        let dim = extractor.dim();
        self.check_dim(dim)?;
        let mut predictions = Predictions::none(&self.classes, probabilities);
        let mut add = |rows: Vec<f32>| {
            let rows = Features::new(rows.len() / dim, dim, rows)?;
            predictions.add(&self.probabilities(rows)?);
            Ok::<(), Error>(())
        };
        let (mut images, mut waiting) = (Vec::new(), Vec::new());
        let BatchesDone { skipped, recalled } =
            extractor.each_batch(dataset, indices, None, |read, rows| {
                images.extend_from_slice(read);
                waiting.extend_from_slice(rows);
                while waiting.len() >= PREDICTED_ROWS * dim {
                    let rest = waiting.split_off(PREDICTED_ROWS * dim);
                    add(std::mem::replace(&mut waiting, rest))?;
                }
                progress(images.len());
                Ok(())
            })?;
        if !waiting.is_empty() {
            add(waiting)?;
        }
        Ok(PredictedImages { images, predictions, skipped, recalled })
    }

    /// rows: [m, D] -> [m, C]
    fn probabilities(&self, rows: Features) -> Result<Vec<f32>, Error> {
        let head = match &self.layer {
            Layer::Fit(fit) => return fit.probabilities(&rows.normalise()),
            Layer::Head(head) => head,
        };
        let mut out = vec![0.0; rows.rows() * self.classes.len()];
        rows_by_rows(rows.data(), &head.weight.data, rows.dim(), &mut out);
        out.par_chunks_mut(self.classes.len()).for_each(|row| {
            row.iter_mut().zip(&head.bias.data).for_each(|(logit, bias)| *logit += bias);
            softmax(row);
        });
        Ok(out)
    }

    fn check_dim(&self, found: usize) -> Result<(), Error> {
        let expected = match &self.layer {
            Layer::Fit(fit) => fit.dim,
            Layer::Head(head) => head.weight.shape[1],
        };
        if found == expected { Ok(()) } else { Err(Error::Dimension { expected, found }) }
    }
}

/// The classes of the labelled rows, and the logistic regression on these rows, [normalised](Features::normalise).
///
/// # Errors
/// [`Error::Setting`] for a lambda out of range, [`Error::NotConverged`].
pub fn fit_labels(labelled: &Labelled, lambda: Lambda) -> Result<(Classes, LogisticFit), Error> {
    let training = Training::new(labelled)?;
    let (fit, _) = training.solve(lambda)?;
    Ok((training.classes, fit))
}
