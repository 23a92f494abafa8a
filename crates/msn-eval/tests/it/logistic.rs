//! The regression against reference values, a naive solver and its own optimality conditions.

use crate::common::{clusters, labels, with_threads};
use msn_eval::{Error, Features, LogisticRegression, accuracy};

fn integers(values: &[f32]) -> Vec<usize> {
    values.iter().map(|&x| x as usize).collect()
}

#[test]
fn golden_weights_objective_and_top1() {
    for case in msn_golden::cases("logistic") {
        let normalised = |name: &str| {
            let array = case.tensor(name);
            Features::new(array.shape[0], array.shape[1], array.data.clone()).expect("finite").normalise()
        };
        let (train, test) = (normalised("train.features"), normalised("test.features"));
        let (train_labels, test_labels) =
            (integers(&case.tensor("train.labels").data), integers(&case.tensor("test.labels").data));
        let expected = case.tensor("weights");
        let fit = LogisticRegression::new(case.f64("lambd"))
            .solve(&train, &train_labels, expected.shape[0])
            .expect("the fit converges");

        // The bound that the reference values are given with.
        let weights: Vec<f32> = fit.weights.iter().map(|&w| w as f32).collect();
        let error = msn_golden::relative_error(&weights, &expected.data);
        assert!(error < 1e-3, "{}: weights differ by {error}", case.name);
        // Ten times the optimality gap |g|^2 / 2 l2 would be far smaller: what is left is the reference's f32.
        let objective = case.f64("objective");
        assert!((fit.objective / objective - 1.0).abs() < 1e-6, "{}: {}", case.name, fit.objective);
        let top1 = accuracy(&fit.classify(&test).expect("same columns"), &test_labels);
        assert!((top1 - 100.0 * case.f64("top1")).abs() < 1e-9, "{}: top-1 {top1}", case.name);
        let logits = fit.logits(&test).expect("same columns");
        let error = msn_golden::relative_error(&logits, &case.tensor("test.logits").data);
        assert!(error < 1e-3, "{}: logits differ by {error}", case.name);
    }
}

/// Objective and gradient [C, D] as the formula has them, in `f64`.
fn naive(rows: &Features, labels: &[usize], weights: &[f64], classes: usize, l2: f64) -> (f64, Vec<f64>) {
    let (n, dim) = (rows.rows() as f64, rows.dim());
    let mut objective = 0.5 * l2 * weights.iter().map(|w| w * w).sum::<f64>();
    let mut gradient: Vec<f64> = weights.iter().map(|w| l2 * w).collect();
    for (i, &label) in labels.iter().enumerate() {
        let x: Vec<f64> = rows.row(i).iter().map(|&x| f64::from(x)).collect();
        let dot = |w: &[f64]| w.iter().zip(&x).map(|(w, x)| w * x).sum::<f64>();
        let logits: Vec<f64> = weights.chunks(dim).map(dot).collect();
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|z| (z - largest).exp()).sum();
        objective += (largest + sum.ln() - logits[label]) / n;
        for c in 0..classes {
            let residual = (logits[c] - largest).exp() / sum - if c == label { 1.0 } else { 0.0 };
            for (g, x) in gradient[c * dim..][..dim].iter_mut().zip(&x) {
                *g += residual * x / n;
            }
        }
    }
    (objective, gradient)
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[test]
fn plain_gradient_descent_finds_the_same_weights() {
    // Fewer rows than columns, more rows than columns.
    for (classes, per_class, dim, lambda) in [(3, 2, 9, 0.1), (4, 6, 5, 0.3)] {
        let rows = clusters(classes, per_class, dim, 0.8, 2).normalise();
        let labels = labels(classes, per_class);
        let l2 = lambda / rows.rows() as f64;
        let mut weights = vec![0.0; classes * dim];
        // Rows have length 1, so that the gradient's Lipschitz constant is at most 1/2 + l2.
        for _ in 0..40_000 {
            let (_, gradient) = naive(&rows, &labels, &weights, classes, l2);
            for (w, g) in weights.iter_mut().zip(gradient) {
                *w -= g / (0.5 + l2);
            }
        }
        let fit = LogisticRegression::new(lambda).solve(&rows, &labels, classes).expect("the fit converges");
        let difference: Vec<f64> = weights.iter().zip(&fit.weights).map(|(a, b)| a - b).collect();
        // The fit is within 1e-6 by strong convexity; gradient descent contracts by 1 - 2 l2 a step, e^-1000 in all.
        assert!(norm(&difference) < 2e-6 * norm(&weights), "{}", norm(&difference) / norm(&weights));
    }
}

