//! A logistic regression as a layer of the encoder.

use msn_model::{Array, LinearHead, StateDict};

use crate::{Classes, Error, LogisticFit};

/// Scales of the final norm below which the features before it cannot be had from those after it.
const SMALLEST_SCALE: f32 = 1e-6;

/// The linear layer on the [CLS] after the encoder's final norm whose logits are those of `fit`, a regression on
/// normalised features from before that norm ([`Features::BeforeNorm`](msn_model::Features::BeforeNorm)).
///
/// Let z be a [CLS] less its mean, divided by its deviation. The regression reads z / sqrt(D), which has length 1, and
/// the final norm gives y = g z + b. So W z / sqrt(D) = (W / (sqrt(D) g)) y - W (b / (sqrt(D) g)). (The norm adds 1e-6
/// to the variance, which for [CLS] tokens of variance about 1 is a millionth.)
///
/// # Errors
/// [`Error::Dimension`] if the encoder is not as wide as the features; [`Error::NormScale`] where g is 0.
///
/// # Panics
/// If `weights` have no final norm.
pub fn linear_head(classes: &Classes, fit: &LogisticFit, weights: &StateDict) -> Result<LinearHead, Error> {
    let (scale, shift) = (&weights["norm.weight"].data, &weights["norm.bias"].data);
    if scale.len() != fit.dim {
        return Err(Error::Dimension { expected: fit.dim, found: scale.len() });
    }
    if let Some(column) = scale.iter().position(|scale| scale.abs() < SMALLEST_SCALE) {
        return Err(Error::NormScale { column, found: scale[column] });
    }
    let root = (fit.dim as f64).sqrt();
    let unscaled: Vec<f64> = fit
        .weights
        .chunks(fit.dim)
        .flat_map(|row| row.iter().zip(scale).map(|(weight, &scale)| weight / (root * f64::from(scale))))
        .collect();
    let bias = unscaled.chunks(fit.dim).map(|row| {
        let product: f64 = row.iter().zip(shift).map(|(weight, &shift)| weight * f64::from(shift)).sum();
        -product as f32
    });
    let bias = Array::new(vec![fit.classes], bias.collect());
    let weight =
        Array::new(vec![fit.classes, fit.dim], unscaled.iter().map(|&weight| weight as f32).collect());
    Ok(LinearHead { classes: classes.names().to_vec(), weight, bias })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Features, Labelled, Lambda, fit_labels};

    #[test]
    fn its_logits_are_those_of_the_regression() {
        // Features before the norm, of three classes; any numbers do.
        let (rows, dim) = (12, 5);
        let value = |i: usize| ((i * 7919 + i / dim % 3 * 4242) % 1013) as f32 / 100.0 - 5.0;
        let data: Vec<f32> = (0..rows * dim).map(value).collect();
        let labels = (0..rows).map(|row| format!("class {}", row % 3)).collect();
        let features = Features::new(rows, dim, data).expect("finite");
        let labelled = Labelled::new(features.clone(), labels).expect("a label a row");
        let (classes, fit) = fit_labels(&labelled, Lambda::Default).expect("converges");

        let (scale, shift) = ([0.5, -2.0, 1.0, 3.0, 0.1], [0.3, 0.0, -1.0, 2.0, 5.0]);
        let array = |values: [f32; 5]| Array::new(vec![dim], values.to_vec());
        let weights =
            StateDict::from([("norm.weight".into(), array(scale)), ("norm.bias".into(), array(shift))]);
        let head = linear_head(&classes, &fit, &weights).expect("no scale is 0");
        let expected = fit.logits(&features.clone().normalise()).expect("as wide");
        for row in 0..rows {
            let x: Vec<f64> = features.row(row).iter().map(|&x| x.into()).collect();
            let mean = x.iter().sum::<f64>() / dim as f64;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / dim as f64;
            for class in 0..3 {
                let y = |j: usize| {
                    (x[j] - mean) / (variance + 1e-6).sqrt() * f64::from(scale[j]) + f64::from(shift[j])
                };
                let product: f64 =
                    (0..dim).map(|j| f64::from(head.weight.data[class * dim + j]) * y(j)).sum();
                let found = product + f64::from(head.bias.data[class]);
                let expected = f64::from(expected[row * 3 + class]);
                // Weights of about 100 in f32.
                assert!((found - expected).abs() < 1e-4, "row {row}, class {class}: {found} for {expected}");
            }
        }
        let zero = StateDict::from([
            ("norm.weight".into(), array([1.0, 1.0, 0.0, 1.0, 1.0])),
            ("norm.bias".into(), array(shift)),
        ]);
        assert!(linear_head(&classes, &fit, &zero).expect_err("0").to_string().contains("column 2"));
    }
}
