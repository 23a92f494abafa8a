//! Linear classifiers that are trained side by side on the same features.

use rayon::prelude::*;

use crate::product::{rows_by_rows, transposed};

/// `heads` classifiers with `classes` outputs each on features of `dim` columns, trained by SGD with Nesterov's
/// momentum.
///
/// One product serves all of them: their weights are the rows of one matrix, [heads * classes, dim].
pub(super) struct Heads {
    classes: usize,
    dim: usize,
    /// [heads * classes, dim]
    weights: Vec<f32>,
    /// [heads * classes]
    biases: Vec<f32>,
    /// Velocities of the same shapes.
    weight_velocity: Vec<f32>,
    bias_velocity: Vec<f32>,
}

/// A step of all heads.
pub(super) struct Step<'a> {
    /// Learning rate of each head.
    pub(super) rates: &'a [f64],
    pub(super) momentum: f64,
    /// Added to the gradient of the weights, as a multiple of them.
    pub(super) weight_decay: f64,
}

impl Heads {
    /// Zero weights, from which all classes are equally likely.
    pub(super) fn new(heads: usize, classes: usize, dim: usize) -> Self {
        let (rows, len) = (heads * classes, heads * classes * dim);
        Self {
            classes,
            dim,
            weights: vec![0.0; len],
            biases: vec![0.0; rows],
            weight_velocity: vec![0.0; len],
            bias_velocity: vec![0.0; rows],
        }
    }

    /// features: [n, dim] -> logits of all heads, [n, heads * classes].
    pub(super) fn logits(&self, features: &[f32]) -> Vec<f32> {
        let rows = self.biases.len();
        let mut logits = vec![0.0; features.len() / self.dim * rows];
        rows_by_rows(features, &self.weights, self.dim, &mut logits);
        logits.par_chunks_mut(rows).for_each(|logits| {
            logits.iter_mut().zip(&self.biases).for_each(|(logit, bias)| *logit += bias);
        });
        logits
    }

    /// One step down the mean cross-entropy of a batch. features: [n, dim]; labels: [n].
    ///
    /// v = m v + g, then w = w - rate (g + m v): Nesterov's momentum as PyTorch has it, with the
    /// rate outside the velocity.
    pub(super) fn step(&mut self, features: &[f32], labels: &[usize], step: &Step<'_>) {
        let n = labels.len();
        let mut residuals = self.logits(features);
        let rows = residuals.par_chunks_mut(self.biases.len()).zip(labels);
        rows.for_each(|(row, &label)| {
            row.chunks_mut(self.classes).for_each(|logits| softmax_minus_one_hot(logits, label, n));
        });
        let by_output = transposed(&residuals, self.biases.len());
        let mut gradient = vec![0.0; self.weights.len()];
        rows_by_rows(&by_output, &transposed(features, self.dim), n, &mut gradient);

        let (classes, dim, m) = (self.classes, self.dim, step.momentum as f32);
        let decay = step.weight_decay as f32;
        let weights = self.weights.par_chunks_mut(dim).zip(self.weight_velocity.par_chunks_mut(dim));
        weights.zip(gradient.par_chunks(dim)).enumerate().for_each(|(output, ((w, v), g))| {
            let rate = step.rates[output / classes] as f32;
            for ((w, v), g) in w.iter_mut().zip(v).zip(g) {
                let g = g + decay * *w;
                *v = m * *v + g;
                *w -= rate * (g + m * *v);
            }
        });
        let biases = self.biases.iter_mut().zip(&mut self.bias_velocity).zip(by_output.chunks(n));
        for (output, ((b, v), residuals)) in biases.enumerate() {
            let g: f32 = residuals.iter().sum();
            *v = m * *v + g;
            *b -= step.rates[output / classes] as f32 * (g + m * *v);
        }
    }

    /// features: [n, dim]; labels: [n] -> hits of each head.
    pub(super) fn hits(&self, features: &[f32], labels: &[usize]) -> Vec<usize> {
        let logits = self.logits(features);
        let mut hits = vec![0; self.biases.len() / self.classes];
        for (row, &label) in logits.chunks(self.biases.len()).zip(labels) {
            for (hits, logits) in hits.iter_mut().zip(row.chunks(self.classes)) {
                *hits += usize::from(crate::logistic::first_largest(logits) == label);
            }
        }
        hits
    }
}