#[test]
fn the_reported_objective_and_gradient_are_those_of_the_formula() {
    let (classes, per_class, dim) = (20, 13, 40);
    let rows = clusters(classes, per_class, dim, 1.0, 3).normalise();
    let labels = labels(classes, per_class);
    for lambda in [0.0025, 0.075, 10.0] {
        let fit = LogisticRegression::new(lambda).solve(&rows, &labels, classes).expect("the fit converges");
        let l2 = lambda / rows.rows() as f64;
        let (objective, gradient) = naive(&rows, &labels, &fit.weights, classes, l2);
        assert!((fit.objective / objective - 1.0).abs() < 1e-12, "{} {objective}", fit.objective);
        // 1e-6 as reported, and rounding in f64 of a gradient that is the difference of two larger vectors.
        assert!(norm(&gradient) <= 1.01e-6 * l2 * norm(&fit.weights));
        assert!((fit.gradient_norm - norm(&gradient)).abs() <= 1e-8 * l2 * norm(&fit.weights));
    }
}

#[test]
fn separable_rows_are_classified_without_error_and_converge() {
    let rows = clusters(10, 5, 64, 0.05, 4).normalise();
    let fit = LogisticRegression::new(0.0025).solve(&rows, &labels(10, 5), 10).expect("the fit converges");
    assert_eq!(fit.classify(&rows).expect("same columns"), labels(10, 5));
}

#[test]
fn classes_and_loss_of_many_rows_are_those_of_all_their_logits_at_once() {
    // Two blocks of 512 rows and a part of one; noise that makes errors.
    let (rows, expected) = (clusters(3, 400, 8, 3.0, 2).normalise(), labels(3, 400));
    let few: Vec<usize> = (0..1200).step_by(40).collect();
    let few_labels: Vec<usize> = few.iter().map(|&row| expected[row]).collect();
    let fit = LogisticRegression::new(0.1).solve(&rows.select(&few), &few_labels, 3).expect("it converges");
    let logits = fit.logits(&rows).expect("same columns");
    let largest = |row: &[f32]| (0..3).max_by(|&a, &b| row[a].total_cmp(&row[b])).expect("three");
    assert_eq!(fit.classify(&rows).expect("same columns"), logits.chunks(3).map(largest).collect::<Vec<_>>());
    let loss = |(row, &label): (&[f32], &usize)| {
        row.iter().map(|&z| f64::from(z).exp()).sum::<f64>().ln() - f64::from(row[label])
    };
    let mean = logits.chunks(3).zip(&expected).map(loss).sum::<f64>() / 1200.0;
    let found = fit.cross_entropy(&rows, &expected).expect("same columns");
    // Differences of logits in f32.
    assert!((found - mean).abs() < 1e-6, "{found}, expected {mean}");
    assert_eq!(with_threads(1, || fit.cross_entropy(&rows, &expected)).expect("same columns"), found);
}

#[test]
fn one_class_alone_needs_no_weights() {
    let rows = clusters(1, 5, 8, 0.5, 5);
    let fit = LogisticRegression::new(0.1).solve(&rows, &[0; 5], 1).expect("the fit converges");
    assert_eq!((fit.iterations, fit.objective), (0, 0.0));
    assert!(fit.weights.iter().all(|&w| w == 0.0));
    assert_eq!(fit.probabilities(&rows).expect("same columns"), [1.0; 5]);
}

#[test]
fn a_single_image_is_a_training_set() {
    let rows = Features::new(1, 4, vec![0.5, -0.5, 0.5, -0.5]).expect("finite");
    let fit = LogisticRegression::new(0.1).solve(&rows, &[1], 3).expect("the fit converges");
    assert_eq!(fit.classify(&rows).expect("same columns"), [1]);
}

