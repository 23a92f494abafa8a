//! Which images to label first.

mod kmeans;

use std::borrow::Cow;
use std::collections::BTreeSet;

use msn_data::rng::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::knn::{Neighbour, TEST_BLOCK, nearest};
use crate::logistic::Training;
use crate::lowshot::mean_and_deviation;
use crate::permutation::permuted;
use crate::{Error, Features, Labelled, Lambda};

use kmeans::kmeans;

/// Neighbours that decide how typical an image is.
const NEIGHBOURS: usize = 20;
/// Members of a cluster that are compared, each with all others: 10^8 distances, which take seconds. All pairs of a cluster of
/// a million rows would take hours.
const COMPARED: usize = 10_000;
/// In the place of a split's number in the key of a draw, so that no draw of a split has the same; `u64::MAX - 2` is that of
/// the linear probe.
const CLUSTERS: u64 = u64::MAX;
const AT_RANDOM: u64 = u64::MAX - 1;
const MEMBERS: u64 = u64::MAX - 3;

/// The numbers of `budget` rows to label besides those that are `labelled` already: one for each cluster of the rows that has
/// no labelled one, the largest cluster first.
///
/// TypiClust (Hacohen, Dekel and Weinshall, "Active learning on a budget", 2022, section 3.2): as many k-means clusters
/// as labels, old and new, which makes the selection diverse, and of each the most typical row, the one with the least mean
/// distance to its 20 nearest neighbours in the cluster. Unlike there, small clusters are not left out, and distances are
/// those of normalised rows ([`Features::normalise`]), which the classifier sees. Of a cluster of more than 10,000 rows, that
/// many are drawn, and the most typical among them is chosen: the time is in proportion to the rows, not to their square.
///
/// The selection is the same for the same seed on any number of threads.
///
/// # Errors
/// [`Error::Budget`] for a budget of 0 or of more than there are rows without a label.
///
/// # Panics
/// If a labelled row is none of the rows.
pub fn select(
    features: &Features,
    labelled: &BTreeSet<usize>,
    budget: usize,
    seed: u64,
) -> Result<Vec<usize>, Error> {
    select_comparing(COMPARED, features, labelled, budget, seed)
}

/// [`select`] that compares `most` members of a cluster.
fn select_comparing(
    most: usize,
    features: &Features,
    labelled: &BTreeSet<usize>,
    budget: usize,
    seed: u64,
) -> Result<Vec<usize>, Error> {
    assert!(labelled.last().is_none_or(|&row| row < features.rows()), "labelled rows are rows");
    check(budget, features.rows() - labelled.len())?;
    let rows = features.clone().normalise();
    let count = labelled.len() + budget;
    let cluster_of = kmeans(&rows, count, &mut Rng::for_labels(seed, CLUSTERS, 0));
    let mut clusters = crate::classes::members(&cluster_of, count);
    // At most as many as there are labelled rows go, so that the budget is left.
    clusters.retain(|members| members.iter().all(|row| !labelled.contains(row)));
    clusters.sort_by_key(|members| (std::cmp::Reverse(members.len()), members[0]));
    clusters.truncate(budget);
    let most_typical = |(number, members): (usize, &Vec<usize>)| {
        most_typical(&rows, &compared(members, most, &mut Rng::for_labels(seed, MEMBERS, number)))
    };
    Ok(clusters.iter().enumerate().map(most_typical).collect())
}

/// `budget` rows drawn at random, the baseline of [`select`].
///
/// # Errors
/// As [`select`].
pub fn select_at_random(rows: usize, budget: usize, seed: u64) -> Result<Vec<usize>, Error> {
    check(budget, rows)?;
    let mut rng = Rng::for_labels(seed, AT_RANDOM, 0);
    Ok(permuted((0..rows).collect(), &mut rng).take(budget).collect())
}

fn check(budget: usize, rows: usize) -> Result<(), Error> {
    if (1..=rows).contains(&budget) { Ok(()) } else { Err(Error::Budget { rows, found: budget }) }
}

/// All members, or `most` of them drawn at random; ascending as they are.
fn compared<'a>(members: &'a [usize], most: usize, rng: &mut Rng) -> Cow<'a, [usize]> {
    if members.len() <= most {
        return members.into();
    }
    let mut drawn: Vec<usize> = permuted(members.to_vec(), rng).take(most).collect();
    drawn.sort_unstable();
    drawn.into()
}

