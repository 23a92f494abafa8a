//! How good a classifier is: hits, classes, confusions, calibration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::logistic::Training;
use crate::predict::PREDICTED_ROWS;
use crate::{Classes, Error, Labelled, Lambda};

/// Bins of the calibration, as usual.
const BINS: usize = 15;

/// The quality of the predicted probabilities of some images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassificationReport {
    /// Images classified.
    pub images: usize,
    /// Images whose most probable class is theirs, percent.
    pub top1: f64,
    /// Images whose class is among the five most probable, percent; of fewer classes, all.
    pub top5: f64,
    /// Mean of the accuracies of the classes that have images, percent.
    pub mean_class_accuracy: f64,
    /// Expected calibration error, percent.
    pub ece: f64,
    /// Mean of -ln p of the right class, nats.
    pub cross_entropy: f64,
    /// By class number.
    pub classes: Vec<ClassScore>,
    /// What the images of each class are classified as, by class number and number of that class; of ten thousand classes,
    /// few of the hundred million pairs occur.
    pub confusion: Vec<Confusion>,
    /// The bins of the calibration that hold images.
    pub calibration: Vec<CalibrationBin>,
}

/// How one class fares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassScore {
    /// Its name.
    pub class: String,
    /// Images of the class.
    pub images: usize,
    /// Those of them that are classified as such, percent; absent without images.
    pub accuracy: Option<f64>,
    /// Images classified as this class.
    pub predicted: usize,
    /// Those of them that are of the class, percent; absent without such images.
    pub precision: Option<f64>,
}

/// Images of one class that are classified as one class, be it another or their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// Their class.
    pub class: String,
    /// What they are classified as.
    pub predicted: String,
    /// How many, 1 or more.
    pub images: usize,
}

/// Images whose highest probability lies in an interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// The interval, (above, at most].
    pub interval: [f64; 2],
    /// Images in it.
    pub images: usize,
    /// Mean of their highest probabilities, percent.
    pub confidence: f64,
    /// Those classified rightly, percent.
    pub accuracy: f64,
}

/// Fits a logistic regression on the labelled rows, and reports on the test rows and the penalty used. Both are
/// normalised here ([`Features::normalise`](crate::Features::normalise)). A fit that stops short of its tolerance counts.
///
/// # Errors
/// [`Error::Dimension`], [`Error::UnseenClass`], [`Error::Setting`] for a lambda out of range.
pub fn classification_report(
    labelled: &Labelled,
    test: &Labelled,
    lambda: Lambda,
) -> Result<(ClassificationReport, f64), Error> {
    labelled.features().check_dim(test.features())?;
    let training = Training::new(labelled)?;
    let expected = training.classes.indices(test.labels())?;
    let (fit, lambda) = training.fit(lambda)?;
    let mut tally = Tally::default();
    for (rows, labels) in test.features().blocks(PREDICTED_ROWS).zip(expected.chunks(PREDICTED_ROWS)) {
        tally.add(&fit.probabilities(&rows.normalise())?, labels);
    }
    Ok((tally.report(&training.classes), lambda))
}

impl ClassificationReport {
    /// probabilities: [m, C], rows that sum to 1; labels: class numbers, [m]. Of equal probabilities the first class
    /// is the more probable one.
    ///
    /// The calibration error is the sum over bins of equal width of (images in the bin / all images) x |accuracy -
    /// confidence| (Guo et al., "On calibration of modern neural networks", 2017, equation 3; 15 bins).
    ///
    /// # Errors
    /// [`Error::LabelCount`] if there is not one label a row or no row, [`Error::LabelRange`].
    pub fn of(classes: &Classes, probabilities: &[f32], labels: &[usize]) -> Result<Self, Error> {
        let c = classes.len();
        let rows = probabilities.len() / c.max(1);
        if rows != labels.len() || rows == 0 {
            return Err(Error::LabelCount { rows, found: labels.len() });
        }
        if let Some(row) = labels.iter().position(|&label| label >= c) {
            return Err(Error::LabelRange { row, classes: c, found: labels[row] });
        }
        let mut tally = Tally::default();
        tally.add(probabilities, labels);
        Ok(tally.report(classes))
    }

    /// The most frequent confusions with another class, at most `count`, most images first.
    pub fn mistakes(&self, count: usize) -> Vec<&Confusion> {
        let mut mistakes: Vec<&Confusion> =
            self.confusion.iter().filter(|pair| pair.class != pair.predicted).collect();
        // Stable: of equally many images, the earlier class comes first.
        mistakes.sort_by_key(|pair| std::cmp::Reverse(pair.images));
        mistakes.truncate(count);
        mistakes
    }
}

