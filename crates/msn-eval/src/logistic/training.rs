//! The logistic regression that a set of labelled rows asks for.

use super::{LogisticFit, LogisticRegression};
use crate::{Classes, Error, Features, Labelled, Lambda};

/// A way to fit a regression to rows with class numbers, of so many classes.
type Method = fn(&LogisticRegression, &Features, &[usize], usize) -> Result<LogisticFit, Error>;

/// Labelled rows, made ready for a regression.
pub(crate) struct Training {
    pub(crate) classes: Classes,
    /// [n, D], normalised.
    rows: Features,
    /// Class numbers, [n].
    labels: Vec<usize>,
}

impl Training {
    /// Normalises the rows ([`Features::normalise`]) and numbers their classes.
    pub(crate) fn new(labelled: &Labelled) -> Result<Self, Error> {
        let classes = Classes::of(labelled.labels());
        let labels = classes.indices(labelled.labels())?;
        Ok(Self { rows: labelled.features().clone().normalise(), labels, classes })
    }

    /// The fit, which may stop short of its tolerance, and the penalty that it has.
    pub(crate) fn fit(&self, lambda: Lambda) -> Result<(LogisticFit, f64), Error> {
        self.by(LogisticRegression::fit, lambda)
    }

    /// As [`fit`](Self::fit), with a stop short of the tolerance as an error.
    pub(crate) fn solve(&self, lambda: Lambda) -> Result<(LogisticFit, f64), Error> {
        self.by(LogisticRegression::solve, lambda)
    }

    fn by(&self, method: Method, lambda: Lambda) -> Result<(LogisticFit, f64), Error> {
        let classes = self.classes.len();
        let lambda = lambda.choose(&self.rows, &self.labels, classes)?;
        Ok((method(&LogisticRegression::new(lambda), &self.rows, &self.labels, classes)?, lambda))
    }
}
