//! The readable twin, in `f64`.

use super::BatchNorm;

/// The rows of each group.
fn groups<'a>(norm: &'a BatchNorm<'_>) -> impl Iterator<Item = std::ops::Range<usize>> + 'a {
    norm.groups.iter().scan(0, |start, count| {
        let rows = *start..*start + count;
        *start = rows.end;
        Some(rows)
    })
}

pub(super) fn forward(
    norm: &BatchNorm<'_>,
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    y: &mut [f32],
    statistics: &mut [f32],
) {
    let c = norm.channels;
    for (rows, statistics) in groups(norm).zip(statistics.chunks_exact_mut(2 * c)) {
        for j in 0..c {
            let column = || rows.clone().map(|i| f64::from(x[i * c + j]));
            let mean = column().sum::<f64>() / rows.len() as f64;
            let variance = column().map(|x| (x - mean).powi(2)).sum::<f64>() / rows.len() as f64;
            let scale = f64::from(gamma[j]) / (variance + f64::from(norm.eps)).sqrt();
            for i in rows.clone() {
                y[i * c + j] = ((f64::from(x[i * c + j]) - mean) * scale + f64::from(beta[j])) as f32;
            }
            (statistics[j], statistics[c + j]) = (mean as f32, variance as f32);
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "the operands of one formula")]
pub(super) fn backward(
    norm: &BatchNorm<'_>,
    x: &[f32],
    gamma: &[f32],
    statistics: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    let c = norm.channels;
    for j in 0..c {
        let (mut gamma_sum, mut beta_sum) = (0.0, 0.0);
        for (rows, statistics) in groups(norm).zip(statistics.chunks_exact(2 * c)) {
            let (mean, variance) = (f64::from(statistics[j]), f64::from(statistics[c + j]));
            let inverse = 1.0 / (variance + f64::from(norm.eps)).sqrt();
            let normalised = |i: usize| (f64::from(x[i * c + j]) - mean) * inverse;
            let gradient = |i: usize| f64::from(dy[i * c + j]);
            let sum: f64 = rows.clone().map(gradient).sum();
            let along: f64 = rows.clone().map(|i| gradient(i) * normalised(i)).sum();
            let count = rows.len() as f64;
            for i in rows {
                let centred = gradient(i) - sum / count - normalised(i) * along / count;
                dx[i * c + j] = (f64::from(gamma[j]) * inverse * centred) as f32;
            }
            gamma_sum += along;
            beta_sum += sum;
        }
        (dgamma[j], dbeta[j]) = (gamma_sum as f32, beta_sum as f32);
    }
}
