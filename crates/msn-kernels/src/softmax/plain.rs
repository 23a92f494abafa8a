//! The readable twin, in `f64`.

pub(super) fn softmax(row: &mut [f32], scale: f32) {
    let scaled: Vec<f64> = row.iter().map(|x| f64::from(*x) * f64::from(scale)).collect();
    let largest = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<f64> = scaled.iter().map(|x| (x - largest).exp()).collect();
    let sum: f64 = exps.iter().sum();
    for (x, e) in row.iter_mut().zip(exps) {
        *x = (e / sum) as f32;
    }
}
