//! Multinomial logistic regression without intercept.

mod axes;
mod lbfgs;
mod objective;
mod training;

pub(crate) use self::training::Training;

use rayon::prelude::*;

use self::axes::Axes;
use self::lbfgs::{Descent, State, Stop};
use self::objective::Objective;
use crate::product::{ROW_BLOCK, rows_by_rows, rows_by_rows_here};
use crate::{Error, Features};

/// Iterations with products in `f32`, twice as fast, that may pass without progress; `f64` goes on from there and
/// has the last word on convergence. About 1e-6 is within reach of `f32`.
const F32_PATIENCE: usize = 12;

/// lambda of the low-shot protocol for a training set of which the largest class has `images_per_class` images:
/// 0.0025 for up to 5, 0.075 above.
pub fn default_lambda(images_per_class: usize) -> f64 {
    if images_per_class <= 5 { 0.0025 } else { 0.075 }
}

/// The solver's settings: minimise mean cross-entropy + l2/2 |W|^2 with l2 = lambda / n over weights W [C, D].
///
/// The gradient norm is taken relative to that of the penalty, l2 |W|. As the objective is strongly convex with
/// constant l2, the relative distance of the weights to the optimum is at most the relative gradient norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogisticRegression {
    /// Penalty times the number of rows, above 0.
    pub lambda: f64,
    /// Relative gradient norm to reach, above 0.
    pub tolerance: f64,
    /// Most iterations, each of two products of the size rows x columns x classes.
    pub max_iterations: usize,
}

/// Weights and how good they are.
#[derive(Clone, Debug, PartialEq)]
pub struct LogisticFit {
    /// Number of classes, C.
    pub classes: usize,
    /// Number of columns, D.
    pub dim: usize,
    /// [C, D], row-major.
    pub weights: Vec<f64>,
    /// Mean cross-entropy + l2/2 |W|^2.
    pub objective: f64,
    /// L2 norm of the objective's gradient.
    pub gradient_norm: f64,
    /// The same divided by l2 |W|: a bound on the relative distance to the optimum.
    pub relative_gradient_norm: f64,
    /// Iterations made.
    pub iterations: usize,
    /// Whether the tolerance was reached.
    pub converged: bool,
}

impl LogisticRegression {
    /// The given lambda, a tolerance of 1e-6 and at most 1000 iterations.
    pub fn new(lambda: f64) -> Self {
        Self { lambda, tolerance: 1e-6, max_iterations: 1000 }
    }

    /// Bytes that a fit on `rows` rows of `dim` columns takes at least, the features themselves aside: in `f64`, the rows
    /// along their axes three times, and the logits twice.
    pub fn least_memory(rows: usize, dim: usize, classes: usize) -> f64 {
        let axes = rows.min(dim);
        rows as f64 * (3.0 * axes as f64 + 2.0 * classes as f64) * size_of::<f64>() as f64
    }

    /// features: [n, D], used as they are (see [`Features::normalise`]); labels: [n], below `classes`.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::LabelCount`], [`Error::LabelRange`] for wrong input. A fit that stops short of
    /// the tolerance is returned with `converged` false; [`solve`](Self::solve) makes it an error.
    pub fn fit(&self, features: &Features, labels: &[usize], classes: usize) -> Result<LogisticFit, Error> {
        let mut path = self.path(&[self.lambda], features, labels, classes)?;
        Ok(path.pop().expect("a fit for each lambda"))
    }

    /// The fits for several `lambdas` instead of that of the settings, in the order given.
    ///
    /// The features are turned to their axes once for all, and each fit starts where that of the next larger lambda
    /// ended: near its own optimum, which moves continuously with lambda.
    ///
    /// # Errors
    /// Those of [`fit`](Self::fit).
    pub fn path(
        &self,
        lambdas: &[f64],
        features: &Features,
        labels: &[usize],
        classes: usize,
    ) -> Result<Vec<LogisticFit>, Error> {
        for &lambda in lambdas {
            Self { lambda, ..*self }.check()?;
        }
        let n = features.rows();
        if labels.len() != n {
            return Err(Error::LabelCount { rows: n, found: labels.len() });
        }
        if let Some(row) = labels.iter().position(|&label| label >= classes) {
            return Err(Error::LabelRange { row, classes, found: labels[row] });
        }
        let axes = Axes::of(features).ok_or(Error::Eigenvalues { rows: n, dim: features.dim() })?;
        let means = axes.class_means(labels, classes);
        let mut order: Vec<usize> = (0..lambdas.len()).collect();
        order.sort_by(|&a, &b| lambdas[b].total_cmp(&lambdas[a]));
        let mut fits = vec![None; lambdas.len()];
        let mut start = vec![0.0; classes * axes.len()];
        for place in order {
            let (weights, fit) =
                Self { lambda: lambdas[place], ..*self }.descend(&axes, &means, labels, classes, start);
            fits[place] = Some(fit);
            start = weights;
        }
        Ok(fits.into_iter().flatten().collect())
    }