/// logits = (softmax(logits) - one hot of the label) / n.
fn softmax_minus_one_hot(logits: &mut [f32], label: usize, n: usize) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter_mut().for_each(|z| *z = (*z - largest).exp());
    let scale = 1.0 / (logits.iter().sum::<f32>() * n as f32);
    logits.iter_mut().for_each(|p| *p *= scale);
    logits[label] -= 1.0 / n as f32;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two heads of three classes on four columns.
    const SHAPE: (usize, usize, usize) = (2, 3, 4);

    fn features(n: usize) -> Vec<f32> {
        (0..4 * n).map(|i| ((i * 37 % 19) as f32 - 9.0) / 10.0).collect()
    }

    fn loss(heads: &Heads, head: usize, features: &[f32], labels: &[usize]) -> f64 {
        let logits = heads.logits(features);
        let row = |(row, &label): (&[f32], &usize)| {
            let logits = &row[head * 3..][..3];
            let sum: f64 = logits.iter().map(|&z| f64::from(z).exp()).sum();
            sum.ln() - f64::from(logits[label])
        };
        logits.chunks(6).zip(labels).map(row).sum::<f64>() / labels.len() as f64
    }

    #[test]
    fn a_step_without_momentum_is_the_gradient_by_differences() {
        let (features, labels) = (features(5), [0, 2, 1, 1, 0]);
        let mut heads = Heads::new(SHAPE.0, SHAPE.1, SHAPE.2);
        let at = |heads: &mut Heads| {
            heads.step(&features, &labels, &Step { rates: &[0.5, 2.0], momentum: 0.0, weight_decay: 0.0 })
        };
        // Away from zero first.
        at(&mut heads);
        let mut after =
            Heads { weights: heads.weights.clone(), biases: heads.biases.clone(), ..Heads::new(2, 3, 4) };
        at(&mut after);
        for (head, rate) in [(0, 0.5), (1, 2.0)] {
            for place in 0..12 {
                let place = head * 12 + place;
                let moved = |by: f32| {
                    let mut weights = heads.weights.clone();
                    weights[place] += by;
                    let moved = Heads { weights, biases: heads.biases.clone(), ..Heads::new(2, 3, 4) };
                    loss(&moved, head, &features, &labels)
                };
                let expected = (moved(0.01) - moved(-0.01)) / 0.02;
                let found = f64::from(heads.weights[place] - after.weights[place]) / rate;
                // Curvature and rounding in f32.
                assert!((found - expected).abs() < 1e-4, "{found} {expected}");
            }
        }
    }

    #[test]
    fn nesterov_and_weight_decay_follow_their_recursion() {
        // One column, one class pair, balanced so that the gradient of class 0's weight is p - 1/2 summed by hand.
        let mut heads = Heads::new(1, 2, 1);
        let step = Step { rates: &[0.1], momentum: 0.9, weight_decay: 0.01 };
        let (mut w, mut v, mut bias, mut bias_v) = (0f64, 0f64, 0f64, 0f64);
        for _ in 0..5 {
            heads.step(&[1.0], &[0], &step);
            // Weights and biases of the two classes are opposite numbers: z0 = w + b, z1 = -z0.
            let p = 1.0 / (1.0 + (-2.0 * (w + bias)).exp());
            let g = (p - 1.0) + 0.01 * w;
            v = 0.9 * v + g;
            w -= 0.1 * (g + 0.9 * v);
            let g = p - 1.0;
            bias_v = 0.9 * bias_v + g;
            bias -= 0.1 * (g + 0.9 * bias_v);
        }
        for (found, expected) in [(heads.weights[0], w), (heads.weights[1], -w), (heads.biases[0], bias)] {
            assert!((f64::from(found) - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn each_head_has_its_own_hits() {
        let mut heads = Heads::new(SHAPE.0, SHAPE.1, SHAPE.2);
        heads.biases = vec![0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        assert_eq!(heads.hits(&features(4), &[1, 1, 2, 0]), [2, 1]);
    }
}