/// What a report counts, from blocks of images: the probabilities of all at once may take more memory than there is.
#[derive(Default)]
pub(crate) struct Tally {
    images: usize,
    first: usize,
    first_five: usize,
    loss: f64,
    /// Images by class and predicted class.
    confusion: BTreeMap<(usize, usize), usize>,
    bins: [Sums; BINS],
}

impl Tally {
    /// probabilities: [m, C]; labels: [m], below C.
    pub(crate) fn add(&mut self, probabilities: &[f32], labels: &[usize]) {
        for (row, &label) in probabilities.chunks(probabilities.len() / labels.len()).zip(labels) {
            let rank = rank(row, label);
            self.images += 1;
            self.first += usize::from(rank == 0);
            self.first_five += usize::from(rank < 5);
            // A probability that is 0 in f32 counts as the smallest above 0, or one such image would hide all others.
            self.loss -= f64::from(row[label].max(f32::MIN_POSITIVE)).ln();
            let predicted = crate::logistic::first_largest(row);
            *self.confusion.entry((label, predicted)).or_insert(0) += 1;
            let confidence = f64::from(row[predicted]);
            let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
            self.bins[bin].add(confidence, rank == 0);
        }
    }

    /// # Panics
    /// If there was no image.
    pub(crate) fn report(self, classes: &Classes) -> ClassificationReport {
        let Self { images, first, first_five, loss, confusion, bins } = self;
        assert!(images > 0, "a report on no image");
        let percent = |part: usize| 100.0 * part as f64 / images as f64;
        let scores = class_scores(classes, &confusion);
        let name = |class: usize| classes.names()[class].clone();
        let confusion = confusion.into_iter().map(|((class, predicted), images)| Confusion {
            class: name(class),
            predicted: name(predicted),
            images,
        });
        let accuracies: Vec<f64> = scores.iter().filter_map(|score| score.accuracy).collect();
        let error = |bin: &Sums| (bin.confidence - bin.hits as f64).abs();
        ClassificationReport {
            images,
            top1: percent(first),
            top5: percent(first_five),
            mean_class_accuracy: accuracies.iter().sum::<f64>() / accuracies.len() as f64,
            ece: 100.0 * bins.iter().map(error).sum::<f64>() / images as f64,
            cross_entropy: loss / images as f64,
            classes: scores,
            confusion: confusion.collect(),
            calibration: bins.iter().enumerate().filter_map(|(number, bin)| bin.report(number)).collect(),
        }
    }
}

/// `confusion`: images by class and predicted class.
fn class_scores(classes: &Classes, confusion: &BTreeMap<(usize, usize), usize>) -> Vec<ClassScore> {
    let part = |hits: usize, of: usize| (of > 0).then(|| 100.0 * hits as f64 / of as f64);
    let (mut of_class, mut called) = (vec![0; classes.len()], vec![0; classes.len()]);
    for (&(class, predicted), images) in confusion {
        of_class[class] += images;
        called[predicted] += images;
    }
    let score = |(class, name): (usize, &String)| {
        let (images, predicted) = (of_class[class], called[class]);
        let hits = confusion.get(&(class, class)).copied().unwrap_or(0);
        let (accuracy, precision) = (part(hits, images), part(hits, predicted));
        ClassScore { class: name.clone(), images, accuracy, predicted, precision }
    };
    classes.names().iter().enumerate().map(score).collect()
}

/// Number of classes that are more probable than `label`; of equal ones the earlier is.
fn rank(row: &[f32], label: usize) -> usize {
    let ahead = |&(class, &p): &(usize, &f32)| p > row[label] || (p == row[label] && class < label);
    row.iter().enumerate().filter(ahead).count()
}

/// What a bin adds up.
#[derive(Clone, Copy, Default)]
struct Sums {
    images: usize,
    hits: usize,
    confidence: f64,
}

impl Sums {
    fn add(&mut self, confidence: f64, hit: bool) {
        self.images += 1;
        self.hits += usize::from(hit);
        self.confidence += confidence;
    }

    fn report(&self, number: usize) -> Option<CalibrationBin> {
        let edge = |number: usize| number as f64 / BINS as f64;
        (self.images > 0).then(|| CalibrationBin {
            interval: [edge(number), edge(number + 1)],
            images: self.images,
            confidence: 100.0 * self.confidence / self.images as f64,
            accuracy: 100.0 * self.hits as f64 / self.images as f64,
        })
    }
}
