//! The low-shot protocol: a few images a class, several draws.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::classes::members;
use crate::{Classes, Error, Features, Labelled, LogisticRegression, accuracy, default_lambda, draw};

/// What to evaluate.
#[derive(Clone, Debug, PartialEq)]
pub struct LowShot {
    /// Images a class, each at least 1.
    pub shots: Vec<usize>,
    /// Draws for each number of shots, at least 1.
    pub splits: u64,
    /// Seed of the draws.
    pub seed: u64,
    /// Penalty as in [`LogisticRegression`]; without one, [`default_lambda`] of the shots.
    pub lambda: Option<f64>,
}

impl Default for LowShot {
    /// 1, 2 and 5 shots, 3 splits, seed 0.
    fn default() -> Self {
        Self { shots: vec![1, 2, 5], splits: 3, seed: 0, lambda: None }
    }
}

/// Scores for each number of shots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LowShotReport {
    /// Number of classes.
    pub classes: usize,
    /// Number of test images.
    pub test_images: usize,
    /// In the order asked for.
    pub scores: Vec<ShotScore>,
}

/// Scores for one number of shots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShotScore {
    /// Images of each class; of the largest class where a split file decides.
    pub shots: usize,
    /// Penalty, see [`LogisticRegression`].
    pub lambda: f64,
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
    /// Draws, fits and scores every number of shots and every split.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::UnseenClass`], [`Error::TooFewImages`], and [`Error::Setting`] for no split, 0
    /// shots or a lambda out of range.
    pub fn run(&self, train: &Labelled, test: &Labelled) -> Result<LowShotReport, Error> {
        if self.splits == 0 {
            return Err(Error::Setting { field: "splits", expected: "at least 1", found: 0.0 });
        }
        let data = Prepared::new(train, test)?;
        let draws_of = |&shots: &usize| {
            let split = |split| draw(&data.train_labels, &data.classes, shots, self.seed, split);
            (0..self.splits).map(split).collect::<Result<Vec<_>, Error>>()
        };
        // All draws come first, so that a class that is too small fails before any time is spent.
        let draws = self.shots.iter().map(draws_of).collect::<Result<Vec<_>, Error>>()?;
        let scores =
            draws.iter().map(|splits| data.score(splits, self.lambda)).collect::<Result<_, Error>>()?;
        Ok(data.report(scores))
    }

    /// Fits and scores given splits, each the numbers of training rows; they count as one number of shots, that of
    /// the largest class of the first. Only `lambda` of the settings is used.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::UnseenClass`], and [`Error::Setting`] for no split, an empty split or a lambda
    /// out of range.
    ///
    /// # Panics
    /// If a split names a row that there is not.
    pub fn run_splits(
        &self,
        train: &Labelled,
        test: &Labelled,
        splits: &[Vec<usize>],
    ) -> Result<LowShotReport, Error> {
        if splits.is_empty() || splits.iter().any(Vec::is_empty) {
            return Err(Error::Setting {
                field: "splits",
                expected: "at least one image in each",
                found: 0.0,
            });
        }
        let data = Prepared::new(train, test)?;
        let score = data.score(splits, self.lambda)?;
        Ok(data.report(vec![score]))
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

    fn score(&self, splits: &[Vec<usize>], lambda: Option<f64>) -> Result<ShotScore, Error> {
        let labels_of = |split: &[usize]| split.iter().map(|&i| self.train_labels[i]).collect::<Vec<_>>();
        let largest =
            |split: &[usize]| members(&labels_of(split), self.classes.len()).iter().map(Vec::len).max();
        let shots = splits.first().and_then(|split| largest(split)).unwrap_or(0);
        let lambda = lambda.unwrap_or_else(|| default_lambda(shots));
        let one = |split: &Vec<usize>| {
            let (rows, labels) = (self.train.select(split), labels_of(split));
            let fit = LogisticRegression::new(lambda).fit(&rows, &labels, self.classes.len())?;
            Ok(SplitScore {
                top1: accuracy(&fit.classify(&self.test)?, &self.test_labels),
                objective: fit.objective,
                iterations: fit.iterations,
                relative_gradient_norm: fit.relative_gradient_norm,
                converged: fit.converged,
            })
        };
        let splits = splits.iter().map(one).collect::<Result<Vec<SplitScore>, Error>>()?;
        let (mean, sd) = mean_and_deviation(&splits.iter().map(|s| s.top1).collect::<Vec<_>>());
        Ok(ShotScore { shots, lambda, mean, sd, splits })
    }

    fn report(&self, scores: Vec<ShotScore>) -> LowShotReport {
        LowShotReport { classes: self.classes.len(), test_images: self.test.rows(), scores }
    }
}

/// Mean and sample standard deviation (n - 1); the deviation of a single value is 0.
fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0).max(1.0)).sqrt())
}

impl fmt::Display for LowShotReport {
    /// A table with a line for each number of shots; a fit that did not converge is marked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} classes, {} test images, top-1 in percent", self.classes, self.test_images)?;
        write!(f, "{:>5} {:>6} {:>6} {:>5}", "shots", "lambda", "mean", "sd")?;
        for score in &self.scores {
            write!(f, "\n{:>5} {:>6} {:>6.2} {:>5.2}", score.shots, score.lambda, score.mean, score.sd)?;
            let stopped = score.splits.iter().filter(|s| !s.converged).count();
            if stopped > 0 {
                write!(f, "  {stopped} of {} fits did not converge", score.splits.len())?;
            }
        }
        Ok(())
    }
}