    /// From `start`, weights along the axes, [C, r], to the optimum: its weights along the axes and the fit.
    fn descend(
        &self,
        axes: &Axes,
        means: &[f64],
        labels: &[usize],
        classes: usize,
        start: Vec<f64>,
    ) -> (Vec<f64>, LogisticFit) {
        let l2 = self.lambda / labels.len() as f64;
        // The gradient of a row is at most sqrt(2) of its norm; a hundred units in the last place of that are zero.
        let floor = 100.0 * f64::EPSILON * axes.variances.iter().sum::<f64>().sqrt();
        let (variances, max_iterations) = (&axes.variances, self.max_iterations);
        let descent = Descent { l2, variances, means, floor, max_iterations };
        let mut state = State::new(start);
        let mut coarse = Objective::<f32>::new(&axes.coordinates, labels, &state.weights, classes);
        descent.run(&mut coarse, &mut state, Stop { tolerance: self.tolerance, patience: F32_PATIENCE });
        drop(coarse);
        let mut fine = Objective::<f64>::new(&axes.coordinates, labels, &state.weights, classes);
        descent.run(&mut fine, &mut state, Stop { tolerance: self.tolerance, patience: self.max_iterations });
        let fit = LogisticFit {
            classes,
            dim: axes.dim(),
            weights: axes.weights(&state.weights),
            objective: state.objective,
            gradient_norm: state.gradient_norm,
            relative_gradient_norm: state.relative,
            iterations: state.iterations,
            converged: state.relative <= self.tolerance,
        };
        (state.weights, fit)
    }

    /// As [`fit`](Self::fit), with a stop short of the tolerance as an error.
    ///
    /// # Errors
    /// Those of [`fit`](Self::fit) and [`Error::NotConverged`].
    pub fn solve(&self, features: &Features, labels: &[usize], classes: usize) -> Result<LogisticFit, Error> {
        let fit = self.fit(features, labels, classes)?;
        if fit.converged {
            return Ok(fit);
        }
        Err(Error::NotConverged {
            rows: features.rows(),
            classes,
            tolerance: self.tolerance,
            found: fit.relative_gradient_norm,
            iterations: fit.iterations,
        })
    }

    fn check(&self) -> Result<(), Error> {
        for (field, found) in [("lambda", self.lambda), ("tolerance", self.tolerance)] {
            if !(found.is_finite() && found > 0.0) {
                return Err(Error::Setting { field, expected: "a finite number above 0", found });
            }
        }
        Ok(())
    }
}

impl LogisticFit {
    /// features: [m, D] -> [m, C], row-major.
    ///
    /// # Errors
    /// [`Error::Dimension`] if the features have another number of columns.
    pub fn logits(&self, features: &Features) -> Result<Vec<f32>, Error> {
        self.check_dim(features)?;
        let mut logits = vec![0.0; features.rows() * self.classes];
        rows_by_rows(features.data(), &self.single_weights(), self.dim, &mut logits);
        Ok(logits)
    }

    /// Softmax of the logits, [m, C], row-major.
    ///
    /// # Errors
    /// Those of [`logits`](Self::logits).
    pub fn probabilities(&self, features: &Features) -> Result<Vec<f32>, Error> {
        let mut logits = self.logits(features)?;
        logits.par_chunks_mut(self.classes).for_each(softmax);
        Ok(logits)
    }

    /// Mean of -ln p of the expected classes, nats. labels: [m], below the number of classes.
    ///
    /// Memory: the logits of 512 rows a thread.
    ///
    /// # Errors
    /// Those of [`logits`](Self::logits).
    ///
    /// # Panics
    /// If there is not one label a row.
    pub fn cross_entropy(&self, features: &Features, labels: &[usize]) -> Result<f64, Error> {
        assert_eq!(features.rows(), labels.len(), "one label per row");
        let loss = |row: usize, logits: &[f32]| {
            let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = logits.iter().map(|z| f64::from(z - largest).exp()).sum();
            sum.ln() + f64::from(largest - logits[labels[row]])
        };
        Ok(self.by_row(features, loss)?.into_iter().sum::<f64>() / labels.len() as f64)
    }

    /// The class of the largest logit of each row, [m]; the first of equal ones.
    ///
    /// Memory: the logits of 512 rows a thread.
    ///
    /// # Errors
    /// Those of [`logits`](Self::logits).
    pub fn classify(&self, features: &Features) -> Result<Vec<usize>, Error> {
        self.by_row(features, |_, logits| first_largest(logits))
    }

    /// What `of` makes of the number of each row and its logits, [C]. Those of all rows at once may take more memory than
    /// there is: 42 GB for 500,000 rows and 21,000 classes.
    fn by_row<T: Send>(
        &self,
        features: &Features,
        of: impl Fn(usize, &[f32]) -> T + Sync,
    ) -> Result<Vec<T>, Error> {
        self.check_dim(features)?;
        let weights = self.single_weights();
        let block = |(block, rows): (usize, &[f32])| {
            let mut logits = vec![0.0; rows.len() / self.dim * self.classes];
            rows_by_rows_here(rows, &weights, self.dim, &mut logits);
            let logits = logits.chunks(self.classes).enumerate();
            logits.map(|(row, logits)| of(block * ROW_BLOCK + row, logits)).collect::<Vec<T>>()
        };
        // The blocks of `rows_by_rows`, so that the logits are the same bits.
        let blocks = features.data().par_chunks(ROW_BLOCK * self.dim).enumerate();
        Ok(blocks.flat_map_iter(block).collect())
    }

    fn check_dim(&self, features: &Features) -> Result<(), Error> {
        if features.dim() == self.dim {
            return Ok(());
        }
        Err(Error::Dimension { expected: self.dim, found: features.dim() })
    }

    /// [C, D]
    fn single_weights(&self) -> Vec<f32> {
        self.weights.iter().map(|&w| w as f32).collect()
    }
}

/// The probabilities of the classes in the place of their logits, [C].
pub(crate) fn softmax(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter_mut().for_each(|z| *z = (*z - largest).exp());
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|p| *p /= sum);
}

/// Position of the largest element, the first of equal ones.
pub(crate) fn first_largest(row: &[f32]) -> usize {
    (1..row.len()).fold(0, |best, c| if row[c] > row[best] { c } else { best })
}
