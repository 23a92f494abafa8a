//! The low-shot protocol and predictions from a few labels.

use crate::common::{clusters, labelled, labels, names, with_threads};
use msn_eval::{
    Amount, Classes, Error, Features, Labelled, Lambda, LogisticRegression, LowShot, LowShotReport,
    Predictions, Predictor, Probabilities, SplitSet, accuracy, default_lambda, draw, fit_labels,
};
use msn_model::{Array, LinearHead};

fn shots(shots: &[usize]) -> Vec<Amount> {
    shots.iter().copied().map(Amount::Shots).collect()
}

#[test]
fn scores_are_those_of_the_steps_done_by_hand() {
    let (train, test) = (labelled(6, 12, 20, 2.5, 1), labelled(6, 30, 20, 2.5, 2));
    let protocol = LowShot { seed: 9, ..LowShot::default() };
    let report = protocol.run(&train, &test).expect("valid input");
    assert_eq!((report.classes, report.test_images), (6, 180));
    assert_eq!(report.scores.iter().map(|s| s.shots).collect::<Vec<_>>(), [1, 2, 5]);
    let classes = Classes::of(train.labels());
    for score in &report.scores {
        assert!(score.splits.iter().all(|split| split.lambda == 0.0025));
        let by_hand: Vec<f64> = (0..3)
            .map(|split| {
                let images = draw(&labels(6, 12), &classes, score.shots, 9, split).expect("12 are enough");
                let of_images: Vec<usize> = images.iter().map(|i| i / 12).collect();
                let rows = train.features().select(&images).normalise();
                let fit = LogisticRegression::new(0.0025).solve(&rows, &of_images, 6).expect("it converges");
                let test_rows = test.features().clone().normalise();
                accuracy(&fit.classify(&test_rows).expect("same columns"), &labels(6, 30))
            })
            .collect();
        assert_eq!(score.splits.iter().map(|s| s.top1).collect::<Vec<_>>(), by_hand);
        assert!(score.splits.iter().all(|s| s.converged));
        let [a, b, c] = by_hand[..] else { panic!("three splits") };
        let mean = (a + b + c) / 3.0;
        let sd = (((a - mean).powi(2) + (b - mean).powi(2) + (c - mean).powi(2)) / 2.0).sqrt();
        // Rounding in f64 of percentages.
        assert!((score.mean - mean).abs() < 1e-9 && (score.sd - sd).abs() < 1e-9);
    }
    assert!(report.scores[0].mean < report.scores[2].mean, "five images tell more than one");
}

#[test]
fn a_report_survives_json_and_prints_as_a_table() {
    let (train, test) = (labelled(3, 5, 8, 0.1, 1), labelled(3, 4, 8, 0.1, 2));
    let report =
        LowShot { amounts: shots(&[1, 5]), ..LowShot::default() }.run(&train, &test).expect("valid input");
    let text = serde_json::to_string(&report).expect("numbers and lists");
    let back: LowShotReport = serde_json::from_str(&text).expect("what was written");
    // The reader of serde_json may miss the last bit of a number; percentages of 12 images are exact.
    assert_eq!(back.to_string(), report.to_string());
    assert_eq!(back.scores[1].splits.len(), 3);
    let value: serde_json::Value = serde_json::from_str(&text).expect("what was written");
    assert_eq!(value["scores"][1]["shots"], 5);
    assert_eq!(value["scores"][1]["mean"], 100.0);
    let expected = "3 classes, 12 test images, top-1 in percent\nshots lambda   mean    sd\n    1 0.0025 100.00  0.00\n    5 0.0025 100.00  0.00";
    assert_eq!(report.to_string(), expected);
}

#[test]
fn a_fit_that_does_not_converge_is_marked_in_the_table() {
    let (train, test) = (labelled(3, 5, 8, 0.1, 1), labelled(3, 4, 8, 0.1, 2));
    let mut report =
        LowShot { amounts: shots(&[1]), ..LowShot::default() }.run(&train, &test).expect("valid input");
    report.scores[0].splits[1].converged = false;
    assert!(report.to_string().ends_with("1 of 3 fits did not converge"));
}

#[test]
fn the_default_penalty_depends_on_the_shots() {
    assert_eq!([1, 5, 6, 13].map(default_lambda), [0.0025, 0.0025, 0.075, 0.075]);
    let (train, test) = (labelled(2, 8, 6, 0.5, 1), labelled(2, 4, 6, 0.5, 2));
    let lambdas = |lambda| {
        let report = LowShot { amounts: shots(&[5, 6]), lambda, ..LowShot::default() }.run(&train, &test);
        report.expect("valid input").scores.iter().map(|s| s.splits[0].lambda).collect::<Vec<_>>()
    };
    assert_eq!(lambdas(Lambda::Default), [0.0025, 0.075]);
    assert_eq!(lambdas(Lambda::Fixed(0.01)), [0.01, 0.01]);
}

