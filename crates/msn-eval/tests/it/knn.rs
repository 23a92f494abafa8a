//! Nearest neighbours against a naive twin.

use crate::common::{labelled, labels, names, with_threads};
use msn_eval::{Classes, Error, Features, Knn, Labelled};

/// All similarities in `f64`, sorted; the votes summed as the formula has them.
fn naive(knn: &Knn, train: &Labelled, test: &Features) -> Vec<Vec<usize>> {
    let classes = Classes::of(train.labels());
    let labels = classes.indices(train.labels()).expect("its own labels");
    let cosine = |a: &[f32], b: &[f32]| {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    let predict = |k: usize, row: usize| {
        let similarity = |i: usize| cosine(train.features().row(i), test.row(row));
        let mut near: Vec<(f64, usize)> = (0..labels.len()).map(|i| (similarity(i), i)).collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut votes = vec![0.0; classes.len()];
        for (similarity, i) in near.into_iter().take(k) {
            votes[labels[i]] += (similarity / knn.temperature).exp();
        }
        (1..votes.len()).fold(0, |best, c| if votes[c] > votes[best] { c } else { best })
    };
    knn.k.iter().map(|&k| (0..test.rows()).map(|row| predict(k, row)).collect()).collect()
}

#[test]
fn classes_are_those_of_the_naive_twin() {
    // More rows than a block of either side, so that neighbours are merged over blocks.
    let (train, test) = (labelled(7, 400, 12, 2.0, 1), labelled(7, 20, 12, 2.0, 2));
    let knn = Knn { k: vec![20, 1, 10, 200, 5000], temperature: 0.07 };
    let found = knn.classify(&train, test.features()).expect("valid input");
    assert_eq!(found, naive(&knn, &train, test.features()));
    let scores = knn.run(&train, &test).expect("valid input");
    assert_eq!(scores.iter().map(|s| s.k).collect::<Vec<_>>(), knn.k);
    assert!(scores.iter().all(|s| s.top1 > 100.0 / 7.0 && s.top1 < 100.0), "{scores:?}");
}

#[test]
fn a_row_of_the_training_set_is_its_own_nearest_neighbour() {
    let train = labelled(10, 30, 16, 3.0, 1);
    let knn = Knn { k: vec![1], temperature: 0.07 };
    assert_eq!(knn.run(&train, &train).expect("valid input")[0].top1, 100.0);
}

#[test]
fn ties_go_to_the_earlier_row_and_the_first_class() {
    let rows = Features::new(4, 2, [1.0, 0.0].repeat(4)).expect("finite");
    let train = Labelled::new(rows.clone(), names(&[1, 0, 0, 1])).expect("one label a row");
    let knn = Knn { k: vec![1, 2, 3, 4], temperature: 0.07 };
    let found = knn.classify(&train, &rows.select(&[0])).expect("valid input");
    assert_eq!(found, [[1], [0], [0], [0]]);
}

#[test]
fn the_length_of_rows_does_not_matter_and_zero_rows_are_neutral() {
    let data = vec![1e-20, 2e-20, -3e20, 1e20, 0.0, 0.0];
    let train = Labelled::new(Features::new(3, 2, data).expect("finite"), names(&[0, 1, 2])).expect("labels");
    let test = Features::new(3, 2, vec![2.0, 4.0, -3.0, 1.0, 0.0, 0.0]).expect("finite");
    let knn = Knn { k: vec![1], temperature: 0.07 };
    // A zero row is equally far from all: the earliest is its neighbour.
    assert_eq!(knn.classify(&train, &test).expect("valid input"), [[0, 1, 0]]);
}

#[test]
fn a_low_temperature_does_not_overflow() {
    let train = labelled(3, 20, 8, 0.1, 1);
    let knn = Knn { k: vec![60], temperature: 1e-4 };
    assert_eq!(knn.classify(&train, train.features()).expect("valid input"), [labels(3, 20)]);
}

#[test]
fn any_number_of_threads_gives_the_same_classes() {
    let (train, test) = (labelled(5, 60, 9, 3.0, 1), labelled(5, 100, 9, 3.0, 2));
    let run = || Knn { k: vec![7, 20], temperature: 0.07 }.classify(&train, test.features()).expect("valid");
    assert_eq!(with_threads(1, run), with_threads(3, run));
}

#[test]
fn wrong_input_is_named() {
    let train = labelled(2, 2, 3, 1.0, 1);
    let message = |k: usize, temperature: f64| {
        Knn { k: vec![5, k], temperature }.run(&train, &train).expect_err("wrong input").to_string()
    };
    assert_eq!(message(0, 0.07), "k: expected at least 1, found 0");
    assert_eq!(message(1, 0.0), "temperature: expected a finite number above 0, found 0");
    assert_eq!(message(1, f64::NAN), "temperature: expected a finite number above 0, found NaN");
    let wide = Features::new(1, 4, vec![1.0; 4]).expect("finite");
    assert!(matches!(
        Knn::default().classify(&train, &wide),
        Err(Error::Dimension { expected: 3, found: 4 })
    ));
    let unseen = Labelled::new(wide, vec!["other".to_owned()]).expect("one label");
    let train = labelled(2, 2, 4, 1.0, 1);
    assert!(matches!(Knn::default().run(&train, &unseen), Err(Error::UnseenClass { row: 0, .. })));
}
