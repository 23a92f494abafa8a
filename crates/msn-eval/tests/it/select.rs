//! Which images are chosen to be labelled.

use std::collections::BTreeSet;

use crate::common::{clusters, labelled, with_threads};
use msn_eval::{Error, Features, Labelled, Lambda, SelectionScore, select, select_at_random};

#[test]
fn one_image_of_each_cluster_is_chosen() {
    // Clusters of unequal size that are far apart: ten rows of each, thirty of the first.
    let rows = clusters(6, 30, 16, 0.2, 1);
    let kept: Vec<usize> = (0..180).filter(|row| *row < 30 || row % 30 < 10).collect();
    let rows = rows.select(&kept);
    for seed in 0..5 {
        let chosen = select(&rows, &BTreeSet::new(), 6, seed).expect("fewer than rows");
        let classes: BTreeSet<usize> = chosen.iter().map(|&row| kept[row] / 30).collect();
        assert_eq!(classes.len(), 6, "seed {seed}: {chosen:?}");
        assert_eq!(kept[chosen[0]] / 30, 0, "the largest cluster comes first");
    }
}

#[test]
fn images_like_labelled_ones_are_left_out() {
    let rows = clusters(6, 20, 16, 0.2, 1);
    // One of each of the first three clusters, and two of the fourth.
    let labelled = BTreeSet::from([3, 25, 44, 61, 70]);
    for seed in 0..5 {
        let chosen = select(&rows, &labelled, 2, seed).expect("fewer than rows");
        let classes: BTreeSet<usize> = chosen.iter().map(|&row| row / 20).collect();
        assert_eq!(chosen.len(), 2, "seed {seed}");
        assert!(chosen.iter().all(|row| !labelled.contains(row)), "seed {seed}: {chosen:?}");
        assert!(classes.contains(&4) && classes.contains(&5), "seed {seed}: {chosen:?}");
    }
    let all_but_one: BTreeSet<usize> = (0..119).collect();
    assert_eq!(select(&rows, &all_but_one, 1, 0).expect("one is left"), [119]);
    assert!(matches!(select(&rows, &all_but_one, 2, 0), Err(Error::Budget { rows: 1, found: 2 })));
}

#[test]
fn the_chosen_image_is_the_one_with_the_nearest_neighbours() {
    // One cluster: the most typical row by the definition, over all pairs.
    let rows = clusters(1, 60, 8, 1.0, 2);
    let unit = rows.clone().normalise();
    let distance = |a: usize, b: usize| {
        unit.row(a).iter().zip(unit.row(b)).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
    };
    let mean = |row: usize| {
        let mut others: Vec<f64> = (0..60).filter(|&o| o != row).map(|o| distance(row, o)).collect();
        others.sort_by(f64::total_cmp);
        others[..20].iter().sum::<f64>()
    };
    let expected = (0..60).min_by(|&a, &b| mean(a).total_cmp(&mean(b))).expect("sixty rows");
    assert_eq!(select(&rows, &BTreeSet::new(), 1, 0).expect("one of sixty"), [expected]);
}

#[test]
fn a_selection_has_no_image_twice_and_repeats_with_its_seed() {
    let rows = clusters(4, 25, 10, 3.0, 3);
    for budget in [1, 7, 99, 100] {
        let chosen = select(&rows, &BTreeSet::new(), budget, 5).expect("at most as many as rows");
        assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), budget);
        assert_eq!(with_threads(3, || select(&rows, &BTreeSet::new(), budget, 5)).expect("the same"), chosen);
        let random = select_at_random(100, budget, 5).expect("at most as many as rows");
        assert_eq!(random.iter().collect::<BTreeSet<_>>().len(), budget);
        assert_eq!(select_at_random(100, budget, 5).expect("the same"), random);
    }
    assert_ne!(select_at_random(100, 7, 5).expect("of 100"), select_at_random(100, 7, 6).expect("of 100"));
}

#[test]
fn equal_images_can_be_chosen_from() {
    let rows = Features::new(5, 2, [1.0, 2.0].repeat(5)).expect("finite");
    let chosen = select(&rows, &BTreeSet::new(), 3, 0).expect("three of five");
    assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), 3);
}

#[test]
fn a_class_without_label_counts_as_wrong() {
    let (train, test) = (labelled(4, 5, 16, 0.1, 1), labelled(4, 10, 16, 0.1, 2));
    // Two of four classes are labelled, then all.
    let score = |selections: &[Vec<usize>]| {
        SelectionScore::of(&train, &test, selections, Lambda::Default).expect("valid input")
    };
    let found = score(&[vec![0, 5], vec![0, 5, 10, 15]]);
    assert_eq!((found.top1.as_slice(), found.mean, found.classes), (&[50.0, 100.0][..], 75.0, 3.0));
    // One class alone is what every image is taken for.
    assert_eq!(score(&[vec![0, 1]]).top1, [25.0]);
}

#[test]
fn chosen_labels_go_further_than_random_ones() {
    let (train, test) = (labelled(10, 40, 16, 1.0, 1), labelled(10, 20, 16, 1.0, 2));
    let ten = |choose: &dyn Fn(u64) -> Vec<usize>| {
        let selections: Vec<_> = (0..10).map(choose).collect();
        SelectionScore::of(&train, &test, &selections, Lambda::Default).expect("valid input")
    };
    let random = ten(&|seed| select_at_random(400, 10, seed).expect("of 400"));
    let chosen = ten(&|seed| select(train.features(), &BTreeSet::new(), 10, seed).expect("of 400"));
    assert!(chosen.mean > random.mean + 10.0 && chosen.classes > random.classes, "{chosen:?} {random:?}");
}

#[test]
fn wrong_input_is_named() {
    let rows = clusters(1, 3, 2, 1.0, 1);
    for budget in [0, 4] {
        let message = select(&rows, &BTreeSet::new(), budget, 0).expect_err("out of range").to_string();
        assert_eq!(message, format!("budget: expected a number of images from 1 to 3, found {budget}"));
        assert!(matches!(select_at_random(3, budget, 0), Err(Error::Budget { rows: 3, .. })));
    }
    let few = Labelled::new(rows, vec!["a".to_owned(); 3]).expect("one label a row");
    let wide = labelled(1, 3, 5, 1.0, 1);
    let wide = SelectionScore::of(&few, &wide, &[vec![0]], Lambda::Default);
    assert!(matches!(wide, Err(Error::Dimension { expected: 2, found: 5 })));
}
