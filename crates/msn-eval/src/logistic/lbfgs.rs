//! Limited-memory BFGS for the regression.
//!
//! Own code where a crate would do, for two gains that no general optimiser offers. A trial of the line search costs
//! a pass over the logits and no product, so an iteration is two products whatever the search does. And the initial
//! inverse Hessian is set at every iteration from the curvature of the softmax at hand.

use std::collections::VecDeque;

use rayon::prelude::*;

use super::objective::{Curvature, Gradient, Objective};
use crate::real::Real;

/// Pairs of steps and gradient changes that are remembered.
const MEMORY: usize = 10;
/// Elements of a partial sum.
const CHUNK: usize = 1 << 14;
/// A step is taken once the slope has fallen to this part of the slope at the start.
const SLOPE_LEFT: f64 = 0.3;
/// A loss may rise by this part of itself: rounding in `f32`, as in the approximate Wolfe conditions of Hager and
/// Zhang, "A new conjugate gradient method with guaranteed descent and an efficient line search", 2005.
const LOSS_SLACK: f64 = 1e-6;
/// Trials of one line search; a convex function needs a few.
const TRIALS: usize = 40;

/// The point reached so far and what is known of the curvature there.
pub(super) struct State {
    /// Weights along the axes, [C, r].
    pub(super) weights: Vec<f64>,
    /// Loss plus penalty.
    pub(super) objective: f64,
    /// L2 norm of the gradient of the objective.
    pub(super) gradient_norm: f64,
    /// Gradient norm relative to the norm of the penalty's gradient, l2 |W|.
    pub(super) relative: f64,
    /// Steps taken.
    pub(super) iterations: usize,
    pairs: VecDeque<Pair>,
}

struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    inverse: f64,
}

/// What stays the same during a descent.
pub(super) struct Descent<'a> {
    /// Penalty l2/2 |W|^2.
    pub(super) l2: f64,
    /// Variances along the axes, [r].
    pub(super) variances: &'a [f64],
    /// Mean row of each class along the axes, [C, r]; zero for a class without rows.
    pub(super) means: &'a [f64],
    /// Gradient norm that rounding leaves at an optimum of zero weights.
    pub(super) floor: f64,
    /// Most iterations in all.
    pub(super) max_iterations: usize,
}

/// When to stop.
#[derive(Clone, Copy)]
pub(super) struct Stop {
    /// Relative gradient norm to reach.
    pub(super) tolerance: f64,
    /// Iterations without a new lowest norm.
    pub(super) patience: usize,
}

impl State {
    /// weights: where to start, [C, r].
    pub(super) fn new(weights: Vec<f64>) -> Self {
        let infinite = f64::INFINITY;
        let (objective, gradient_norm, relative) = (infinite, infinite, infinite);
        Self { weights, objective, gradient_norm, relative, iterations: 0, pairs: VecDeque::new() }
    }
}

