//! How far rounding of the gradients may move the weights that AdamW trains.

use std::collections::BTreeMap;

use msn_ssl::Schedule;
use msn_train::{AdamW, AdamWConfig};

/// The gradients of a training so far, and what errors in them may have done to the weights.
///
/// Adam divides a gradient by its own size: an element whose gradients are a millionth of its neighbours' moves by a full
/// step all the same. Where its gradients are known to a few digits only, so is its step.
pub(crate) struct Rounding {
    config: AdamWConfig,
    /// Error of a gradient's elements, relative to its largest.
    error: f64,
    first_moments: BTreeMap<String, Vec<f32>>,
    /// Gradients, oldest first, each with the error that its elements may have.
    gradients: BTreeMap<String, Vec<(Vec<f64>, f64)>>,
    weights: BTreeMap<String, Vec<f64>>,
    averages: BTreeMap<String, Vec<f64>>,
}

impl Rounding {
    /// Before the first step, with gradients that are off by up to `error` of their largest element.
    pub(crate) fn new(config: AdamWConfig, error: f64) -> Self {
        let (first_moments, gradients) = Default::default();
        Self { config, error, first_moments, gradients, weights: BTreeMap::new(), averages: BTreeMap::new() }
    }

    /// Takes note of the step that the optimizer has just done.
    pub(crate) fn after_step(&mut self, optimizer: &AdamW, schedule: &Schedule) {
        let [beta, _] = self.config.betas;
        for (name, moment) in optimizer.state() {
            let Some(name) = name.strip_prefix("first.") else { continue };
            let before = self.first_moments.insert(name.to_owned(), moment.data.clone());
            let before = before.unwrap_or_else(|| vec![0.0; moment.data.len()]);
            let gradient = moment.data.iter().zip(before);
            let gradient =
                gradient.map(|(new, old)| (f64::from(*new) - beta * f64::from(old)) / (1.0 - beta));
            let gradient: Vec<f64> = gradient.collect();
            let largest = gradient.iter().fold(0.0, |most: f64, element| most.max(element.abs()));
            let history = self.gradients.entry(name.to_owned()).or_default();
            history.push((gradient, self.error * largest));

            let zeros = || vec![0.0; moment.data.len()];
            let weights = self.weights.entry(name.to_owned()).or_insert_with(zeros);
            let averages = self.averages.entry(name.to_owned()).or_insert_with(zeros);
            for (element, (weight, average)) in weights.iter_mut().zip(averages).enumerate() {
                *weight += schedule.lr * direction_error(self.config, history, element);
                *average = schedule.momentum * *average + (1.0 - schedule.momentum) * *weight;
            }
        }
    }

    /// How far each element of a weight may be off; `None` where it has no gradient.
    pub(crate) fn of_weight(&self, name: &str) -> Option<&[f64]> {
        self.weights.get(name).map(Vec::as_slice)
    }

    /// How far each element of a weight's moving average may be off; `None` where the weight has no gradient.
    pub(crate) fn of_average(&self, name: &str) -> Option<&[f64]> {
        self.averages.get(name).map(Vec::as_slice)
    }
}

/// How far the direction of an element's step is off where its gradients are, in multiples of the learning rate.
fn direction_error(config: AdamWConfig, history: &[(Vec<f64>, f64)], element: usize) -> f64 {
    let mut gradients: Vec<f64> = history.iter().map(|(gradient, _)| gradient[element]).collect();
    let exact = direction(config, &gradients);
    let mut sum = 0.0;
    for (step, (_, error)) in history.iter().enumerate() {
        let gradient = gradients[step];
        let off = [-error, *error].map(|error| {
            gradients[step] = gradient + error;
            (direction(config, &gradients) - exact).abs()
        });
        gradients[step] = gradient;
        sum += off[0].max(off[1]);
    }
    sum
}

/// The direction of Adam's step after these gradients (Kingma and Ba, 2015, algorithm 1).
fn direction(config: AdamWConfig, gradients: &[f64]) -> f64 {
    let mean = |beta: f64, value: fn(f64) -> f64| {
        let sum = gradients.iter().fold(0.0, |sum, gradient| beta * sum + (1.0 - beta) * value(*gradient));
        sum / (1.0 - beta.powi(gradients.len() as i32))
    };
    let [beta1, beta2] = config.betas;
    mean(beta1, |gradient| gradient) / (mean(beta2, |gradient| gradient * gradient).sqrt() + config.eps)
}