#[test]
fn a_percentage_labels_that_part_of_each_class() {
    // Three classes of 40, 20 and 4 images.
    let sizes = [40, 20, 4];
    let (all, test) = (labelled(3, 40, 8, 1.5, 1), labelled(3, 10, 8, 1.5, 2));
    let rows: Vec<usize> = (0..3).flat_map(|class| (0..sizes[class]).map(move |i| class * 40 + i)).collect();
    let of_rows = rows.iter().map(|&row| all.labels()[row].clone()).collect();
    let train = Labelled::new(all.features().select(&rows), of_rows).expect("one label a row");
    let amounts = vec![Amount::Percent(10.0), Amount::Percent(100.0)];
    let report =
        LowShot { amounts: amounts.clone(), ..LowShot::default() }.run(&train, &test).expect("valid");
    assert_eq!(report.scores.iter().map(|s| s.amount()).collect::<Vec<_>>(), amounts);
    // 10%: 4, 2 and, of four, at least 1.
    assert_eq!(
        report.scores.iter().map(|s| (s.shots, s.splits[0].images)).collect::<Vec<_>>(),
        [(4, 7), (40, 64)]
    );
    // All images are one and the same draw.
    assert_eq!((report.scores[1].sd, report.scores[1].splits.len()), (0.0, 3));
    assert!(report.to_string().contains("\n  10% 0.0025 "), "{report}");
}

#[test]
fn given_splits_score_like_the_draws_they_repeat() {
    let (train, test) = (labelled(4, 9, 10, 1.5, 1), labelled(4, 9, 10, 1.5, 2));
    let protocol = LowShot { amounts: shots(&[2]), ..LowShot::default() };
    let classes = Classes::of(train.labels());
    let splits =
        (0..3).map(|split| draw(&labels(4, 9), &classes, 2, 0, split).expect("9 are enough")).collect();
    let drawn = protocol.run(&train, &test).expect("valid input");
    let set = |splits| SplitSet { amount: None, splits };
    assert_eq!(protocol.run_splits(&train, &test, &[set(splits)]).expect("valid input"), drawn);
    for empty in [vec![], vec![vec![]]] {
        assert!(matches!(protocol.run_splits(&train, &test, &[set(empty)]), Err(Error::Setting { .. })));
    }
}

#[test]
fn any_number_of_threads_gives_the_same_report() {
    let (train, test) = (labelled(5, 6, 12, 2.0, 1), labelled(5, 50, 12, 2.0, 2));
    let run = || LowShot::default().run(&train, &test).expect("valid input");
    assert_eq!(with_threads(1, run), with_threads(4, run));
}

#[test]
fn wrong_input_is_named() {
    let (train, test) = (labelled(2, 3, 4, 1.0, 1), labelled(3, 2, 4, 1.0, 2));
    let message = |count: usize, train: &Labelled, test: &Labelled| {
        let protocol = LowShot { amounts: vec![Amount::Shots(count)], ..LowShot::default() };
        protocol.run(train, test).expect_err("wrong input").to_string()
    };
    assert_eq!(
        message(1, &train, &test),
        "test row 4: class `class002` is not among the 2 classes of the training labels"
    );
    assert_eq!(
        message(4, &train, &train),
        "class `class000`: expected at least 4 images to draw from, found 3"
    );
    let wide = labelled(2, 3, 5, 1.0, 1);
    assert_eq!(message(1, &train, &wide), "features: expected 4 columns as in training, found 5");
    let none = LowShot { splits: 0, ..LowShot::default() }.run(&train, &train).expect_err("no split");
    assert_eq!(none.to_string(), "splits: expected at least 1, found 0");
}

fn predict(
    labelled: &Labelled,
    images: &Features,
    probabilities: Probabilities,
) -> Result<Predictions, Error> {
    Predictor::of_labels(labelled, Lambda::Default)?.rows(images, probabilities)
}

#[test]
fn predictions_name_the_class_and_its_probability() {
    let few = labelled(4, 2, 16, 0.3, 1);
    let images = clusters(4, 25, 16, 0.3, 2);
    let found = predict(&few, &images, Probabilities::All).expect("valid input");
    let found = found.best;
    assert_eq!(found.iter().map(|p| p.label.clone()).collect::<Vec<_>>(), names(&labels(4, 25)));
    // Confident beyond chance, and a probability.
    assert!(found.iter().all(|p| p.probability > 0.5 && p.probability <= 1.0));
}

