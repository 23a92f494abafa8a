//! The low-shot protocol: a few images a class, several draws.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::classes::members;
use crate::{Amount, Classes, Error, Features, Labelled, Lambda, LogisticRegression, accuracy, draw};

/// What to evaluate.
#[derive(Clone, Debug, PartialEq)]
pub struct LowShot {
    /// Images a class.
    pub amounts: Vec<Amount>,
    /// Draws for each amount, at least 1.
    pub splits: u64,
    /// Seed of the draws.
    pub seed: u64,
    /// Penalty of the regression.
    pub lambda: Lambda,
}

impl Default for LowShot {
    /// 1, 2 and 5 shots, 3 splits, seed 0.
    fn default() -> Self {
        Self { amounts: [1, 2, 5].map(Amount::Shots).to_vec(), splits: 3, seed: 0, lambda: Lambda::Default }
    }
}

/// The splits of one amount of labelled images, each as the numbers of training rows.
#[derive(Clone, Debug, PartialEq)]
pub struct SplitSet {
    /// How many images of each class were drawn; `None` if somebody chose them.
    pub amount: Option<Amount>,
    /// The draws.
    pub splits: Vec<Vec<usize>>,
}

/// Scores for each amount.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LowShotReport {
    /// Number of classes.
    pub classes: usize,
    /// Number of test images.
    pub test_images: usize,
    /// In the order asked for.
    pub scores: Vec<ShotScore>,
}

/// Scores for one amount of labelled images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShotScore {
    /// Images of each class; of the largest class of the first split where a percentage or a split file decides.
    pub shots: usize,
    /// Percentage of the images of each class, where one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// Mean top-1 accuracy over the splits, percent.
    pub mean: f64,
    /// Sample standard deviation over the splits, percent; 0 for a single split.
    pub sd: f64,
    /// One entry a split.
    pub splits: Vec<SplitScore>,
}

/// Score of one split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitScore {
    /// Top-1 accuracy, percent.
    pub top1: f64,
    /// Labelled images.
    pub images: usize,
    /// Penalty, see [`LogisticRegression`].
    pub lambda: f64,
    /// Mean cross-entropy + penalty at the solution.
    pub objective: f64,
    /// Iterations of the solver.
    pub iterations: usize,
    /// Gradient norm at the solution, relative to the penalty's.
    pub relative_gradient_norm: f64,
    /// Whether the solver reached its tolerance.
    pub converged: bool,
}

/// Both sets, normalised, with class numbers.
struct Prepared {
    classes: Classes,
    train: Features,
    train_labels: Vec<usize>,
    test: Features,
    test_labels: Vec<usize>,
}

impl LowShot {
    /// Draws, fits and scores every amount and every split.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::UnseenClass`], [`Error::TooFewImages`], and [`Error::Setting`] for no split, an
    /// amount or a lambda out of range.
    pub fn run(&self, train: &Labelled, test: &Labelled) -> Result<LowShotReport, Error> {
        if self.splits == 0 {
            return Err(Error::Setting { field: "splits", expected: "at least 1", found: 0.0 });
        }
        let data = Prepared::new(train, test)?;
        let draws_of = |&amount: &Amount| {
            let split = |split| draw(&data.train_labels, &data.classes, amount, self.seed, split);
            let splits = (0..self.splits).map(split).collect::<Result<_, Error>>()?;
            Ok(SplitSet { amount: Some(amount), splits })
        };
        // All draws come first, so that a class that is too small fails before any time is spent.
        let sets = self.amounts.iter().map(draws_of).collect::<Result<Vec<_>, Error>>()?;
        data.report(&sets, self.lambda)
    }

    /// Fits and scores given splits. Only `lambda` of the settings is used.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::UnseenClass`], and [`Error::Setting`] for a set without splits, an empty split or
    /// a lambda out of range.
    ///
    /// # Panics
    /// If a split names a row that there is not.
    pub fn run_splits(
        &self,
        train: &Labelled,
        test: &Labelled,
        sets: &[SplitSet],
    ) -> Result<LowShotReport, Error> {
        if sets.iter().any(|set| set.splits.is_empty() || set.splits.iter().any(Vec::is_empty)) {
            return Err(Error::Setting {
                field: "splits",
                expected: "at least one image in each",
                found: 0.0,
            });
        }
        Prepared::new(train, test)?.report(sets, self.lambda)
    }
}

