//! Reports on probabilities that can be checked by hand.

use crate::common::{labelled, labels, names};
use msn_eval::{
    Classes, ClassificationReport, Confusion, Error, Lambda, LogisticRegression, LowShot,
    classification_report,
};

fn table(classes: usize) -> Classes {
    Classes::of(&names(&(0..classes).collect::<Vec<_>>()))
}

#[test]
fn hits_confusions_and_calibration_are_those_counted_by_hand() {
    // Four images of classes 0, 0, 1, 2; the predicted classes are 0, 1, 1, 1.
    let probabilities = [
        0.90, 0.06, 0.04, /**/ 0.30, 0.45, 0.25, /**/ 0.08, 0.91, 0.01, /**/ 0.20, 0.50, 0.30,
    ];
    let report = ClassificationReport::of(&table(3), &probabilities, &[0, 0, 1, 2]).expect("valid input");
    assert_eq!((report.images, report.top1, report.top5), (4, 50.0, 100.0));
    let pair = |class: usize, predicted: usize, images| {
        let [class, predicted] = [class, predicted].map(|class| format!("class{class:03}"));
        Confusion { class, predicted, images }
    };
    assert_eq!(report.confusion, [pair(0, 0, 1), pair(0, 1, 1), pair(1, 1, 1), pair(2, 1, 1)]);
    let of = |class: usize| (report.classes[class].accuracy, report.classes[class].precision);
    assert_eq!([of(0), of(1)], [(Some(50.0), Some(100.0)), (Some(100.0), Some(100.0 / 3.0))]);
    assert_eq!((of(2), report.classes[2].predicted), ((Some(0.0), None), 0));
    assert_eq!(report.mean_class_accuracy, 50.0);
    assert_eq!(report.mistakes(5), [&pair(0, 1, 1), &pair(2, 1, 1)]);
    assert_eq!(report.mistakes(1).len(), 1);
    // 0.90 and 0.91 lie in (13/15, 14/15], both right; 0.45 and 0.50 in (6/15, 7/15] and (7/15, 8/15], both wrong.
    let bins: Vec<_> = report.calibration.iter().map(|bin| (bin.images, bin.accuracy)).collect();
    assert_eq!(bins, [(1, 0.0), (1, 0.0), (2, 100.0)]);
    let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    // (|0 - 0.45| + |0 - 0.50| + |2 - 1.81|) / 4, rounding of f32.
    close(report.ece, 100.0 * (0.45 + 0.50 + 0.19) / 4.0);
    close(report.cross_entropy, -(0.9f64.ln() + 0.3f64.ln() + 0.91f64.ln() + 0.3f64.ln()) / 4.0);
}

#[test]
fn the_five_most_probable_classes_count_and_ties_go_to_the_earlier_class() {
    let rank_5 = [0.30, 0.25, 0.20, 0.15, 0.06, 0.04];
    let of = |label| ClassificationReport::of(&table(6), &rank_5, &[label]).expect("valid input");
    assert_eq!([of(0).top5, of(4).top5, of(5).top5], [100.0, 100.0, 0.0]);
    let even = [0.125; 8];
    let of = |label| ClassificationReport::of(&table(8), &even, &[label]).expect("valid input");
    assert_eq!([of(0).top1, of(1).top1, of(4).top5, of(5).top5], [100.0, 0.0, 100.0, 0.0]);
}

#[test]
fn probabilities_of_one_and_zero_have_a_bin_and_a_finite_loss() {
    let report = ClassificationReport::of(&table(2), &[1.0, 0.0, 1.0, 0.0], &[0, 1]).expect("valid input");
    assert_eq!((report.calibration.len(), report.calibration[0].interval[1]), (1, 1.0));
    assert!((report.ece - 50.0).abs() < 1e-12 && report.cross_entropy.is_finite());
}

#[test]
fn a_fit_is_reported_as_the_protocol_scores_it() {
    let (train, test) = (labelled(6, 9, 12, 2.5, 1), labelled(6, 30, 12, 2.5, 2));
    let (report, lambda) = classification_report(&train, &test, Lambda::Default).expect("valid input");
    let protocol = LowShot { amounts: vec![9.into()], splits: 1, ..LowShot::default() };
    let score = protocol.run(&train, &test).expect("valid input").scores.remove(0);
    assert_eq!((report.top1, lambda), (score.mean, score.splits[0].lambda));
    assert!(report.top5 > report.top1 && report.top1 > 100.0 / 6.0, "{report:?}");
    assert_eq!(report.confusion.iter().map(|pair| pair.images).sum::<usize>(), 180);
    let back: ClassificationReport =
        serde_json::from_str(&serde_json::to_string(&report).expect("numbers and lists"))
            .expect("as written");
    assert_eq!(back.confusion, report.confusion);
}

#[test]
fn a_report_on_many_rows_is_that_of_all_their_probabilities_at_once() {
    // More than the 4,096 that are classified at a time.
    let (train, test) = (labelled(6, 9, 12, 2.5, 1), labelled(6, 700, 12, 2.5, 2));
    let (report, lambda) = classification_report(&train, &test, Lambda::Default).expect("valid input");
    let fit = LogisticRegression::new(lambda);
    let fit = fit.fit(&train.features().clone().normalise(), &labels(6, 9), 6).expect("valid input");
    let probabilities = fit.probabilities(&test.features().clone().normalise()).expect("as wide");
    let expected = ClassificationReport::of(&table(6), &probabilities, &labels(6, 700)).expect("valid input");
    assert_eq!(report, expected);
}

#[test]
fn wrong_input_is_named() {
    let of = |p: &[f32], labels: &[usize]| ClassificationReport::of(&table(2), p, labels);
    assert!(matches!(of(&[0.5, 0.5], &[0, 1]), Err(Error::LabelCount { rows: 1, found: 2 })));
    assert!(matches!(of(&[], &[]), Err(Error::LabelCount { .. })));
    assert!(matches!(of(&[0.5, 0.5], &[2]), Err(Error::LabelRange { row: 0, classes: 2, found: 2 })));
    let (train, test) = (labelled(2, 3, 4, 1.0, 1), labelled(3, 2, 4, 1.0, 2));
    let unseen = classification_report(&train, &test, Lambda::Default);
    assert!(matches!(unseen, Err(Error::UnseenClass { row: 4, .. })));
    let wide = labelled(2, 3, 5, 1.0, 1);
    let wide = classification_report(&train, &wide, Lambda::Default);
    assert!(matches!(wide, Err(Error::Dimension { expected: 4, found: 5 })));
}