impl Descent<'_> {
    /// Moves the state until the relative gradient norm is at most `tolerance`. Stops before that when the
    /// iterations are spent, when rounding in `T` hides the way down, or when the norm has not reached a new low for
    /// `patience` iterations; the state says which point was reached.
    pub(super) fn run<T: Real>(&self, objective: &mut Objective<'_, T>, state: &mut State, stop: Stop) {
        let mut previous: Option<(Vec<f64>, Vec<f64>)> = None;
        let (mut lowest, mut lowest_at) = (f64::INFINITY, state.iterations);
        loop {
            let mut at = objective.gradient();
            let squared = dot(&state.weights, &state.weights);
            add_scaled(&mut at.values, self.l2, &state.weights);
            state.gradient_norm = dot(&at.values, &at.values).sqrt();
            state.objective = at.loss + 0.5 * self.l2 * squared;
            state.relative = state.relative_norm(self);
            if let Some((step, mut change)) = previous.take() {
                change.par_iter_mut().zip(&at.values).for_each(|(old, new)| *old = new - *old);
                state.remember(step, change);
            }
            if state.relative < lowest {
                (lowest, lowest_at) = (state.relative, state.iterations);
            }
            let stalled = state.iterations - lowest_at >= stop.patience;
            if state.relative <= stop.tolerance || stalled || state.iterations >= self.max_iterations {
                return;
            }
            let mut direction = self.direction(&at, &state.pairs);
            objective.aim(&direction);
            let Some(step) = self.line_search(objective, state, &at, &direction) else { return };
            objective.advance(step);
            direction.par_iter_mut().for_each(|d| *d *= step);
            add_scaled(&mut state.weights, 1.0, &direction);
            state.iterations += 1;
            previous = Some((direction, at.values));
        }
    }

    /// -H g by the two-loop recursion (Nocedal and Wright, "Numerical Optimization", algorithm 7.4), [C, r].
    fn direction(&self, at: &Gradient, pairs: &VecDeque<Pair>) -> Vec<f64> {
        let mut d: Vec<f64> = at.values.par_iter().map(|g| -g).collect();
        let mut factors = Vec::with_capacity(pairs.len());
        for pair in pairs.iter().rev() {
            let factor = pair.inverse * dot(&pair.step, &d);
            add_scaled(&mut d, -factor, &pair.change);
            factors.push(factor);
        }
        let r = self.variances.len();
        let classes = d.par_chunks_mut(r).zip(self.means.par_chunks(r)).zip(&at.curvatures);
        classes.for_each(|((d, mean), curvature)| self.precondition(d, mean, curvature));
        for (pair, factor) in pairs.iter().zip(factors.iter().rev()) {
            let correction = pair.inverse * dot(&pair.change, &d);
            add_scaled(&mut d, factor - correction, &pair.step);
        }
        d
    }

    /// d = H0 d for one class, the start of the recursion. H0 inverts the block of the Hessian of that class with the
    /// softmax weights p (1 - p) taken as equal over the rows of other classes, which makes it diagonal along the
    /// principal axes, and all own rows taken as their mean, a term of rank one (Sherman and Morrison).
    fn precondition(&self, d: &mut [f64], mean: &[f64], curvature: &Curvature) {
        let diagonal = |variance: f64| curvature.others * variance + self.l2;
        let (mut along, mut length) = (0.0, 0.0);
        for ((d, &mean), &variance) in d.iter_mut().zip(mean).zip(self.variances) {
            *d /= diagonal(variance);
            along += mean * *d;
            length += mean * mean / diagonal(variance);
        }
        let factor = curvature.own * along / (1.0 + curvature.own * length);
        for ((d, &mean), &variance) in d.iter_mut().zip(mean).zip(self.variances) {
            *d -= factor * mean / diagonal(variance);
        }
    }

    /// A step at which the slope has nearly vanished: the objective is convex, so its root is the minimum of the
    /// line. Secant steps, kept between the ends of the bracket. `None` if `direction` is no way down.
    fn line_search<T: Real>(
        &self,
        objective: &Objective<'_, T>,
        state: &State,
        gradient: &Gradient,
        direction: &[f64],
    ) -> Option<f64> {
        let (across, length) = (dot(&state.weights, direction), dot(direction, direction));
        let at = |step: f64| {
            let trial = objective.trial(step);
            let penalty = self.l2 * (step * across + 0.5 * step * step * length);
            (trial.loss + penalty, trial.slope + self.l2 * (across + step * length))
        };
        // The penalty of the point itself is left out on both sides.
        let limit = gradient.loss + LOSS_SLACK * state.objective;
        let slope = dot(&gradient.values, direction);
        if slope >= 0.0 {
            return None;
        }
        let (mut low, mut low_slope) = (0.0, slope);
        let mut high: Option<(f64, f64)> = None;
        let mut step = 1.0;
        for _ in 0..TRIALS {
            let (loss_here, slope_here) = at(step);
            let lower = loss_here <= limit;
            if lower && slope_here.abs() <= SLOPE_LEFT * slope.abs() {
                return Some(step);
            }
            if slope_here < 0.0 && lower {
                (low, low_slope) = (step, slope_here);
            } else {
                high = Some((step, slope_here));
            }
            step = match high {
                None => (step * slope / (slope - slope_here)).clamp(2.0 * step, 10.0 * step),
                Some((high, high_slope)) => {
                    let secant = low + (high - low) * low_slope / (low_slope - high_slope);
                    let margin = 0.1 * (high - low);
                    if secant.is_finite() {
                        secant.clamp(low + margin, high - margin)
                    } else {
                        0.5 * (low + high)
                    }
                }
            };
        }
        None
    }
}

impl State {
    fn relative_norm(&self, descent: &Descent<'_>) -> f64 {
        if self.gradient_norm <= descent.floor {
            return 0.0;
        }
        self.gradient_norm / (descent.l2 * dot(&self.weights, &self.weights).sqrt())
    }

    /// Keeps a pair unless rounding has hidden its curvature, which is positive for this objective.
    fn remember(&mut self, step: Vec<f64>, change: Vec<f64>) {
        let curvature = dot(&step, &change);
        if curvature <= 0.0 {
            return;
        }
        if self.pairs.len() == MEMORY {
            self.pairs.pop_front();
        }
        self.pairs.push_back(Pair { step, change, inverse: 1.0 / curvature });
    }
}

/// Sum of products in chunks of fixed size.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let chunk = |(a, b): (&[f64], &[f64])| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let sums: Vec<f64> = a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK)).map(chunk).collect();
    sums.iter().sum()
}

/// a += factor * b.
fn add_scaled(a: &mut [f64], factor: f64, b: &[f64]) {
    a.par_iter_mut().with_min_len(CHUNK).zip(b).for_each(|(a, b)| *a += factor * b);
}