#[test]
fn repeated_rows_leave_the_optimum_where_it_was() {
    let rows = clusters(3, 4, 6, 1.0, 6).normalise();
    let labels = labels(3, 4);
    let twice: Vec<usize> = (0..12).chain(0..12).collect();
    let labels_twice: Vec<usize> = twice.iter().map(|&i| labels[i]).collect();
    // The penalty is lambda / n: twice the rows with twice the lambda are the same problem.
    let once = LogisticRegression::new(0.1).solve(&rows, &labels, 3).expect("the fit converges");
    let again =
        LogisticRegression::new(0.2).solve(&rows.select(&twice), &labels_twice, 3).expect("it converges");
    let difference: Vec<f64> = once.weights.iter().zip(&again.weights).map(|(a, b)| a - b).collect();
    // Both are within 1e-6 of the optimum.
    assert!(norm(&difference) <= 2e-6 * norm(&once.weights));
}

#[test]
fn identical_rows_of_all_classes_are_a_tie_of_equal_probabilities() {
    let rows = Features::new(3, 2, [0.6, 0.8].repeat(3)).expect("finite");
    let fit = LogisticRegression::new(0.1).solve(&rows, &[0, 1, 2], 3).expect("the fit converges");
    for p in fit.probabilities(&rows).expect("same columns") {
        // Rounding of a sum of three.
        assert!((p - 1.0 / 3.0).abs() < 1e-6);
    }
}

#[test]
fn zero_rows_get_equal_logits_and_the_first_class() {
    let zeros = Features::new(2, 3, vec![0.0; 6]).expect("finite");
    let fit = LogisticRegression::new(0.1).solve(&zeros, &[0, 1], 2).expect("the fit converges");
    assert_eq!(fit.classify(&zeros).expect("same columns"), [0, 0]);
    assert!((fit.objective - 2f64.ln()).abs() < 1e-12);
}

#[test]
fn spent_iterations_are_reported() {
    let rows = clusters(10, 5, 30, 1.0, 7).normalise();
    let few = LogisticRegression { max_iterations: 2, ..LogisticRegression::new(0.0025) };
    let fit = few.fit(&rows, &labels(10, 5), 10).expect("a fit that stops early is returned");
    assert!(!fit.converged && fit.iterations == 2 && fit.relative_gradient_norm > 1e-6);
    let error = few.solve(&rows, &labels(10, 5), 10).expect_err("2 iterations are too few");
    assert!(error.to_string().contains("after 2 iterations"), "{error}");
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let rows = clusters(30, 40, 70, 1.0, 8).normalise();
    let fit = || LogisticRegression::new(0.075).fit(&rows, &labels(30, 40), 30).expect("valid input");
    let one = with_threads(1, fit);
    assert!(one.converged);
    assert_eq!(one, with_threads(3, fit));
}

#[test]
fn wrong_input_is_named() {
    let rows = clusters(2, 2, 3, 1.0, 9);
    let message = |lambda: f64, labels: &[usize]| {
        LogisticRegression::new(lambda).fit(&rows, labels, 2).expect_err("wrong input").to_string()
    };
    assert_eq!(message(0.0, &[0, 0, 1, 1]), "lambda: expected a finite number above 0, found 0");
    assert_eq!(message(f64::NAN, &[0, 0, 1, 1]), "lambda: expected a finite number above 0, found NaN");
    assert_eq!(message(1.0, &[0, 1]), "labels: expected one per row, 4 in all, found 2");
    assert_eq!(message(1.0, &[0, 0, 2, 1]), "labels: row 2: expected a class below 2, found 2");
    let fit = LogisticRegression::new(1.0).fit(&rows, &[0, 0, 1, 1], 2).expect("valid input");
    let wide = Features::new(1, 4, vec![0.0; 4]).expect("finite");
    assert!(matches!(fit.logits(&wide), Err(Error::Dimension { expected: 3, found: 4 })));
}