impl Prepared {
    fn new(train: &Labelled, test: &Labelled) -> Result<Self, Error> {
        train.features().check_dim(test.features())?;
        let classes = Classes::of(train.labels());
        Ok(Self {
            train_labels: classes.indices(train.labels())?,
            test_labels: classes.indices(test.labels())?,
            train: train.features().clone().normalise(),
            test: test.features().clone().normalise(),
            classes,
        })
    }

    fn report(&self, sets: &[SplitSet], lambda: Lambda) -> Result<LowShotReport, Error> {
        let scores = sets.iter().map(|set| self.score(set, lambda)).collect::<Result<_, Error>>()?;
        Ok(LowShotReport { classes: self.classes.len(), test_images: self.test.rows(), scores })
    }

    fn score(&self, set: &SplitSet, lambda: Lambda) -> Result<ShotScore, Error> {
        let labels_of = |split: &[usize]| split.iter().map(|&i| self.train_labels[i]).collect::<Vec<_>>();
        let largest =
            |split: &Vec<usize>| members(&labels_of(split), self.classes.len()).iter().map(Vec::len).max();
        let shots = set.splits.first().and_then(largest).unwrap_or(0);
        let one = |split: &Vec<usize>| {
            let (rows, labels) = (self.train.select(split), labels_of(split));
            let lambda = lambda.choose(&rows, &labels, self.classes.len())?;
            let fit = LogisticRegression::new(lambda).fit(&rows, &labels, self.classes.len())?;
            Ok(SplitScore {
                top1: accuracy(&fit.classify(&self.test)?, &self.test_labels),
                images: split.len(),
                lambda,
                objective: fit.objective,
                iterations: fit.iterations,
                relative_gradient_norm: fit.relative_gradient_norm,
                converged: fit.converged,
            })
        };
        let splits = set.splits.iter().map(one).collect::<Result<Vec<SplitScore>, Error>>()?;
        let (mean, sd) = mean_and_deviation(&splits.iter().map(|s| s.top1).collect::<Vec<_>>());
        let percent = match set.amount {
            Some(Amount::Percent(percent)) => Some(percent),
            _ => None,
        };
        Ok(ShotScore { shots, percent, mean, sd, splits })
    }
}

impl ShotScore {
    /// The amount of labelled images, as it was asked for: `5` or `1%`.
    pub fn amount(&self) -> Amount {
        self.percent.map_or(Amount::Shots(self.shots), Amount::Percent)
    }

    /// The penalty, or the smallest and the largest where the splits have chosen different ones: `0.0025`, `0.01 -
    /// 0.1`.
    pub fn lambdas(&self) -> String {
        let lambdas = self.splits.iter().map(|split| split.lambda);
        let (low, high) =
            lambdas.fold((f64::INFINITY, 0.0), |(low, high), x| (f64::min(low, x), f64::max(high, x)));
        if low == high { short(low) } else { format!("{} - {}", short(low), short(high)) }
    }
}

/// Two significant digits: 0.0025, 0.056.
fn short(x: f64) -> String {
    let digits = (1.0 - x.log10().floor()).clamp(0.0, 12.0) as usize;
    let text = format!("{x:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Mean and sample standard deviation (n - 1); the deviation of a single value is 0.
pub(crate) fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0).max(1.0)).sqrt())
}

impl fmt::Display for LowShotReport {
    /// A table with a line for each amount; a fit that did not converge is marked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} classes, {} test images, top-1 in percent", self.classes, self.test_images)?;
        write!(f, "{:>5} {:>6} {:>6} {:>5}", "shots", "lambda", "mean", "sd")?;
        for score in &self.scores {
            let (amount, lambda) = (score.amount().to_string(), score.lambdas());
            write!(f, "\n{amount:>5} {lambda:>6} {:>6.2} {:>5.2}", score.mean, score.sd)?;
            let stopped = score.splits.iter().filter(|s| !s.converged).count();
            if stopped > 0 {
                write!(f, "  {stopped} of {} fits did not converge", score.splits.len())?;
            }
        }
        Ok(())
    }
}
