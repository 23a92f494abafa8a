//! The loss along a line, and its gradient.

use pulp::Arch;
use rayon::prelude::*;

use crate::product::{rows_by_rows, transposed};
use crate::real::Real;

/// Rows of a block whose sums are kept apart until they are added in order.
const BLOCK: usize = 64;

/// Mean cross-entropy of softmax(X W^T) at a point W and along a direction from it, with products in `T`.
///
/// The logits of the point and those of the direction are kept, so that the loss at any step along the direction
/// needs no product: a line search costs one pass over [n, C] numbers a trial.
pub(super) struct Objective<'a, T> {
    /// X, [n, r].
    rows: Vec<T>,
    /// X^T, [r, n].
    columns: Vec<T>,
    labels: &'a [usize],
    classes: usize,
    /// X W^T, [n, C].
    logits: Vec<T>,
    /// X d^T, [n, C]; after an advance, probabilities minus one-hot labels.
    other: Vec<T>,
}

/// Loss and derivative at a step along the direction.
pub(super) struct Trial {
    /// Mean cross-entropy.
    pub(super) loss: f64,
    /// Its derivative by the step.
    pub(super) slope: f64,
}

/// What is known at a point.
pub(super) struct Gradient {
    /// Mean cross-entropy.
    pub(super) loss: f64,
    /// Its gradient by the weights, [C, r].
    pub(super) values: Vec<f64>,
    /// Softmax weights of each class, [C]: the scales of its block of the Hessian.
    pub(super) curvatures: Vec<Curvature>,
}

/// Sums of p (1 - p) for one class, divided by the number of all rows.
#[derive(Clone, Copy, Default)]
pub(super) struct Curvature {
    /// Over the rows of the class.
    pub(super) own: f64,
    /// Over the other rows.
    pub(super) others: f64,
}

impl<'a, T: Real> Objective<'a, T> {
    /// rows: [n, r]; weights: [C, r].
    pub(super) fn new(rows: &[f64], labels: &'a [usize], weights: &[f64], classes: usize) -> Self {
        let rows: Vec<T> = rows.iter().map(|&x| T::narrow(x)).collect();
        let zeros = vec![T::narrow(0.0); labels.len() * classes];
        let columns = transposed(&rows, rows.len() / labels.len());
        let mut objective = Self { rows, columns, labels, classes, logits: zeros.clone(), other: zeros };
        objective.aim(weights);
        std::mem::swap(&mut objective.logits, &mut objective.other);
        objective
    }

    /// Sets the direction, [C, r].
    pub(super) fn aim(&mut self, direction: &[f64]) {
        let r = self.rows.len() / self.labels.len();
        let direction: Vec<T> = direction.iter().map(|&x| T::narrow(x)).collect();
        rows_by_rows(&self.rows, &direction, r, &mut self.other);
    }

    /// Loss and slope `step` along the direction.
    pub(super) fn trial(&self, step: f64) -> Trial {
        let (step, arch) = (T::narrow(step), Arch::new());
        let block = |((logits, along), labels): ((&[T], &[T]), &[usize])| {
            arch.dispatch(|| trial_of_block(logits, along, labels, step))
        };
        let width = BLOCK * self.classes;
        let blocks = self.logits.par_chunks(width).zip(self.other.par_chunks(width));
        let sums: Vec<(f64, f64)> = blocks.zip(self.labels.par_chunks(BLOCK)).map(block).collect();
        let n = self.labels.len() as f64;
        let (loss, slope) = sums.iter().fold((0.0, 0.0), |sum, block| (sum.0 + block.0, sum.1 + block.1));
        Trial { loss: loss / n, slope: slope / n }
    }

    /// Makes the point `step` along the direction the current one.
    pub(super) fn advance(&mut self, step: f64) {
        let step = T::narrow(step);
        self.logits.par_iter_mut().zip(&self.other).for_each(|(z, &along)| *z = z.stepped(step, along));
    }

