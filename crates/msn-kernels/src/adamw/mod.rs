//! AdamW and the moving average of the parameters, one pass over memory.

mod plain;
mod vectors;

use rayon::prelude::*;

use crate::isa::{self, Isa};
use crate::simd;

/// Elements that one thread updates at a time.
const CHUNK: usize = 32 * 1024;
/// Elements whose squares are summed in `f32` before the sum goes on in `f64`.
const BLOCK: usize = 1024;

/// One step of AdamW (Loshchilov and Hutter 2019), as PyTorch computes it:
///
/// ```text
/// g' = grad_scale g
/// p  = (1 - lr weight_decay) p
/// m  = beta1 m + (1 - beta1) g'
/// v  = beta2 v + (1 - beta2) g'^2
/// p  = p - lr / (1 - beta1^step) m / (sqrt(v) / sqrt(1 - beta2^step) + eps)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the mean of the gradients, [0, 1).
    pub beta1: f64,
    /// Decay of the mean of their squares, [0, 1).
    pub beta2: f64,
    /// Added to the denominator.
    pub eps: f64,
    /// Decoupled weight decay; 0 for biases and norms.
    pub weight_decay: f64,
    /// Number of this step, from 1.
    pub step: u64,
    /// Multiplies the gradients first: the factor that clips their norm, 1 for none.
    pub grad_scale: f64,
}

/// The moving average of parameters that a step updates: `average = momentum average + (1 - momentum) p`.
#[derive(Debug)]
pub struct Ema<'a> {
    /// The share that stays, [0, 1].
    pub momentum: f64,
    /// The average, of the parameters' length.
    pub average: &'a mut [f32],
}

/// The numbers of a step that are the same for all elements.
#[derive(Clone, Copy)]
struct Coefficients<T> {
    grad_scale: T,
    keep: T,
    beta1: T,
    one_minus_beta1: T,
    beta2: T,
    one_minus_beta2: T,
    step_size: T,
    inverse_root_correction: T,
    eps: T,
}

impl<T> Coefficients<T> {
    fn map<U>(self, f: impl Fn(T) -> U) -> Coefficients<U> {
        Coefficients {
            grad_scale: f(self.grad_scale),
            keep: f(self.keep),
            beta1: f(self.beta1),
            one_minus_beta1: f(self.one_minus_beta1),
            beta2: f(self.beta2),
            one_minus_beta2: f(self.one_minus_beta2),
            step_size: f(self.step_size),
            inverse_root_correction: f(self.inverse_root_correction),
            eps: f(self.eps),
        }
    }
}

impl AdamW {
    fn coefficients(&self) -> Coefficients<f64> {
        let correction = |beta: f64| 1.0 - beta.powf(self.step as f64);
        Coefficients {
            grad_scale: self.grad_scale,
            keep: 1.0 - self.lr * self.weight_decay,
            beta1: self.beta1,
            one_minus_beta1: 1.0 - self.beta1,
            beta2: self.beta2,
            one_minus_beta2: 1.0 - self.beta2,
            step_size: self.lr / correction(self.beta1),
            inverse_root_correction: 1.0 / correction(self.beta2).sqrt(),
            eps: self.eps,
        }
    }

    /// Updates `parameters`, the means `m` of the gradients and `v` of their squares, and then the moving
    /// average, all in place.
    ///
    /// # Panics
    /// If the slices differ in length, or `step` is 0.
    pub fn update(
        &self,
        parameters: &mut [f32],
        gradients: &[f32],
        m: &mut [f32],
        v: &mut [f32],
        ema: Option<Ema<'_>>,
    ) {
        let n = parameters.len();
        let average = ema.as_ref().map_or(n, |ema| ema.average.len());
        assert!(
            [gradients.len(), m.len(), v.len(), average] == [n; 4],
            "adamw: {n} parameters, {} gradients, m of {}, v of {}, average of {average}",
            gradients.len(),
            m.len(),
            v.len()
        );
        assert!(self.step > 0, "adamw: steps count from 1");
        let coefficients = self.coefficients();
        let isa = isa::current();
        if isa == Isa::Plain {
            return plain::update(coefficients, parameters, gradients, m, v, ema);
        }
        let coefficients = coefficients.map(|x| x as f32);
        let share = ema.as_ref().map(|ema| (1.0 - ema.momentum) as f32);
        let averages: Vec<Option<&mut [f32]>> = match ema {
            Some(ema) => ema.average.chunks_mut(CHUNK).map(Some).collect(),
            None => (0..n.div_ceil(CHUNK)).map(|_| None).collect(),
        };
        let chunks = (
            parameters.par_chunks_mut(CHUNK),
            gradients.par_chunks(CHUNK),
            m.par_chunks_mut(CHUNK),
            v.par_chunks_mut(CHUNK),
            averages,
        );
        chunks.into_par_iter().for_each(|(parameters, gradients, m, v, average)| {
            let ema = share.zip(average);
            simd::run(isa, vectors::Update { coefficients, parameters, gradients, m, v, ema });
        });
    }
}

/// The sum of the squares of `x`, for the norm of gradients. Blocks of 1024 elements are summed in `f32`,
/// the blocks in `f64` in their order.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    match isa::current() {
        Isa::Plain => x.iter().map(|x| f64::from(*x)).map(|x| x * x).sum(),
        isa => {
            let chunks: Vec<f64> = x
                .par_chunks(CHUNK)
                .map(|chunk| simd::run(isa, vectors::SumOfSquares { x: chunk, block: BLOCK }))
                .collect();
            chunks.into_iter().sum()
        }
    }
}