/// The member with the least mean distance to its nearest neighbours among the members; the first of equal ones.
fn most_typical(rows: &Features, members: &[usize]) -> usize {
    let cluster = rows.select(members);
    let neighbours = NEIGHBOURS.min(members.len() - 1);
    // Each row is its own nearest neighbour, or as near as another that equals it; but for rows of zeros.
    let distance = |row: Vec<Neighbour>| -> f64 {
        row.iter().map(|&(cosine, _)| f64::from(2.0 - 2.0 * cosine).max(0.0).sqrt()).sum()
    };
    let block =
        |rows: &[f32]| nearest(rows, &cluster, neighbours + 1).into_iter().map(distance).collect::<Vec<_>>();
    let blocks = cluster.data().par_chunks(TEST_BLOCK * cluster.dim());
    let distances: Vec<f64> = blocks.flat_map_iter(block).collect();
    let best = (1..members.len()).fold(0, |best, i| if distances[i] < distances[best] { i } else { best });
    members[best]
}

/// What labels are worth that were chosen in some way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SelectionScore {
    /// Labelled images.
    pub budget: usize,
    /// Mean top-1 accuracy over the seeds, percent.
    pub mean: f64,
    /// Sample standard deviation over the seeds, percent.
    pub sd: f64,
    /// Mean number of classes that have a labelled image.
    pub classes: f64,
    /// Top-1 accuracy of each seed, percent.
    pub top1: Vec<f64>,
}

impl SelectionScore {
    /// Scores selections of training rows, one a seed: a logistic regression on them classifies the test rows. A test
    /// row whose class has no labelled image counts as wrong.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::Setting`] for a lambda out of range.
    ///
    /// # Panics
    /// If there is no selection, or one is empty or names a row that there is not.
    pub fn of(
        train: &Labelled,
        test: &Labelled,
        selections: &[Vec<usize>],
        lambda: Lambda,
    ) -> Result<Self, Error> {
        train.features().check_dim(test.features())?;
        let test_rows = test.features().clone().normalise();
        let (mut top1, mut classes_seen) = (Vec::new(), Vec::new());
        for selection in selections {
            let training = Training::new(&train.select(selection))?;
            let (fit, _) = training.fit(lambda)?;
            let classes = &training.classes;
            let found = fit.classify(&test_rows)?;
            let hit = |(&class, label): (&usize, &String)| classes.names()[class] == *label;
            let hits = found.iter().zip(test.labels()).map(hit).filter(|&hit| hit).count();
            top1.push(100.0 * hits as f64 / found.len() as f64);
            classes_seen.push(classes.len() as f64);
        }
        let (mean, sd) = mean_and_deviation(&top1);
        let classes = mean_and_deviation(&classes_seen).0;
        Ok(Self { budget: selections[0].len(), mean, sd, classes, top1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_cluster_is_compared_whole_and_a_large_one_in_a_part_of_fixed_size() {
        let rng = |number| Rng::for_labels(0, MEMBERS, number);
        let cluster: Vec<usize> = (0..COMPARED).map(|i| 3 * i).collect();
        assert_eq!(compared(&cluster, COMPARED, &mut rng(0)), cluster);
        for larger in [COMPARED + 1, 7 * COMPARED] {
            let cluster: Vec<usize> = (0..larger).map(|i| 3 * i).collect();
            let drawn = compared(&cluster, COMPARED, &mut rng(0));
            assert_eq!(drawn.len(), COMPARED);
            assert!(
                drawn.is_sorted_by(|a, b| a < b) && drawn.iter().all(|row| row % 3 == 0 && *row < 3 * larger)
            );
            assert_eq!(compared(&cluster, COMPARED, &mut rng(0)), drawn);
            assert_ne!(compared(&cluster, COMPARED, &mut rng(1)), drawn);
        }
    }

    #[test]
    fn the_most_typical_of_the_compared_rows_is_chosen() {
        let data: Vec<f32> = (0..4 * 300u64).map(|i| (i * i * 7919 % 1013) as f32).collect();
        let rows = Features::new(300, 4, data).expect("finite");
        // Of one cluster of all rows.
        let chosen = |most, rows: &Features| {
            select_comparing(most, rows, &BTreeSet::new(), 1, 5).expect("one of many")[0]
        };
        let exact = chosen(COMPARED, &rows);
        assert_eq!(chosen(300, &rows), exact);
        let all: Vec<usize> = (0..300).collect();
        let mut others = 0;
        for most in [10, 40, 100] {
            let drawn = compared(&all, most, &mut Rng::for_labels(5, MEMBERS, 0)).into_owned();
            let expected = drawn[chosen(COMPARED, &rows.select(&drawn))];
            assert_eq!(chosen(most, &rows), expected);
            others += usize::from(expected != exact);
        }
        assert!(others > 0, "the drawn rows are no others");
    }
}
