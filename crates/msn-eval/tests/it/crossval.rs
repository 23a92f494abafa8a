//! The choice of the penalty.

use crate::common::{clusters, labelled, labels};
use msn_eval::{
    Amount, Error, Features, Lambda, LogisticRegression, LowShot, cross_validate, default_lambda,
};

/// Mean cross-entropy of the `parts`, each by a fit from zero on all other rows.
fn by_hand(rows: &Features, labels: &[usize], classes: usize, parts: &[&[usize]], lambda: f64) -> f64 {
    let of = |rows: &[usize]| rows.iter().map(|&row| labels[row]).collect::<Vec<_>>();
    let mut loss = 0.0;
    for part in parts {
        let kept: Vec<usize> = (0..labels.len()).filter(|row| !part.contains(row)).collect();
        let fit = LogisticRegression::new(lambda).solve(&rows.select(&kept), &of(&kept), classes);
        let probabilities = fit.expect("it converges").probabilities(&rows.select(part)).expect("as wide");
        for (p, &label) in probabilities.chunks(classes).zip(&of(part)) {
            loss -= f64::from(p[label]).ln();
        }
    }
    loss / parts.concat().len() as f64
}

/// The fits that choose stop at a relative gradient of 1e-4.
fn assert_close(found: f64, expected: f64) {
    assert!((found / expected - 1.0).abs() < 1e-3, "{found} {expected}");
}

#[test]
fn losses_are_those_of_fits_on_the_other_parts() {
    let rows = clusters(4, 3, 10, 2.0, 1).normalise();
    let found = cross_validate(&rows, &labels(4, 3), 4).expect("valid input").expect("three parts");
    assert!(found.losses.windows(2).all(|pair| pair[0].0 > pair[1].0), "{found:?}");
    let parts: [&[usize]; 3] = [&[0, 3, 6, 9], &[1, 4, 7, 10], &[2, 5, 8, 11]];
    for &(lambda, loss) in &found.losses {
        assert_close(loss, by_hand(&rows, &labels(4, 3), 4, &parts, lambda));
    }
    let lowest = found.losses.iter().map(|l| l.1).fold(f64::INFINITY, f64::min);
    assert!(found.losses.contains(&(found.best, lowest)));
}

#[test]
fn noisy_images_ask_for_a_larger_penalty() {
    let best = |noise| {
        let rows = clusters(5, 8, 12, noise, 3).normalise();
        cross_validate(&rows, &labels(5, 8), 5).expect("valid input").expect("several images a class").best
    };
    assert!(best(0.3) < best(4.0), "{} {}", best(0.3), best(4.0));
}

#[test]
fn with_one_image_a_class_the_default_is_kept() {
    let rows = clusters(6, 1, 8, 1.0, 4).normalise();
    assert_eq!(cross_validate(&rows, &labels(6, 1), 6).expect("valid input"), None);
    let chosen = Lambda::CrossValidated.choose(&rows, &labels(6, 1), 6).expect("valid input");
    assert_eq!(chosen, default_lambda(1));
}

#[test]
fn an_image_alone_in_its_class_is_never_held_out() {
    let rows = clusters(3, 2, 8, 1.0, 5).normalise();
    // The third class has one image only.
    let (rows, labels) = (rows.select(&[0, 1, 2, 3, 4]), [0, 0, 1, 1, 2]);
    let found = cross_validate(&rows, &labels, 3).expect("valid input").expect("two classes to compare");
    for &(lambda, loss) in &found.losses {
        assert_close(loss, by_hand(&rows, &labels, 3, &[&[0, 2], &[1, 3]], lambda));
    }
}

#[test]
fn the_protocol_chooses_a_penalty_for_each_split_from_its_images() {
    let (train, test) = (labelled(4, 20, 10, 2.5, 1), labelled(4, 20, 10, 2.5, 2));
    let protocol = LowShot {
        amounts: vec![Amount::Shots(1), Amount::Shots(10)],
        lambda: Lambda::CrossValidated,
        ..LowShot::default()
    };
    let report = protocol.run(&train, &test).expect("valid input");
    assert_eq!(report.scores[0].lambdas(), "0.0025");
    for split in &report.scores[1].splits {
        let exponent = split.lambda.log10() * 2.0;
        assert!(
            (exponent - exponent.round()).abs() < 1e-9 && (1e-4..=10.0).contains(&split.lambda),
            "{split:?}"
        );
    }
    // Another test set changes nothing about the choice.
    let other = protocol.run(&train, &labelled(4, 7, 10, 5.0, 9)).expect("valid input");
    let lambdas = |report: &msn_eval::LowShotReport| -> Vec<f64> {
        report.scores.iter().flat_map(|s| s.splits.iter().map(|split| split.lambda)).collect()
    };
    assert_eq!(lambdas(&report), lambdas(&other));
}

#[test]
fn a_path_ends_where_single_fits_end() {
    let (rows, labels) = (clusters(5, 6, 9, 1.0, 6).normalise(), labels(5, 6));
    let lambdas = [0.01, 1.0, 0.1];
    let path = LogisticRegression::new(1.0).path(&lambdas, &rows, &labels, 5).expect("valid input");
    for (fit, lambda) in path.iter().zip(lambdas) {
        let alone = LogisticRegression::new(lambda).solve(&rows, &labels, 5).expect("it converges");
        assert!(fit.converged);
        let norm = |w: &mut dyn Iterator<Item = f64>| w.map(|x| x * x).sum::<f64>().sqrt();
        let apart = norm(&mut fit.weights.iter().zip(&alone.weights).map(|(a, b)| a - b));
        // Both are within 1e-6 of the optimum.
        assert!(apart <= 2e-6 * norm(&mut alone.weights.iter().copied()), "lambda {lambda}: {apart}");
    }
}

#[test]
fn wrong_input_is_named() {
    let rows = clusters(2, 2, 3, 1.0, 9);
    assert!(matches!(cross_validate(&rows, &[0, 1], 2), Err(Error::LabelCount { rows: 4, found: 2 })));
    assert!(matches!(cross_validate(&rows, &[0, 0, 1, 2], 2), Err(Error::LabelRange { row: 3, .. })));
    let path = LogisticRegression::new(1.0).path(&[0.1, -1.0], &rows, &[0, 0, 1, 1], 2);
    assert!(matches!(path, Err(Error::Setting { field: "lambda", .. })));
    for wrong in ["0", "-1", "inf", "automatic", ""] {
        assert!(wrong.parse::<Lambda>().is_err(), "{wrong}");
    }
    assert_eq!(("auto".parse(), "0.5".parse()), (Ok(Lambda::CrossValidated), Ok(Lambda::Fixed(0.5))));
}
