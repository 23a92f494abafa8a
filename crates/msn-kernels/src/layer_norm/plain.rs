//! The readable twin, in `f64`.

use crate::element::{Output, Source};
use crate::gemm::Base;

/// The normalised row `(x - mean) / sqrt(var + eps)`, and `1 / sqrt(var + eps)`.
fn normalised(x: &[f32], eps: f32) -> (Vec<f64>, f64) {
    let d = x.len() as f64;
    let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / d;
    let variance = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / d;
    let inverse = 1.0 / (variance + f64::from(eps)).sqrt();
    (x.iter().map(|x| (f64::from(*x) - mean) * inverse).collect(), inverse)
}

pub(super) fn forward(x: &[f32], gamma: &[f32], beta: &[f32], eps: f32, y: &mut Output<'_>) {
    let d = gamma.len();
    for (i, x) in x.chunks_exact(d).enumerate() {
        let (normalised, _) = normalised(x, eps);
        for j in 0..d {
            y.set(i * d + j, (normalised[j] * f64::from(gamma[j]) + f64::from(beta[j])) as f32);
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "the operands of one formula")]
pub(super) fn backward(
    x: &[f32],
    gamma: &[f32],
    eps: f32,
    dy: Source<'_>,
    base: Base<'_>,
    dx: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    let d = gamma.len();
    let (mut gamma_sums, mut beta_sums) = (vec![0.0; d], vec![0.0; d]);
    for (i, x) in x.chunks_exact(d).enumerate() {
        let (normalised, inverse) = normalised(x, eps);
        let dy: Vec<f64> = (0..d).map(|j| f64::from(dy.get(i * d + j))).collect();
        let scaled: Vec<f64> = (0..d).map(|j| dy[j] * f64::from(gamma[j])).collect();
        let mean = scaled.iter().sum::<f64>() / d as f64;
        let along = (0..d).map(|j| scaled[j] * normalised[j]).sum::<f64>() / d as f64;
        for j in 0..d {
            let base = match base {
                Base::Zero => 0.0,
                Base::Output => dx[i * d + j],
                Base::Slice(base) => base[i * d + j],
            };
            let gradient = inverse * (scaled[j] - mean - normalised[j] * along);
            dx[i * d + j] = (f64::from(base) + gradient) as f32;
            gamma_sums[j] += dy[j] * normalised[j];
            beta_sums[j] += dy[j];
        }
    }
    for j in 0..d {
        dgamma[j] = gamma_sums[j] as f32;
        dbeta[j] = beta_sums[j] as f32;
    }
}