    /// Loss and gradient at the current point. The direction is lost.
    pub(super) fn gradient(&mut self) -> Gradient {
        let (c, n) = (self.classes, self.labels.len());
        let logits = self.logits.par_chunks(BLOCK * c).zip(self.labels.par_chunks(BLOCK));
        let arch = Arch::new();
        let block = |(residuals, (logits, labels)): (&mut [T], (&[T], &[usize]))| {
            arch.dispatch(|| residuals_of_block(residuals, logits, labels))
        };
        let blocks: Vec<(f64, Vec<Curvature>)> =
            self.other.par_chunks_mut(BLOCK * c).zip(logits).map(block).collect();
        let mut loss = 0.0;
        let mut curvatures = vec![Curvature::default(); c];
        for (block_loss, block_curvatures) in &blocks {
            loss += block_loss / n as f64;
            for (total, part) in curvatures.iter_mut().zip(block_curvatures) {
                total.own += part.own / n as f64;
                total.others += part.others / n as f64;
            }
        }
        let mut sums = vec![T::narrow(0.0); c * (self.columns.len() / n)];
        rows_by_rows(&transposed(&self.other, c), &self.columns, n, &mut sums);
        let values = sums.par_iter().map(|g| g.wide() / n as f64).collect();
        Gradient { loss, values, curvatures }
    }
}

/// Sums of the loss and of its derivative over a block of rows. Always inlined, to be compiled for the
/// instructions that `Arch::dispatch` finds.
#[inline(always)]
fn trial_of_block<T: Real>(logits: &[T], along: &[T], labels: &[usize], step: T) -> (f64, f64) {
    let classes = logits.len() / labels.len();
    let mut here = vec![T::narrow(0.0); classes];
    let (mut loss, mut slope) = (0.0, 0.0);
    for ((logits, along), &label) in logits.chunks(classes).zip(along.chunks(classes)).zip(labels) {
        for ((here, &z), &along) in here.iter_mut().zip(logits).zip(along) {
            *here = z.stepped(step, along);
        }
        let (own, largest) = (here[label], largest(&here));
        for here in &mut here {
            *here = here.exp_below(largest);
        }
        let total = sum(&here, |_, e| e.wide());
        let weighted = sum(&here, |c, e| e.wide() * along[c].wide());
        loss += f64::ln(total) + largest.wide() - own.wide();
        slope += weighted / total - along[label].wide();
    }
    (loss, slope)
}

/// Fills the residuals of a block of rows; sums of the loss and of p (1 - p) by class.
#[inline(always)]
fn residuals_of_block<T: Real>(residuals: &mut [T], logits: &[T], labels: &[usize]) -> (f64, Vec<Curvature>) {
    let classes = logits.len() / labels.len();
    let mut loss = 0.0;
    let mut curvatures = vec![Curvature::default(); classes];
    let rows = residuals.chunks_mut(classes).zip(logits.chunks(classes));
    for ((residuals, logits), &label) in rows.zip(labels) {
        let largest = largest(logits);
        for (residual, &z) in residuals.iter_mut().zip(logits) {
            *residual = z.exp_below(largest);
        }
        // Sum over the other classes: 1 - p of the own class without the cancellation.
        let own = std::mem::replace(&mut residuals[label], T::narrow(0.0)).wide();
        let others = sum(residuals, |_, e| e.wide());
        let total = others + own;
        loss += f64::ln(total) + largest.wide() - logits[label].wide();
        for (residual, curvature) in residuals.iter_mut().zip(&mut curvatures) {
            let p = residual.wide() / total;
            curvature.others += p * (1.0 - p);
            *residual = T::narrow(p);
        }
        curvatures[label].own += own * others / (total * total);
        residuals[label] = T::narrow(-others / total);
    }
    (loss, curvatures)
}

#[inline(always)]
fn largest<T: Real>(row: &[T]) -> T {
    row.iter().fold(row[0], |largest, &z| if z > largest { z } else { largest })
}

/// Sum of `term(position, element)`, in eight lanes that do not wait for each other.
#[inline(always)]
fn sum<T: Real>(row: &[T], term: impl Fn(usize, T) -> f64) -> f64 {
    let mut lanes = [0.0; 8];
    let (blocks, rest) = row.as_chunks::<8>();
    for (block, values) in blocks.iter().enumerate() {
        for (lane, (sum, &value)) in lanes.iter_mut().zip(values).enumerate() {
            *sum += term(8 * block + lane, value);
        }
    }
    let rest = rest.iter().enumerate().map(|(i, &value)| term(8 * blocks.len() + i, value));
    lanes.iter().sum::<f64>() + rest.sum::<f64>()
}