#[test]
fn the_probability_is_the_softmax_of_the_fit() {
    let (few, images) = (labelled(3, 6, 8, 2.0, 1), clusters(3, 5, 8, 2.0, 2));
    let found = predict(&few, &images, Probabilities::All).expect("valid input");
    // Six images of a class: the larger penalty.
    let fit = LogisticRegression::new(0.075);
    let fit = fit.solve(&few.features().clone().normalise(), &labels(3, 6), 3).expect("it converges");
    let expected = fit.probabilities(&images.normalise()).expect("same columns");
    assert_eq!(found.probabilities.as_deref(), Some(&expected[..]));
    assert_eq!(found.classes, names(&[0, 1, 2]));
    for (found, row) in found.best.iter().zip(expected.chunks(3)) {
        let best = row.iter().copied().fold(0.0, f32::max);
        assert_eq!(found.probability, f64::from(best));
    }
}

#[test]
fn one_labelled_image_decides_for_all() {
    let one = Labelled::new(clusters(1, 1, 4, 0.1, 1), vec!["only".to_owned()]).expect("one label");
    let images = clusters(2, 2, 4, 0.1, 2);
    let found = predict(&one, &images, Probabilities::Best).expect("valid input");
    assert_eq!(found.probabilities, None);
    let found = found.best;
    assert!(found.len() == 4 && found.iter().all(|p| p.label == "only" && p.probability == 1.0));
    let wide = Features::new(1, 5, vec![0.0; 5]).expect("finite");
    let refused = predict(&one, &wide, Probabilities::Best);
    assert!(matches!(refused, Err(Error::Dimension { expected: 4, found: 5 })));
}

/// Three classes of 1,366 rows: two more than the 4,096 that are classified at a time.
fn many_rows() -> Features {
    clusters(3, 1366, 5, 1.0, 2)
}

/// Softmax in f64 of the logits that `logit` gives for each of three classes.
fn softmax(logit: impl Fn(usize) -> f64) -> [f64; 3] {
    let exponentials = [0, 1, 2].map(|class| logit(class).exp());
    exponentials.map(|exponential| exponential / exponentials.iter().sum::<f64>())
}

fn assert_predicted(found: &Predictions, expected: impl Fn(usize) -> [f64; 3]) {
    let probabilities = found.probabilities.as_ref().expect("all are kept");
    assert_eq!((found.best.len(), probabilities.len()), (4098, 3 * 4098));
    for (row, (best, probabilities)) in found.best.iter().zip(probabilities.chunks(3)).enumerate() {
        let expected = expected(row);
        for (found, expected) in probabilities.iter().zip(expected) {
            // Logits of up to about 10 in f32.
            assert!((f64::from(*found) - expected).abs() < 1e-5, "row {row}: {found}, expected {expected}");
        }
        let class = (0..3).max_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b])).expect("three");
        let probability = f64::from(probabilities[class]);
        assert_eq!((&best.label, best.probability), (&found.classes[class], probability), "row {row}");
    }
}

#[test]
fn any_number_of_rows_is_predicted_as_each_by_itself() {
    let (few, images) = (labelled(3, 6, 5, 1.0, 1), many_rows());
    let found = predict(&few, &images, Probabilities::All).expect("valid input");
    let (_, fit) = fit_labels(&few, Lambda::Default).expect("it converges");
    assert_predicted(&found, |row| {
        let logits = fit.logits(&images.select(&[row]).normalise()).expect("as wide");
        softmax(|class| logits[class].into())
    });
}

#[test]
fn any_number_of_rows_is_predicted_by_a_classifier_as_by_hand() {
    let images = many_rows();
    let weight = Array::new(vec![3, 5], clusters(3, 1, 5, 0.1, 3).data().to_vec());
    let bias = Array::new(vec![3], vec![0.5, -1.0, 0.25]);
    let head = LinearHead { classes: names(&[0, 1, 2]), weight, bias };
    let by_head = Predictor::of_head(head.clone());
    let found = by_head.rows(&images, Probabilities::All).expect("as wide");
    assert_predicted(&found, |row| {
        softmax(|class| {
            let weights = &head.weight.data[5 * class..][..5];
            let product = weights.iter().zip(images.row(row)).map(|(w, x)| f64::from(*w) * f64::from(*x));
            f64::from(head.bias.data[class]) + product.sum::<f64>()
        })
    });
    let best = by_head.rows(&images, Probabilities::Best).expect("as wide");
    assert_eq!((best.best, best.probabilities), (found.best, None));
}
