//! Weighted nearest neighbours.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::features::unit_rows_into;
use crate::product::rows_by_rows_here;
use crate::{Classes, Error, Features, Labelled, accuracy};

/// Test rows of a block, a thread's unit of work: so many that scaling a block of training rows to length 1 anew for
/// each is a small part of the product.
pub(crate) const TEST_BLOCK: usize = 512;
/// Bytes that the neighbours of a block may take; beyond some 8,000 of them, blocks have fewer rows.
const NEIGHBOUR_BYTES: usize = 64 << 20;
/// Training rows compared at a time: 512 x 1024 similarities are 2 MiB.
const TRAIN_BLOCK: usize = 1024;

/// Exact weighted kNN on cosine similarity: a neighbour of similarity s votes for its class with weight
/// exp(s / temperature) (Wu et al. 2018, "Unsupervised feature learning via non-parametric instance discrimination",
/// section 3.4).
#[derive(Clone, Debug, PartialEq)]
pub struct Knn {
    /// Numbers of neighbours to score, each at least 1; more than there are training rows means all of them.
    pub k: Vec<usize>,
    /// Temperature of the votes, above 0.
    pub temperature: f64,
}

/// Accuracy for one number of neighbours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KnnScore {
    /// Number of neighbours.
    pub k: usize,
    /// Top-1 accuracy, percent.
    pub top1: f64,
}

/// A training row and its similarity to a test row.
pub(crate) type Neighbour = (f32, u32);

impl Default for Knn {
    /// 10, 20, 100 and 200 neighbours, temperature 0.07.
    fn default() -> Self {
        Self { k: vec![10, 20, 100, 200], temperature: 0.07 }
    }
}

impl Knn {
    /// Accuracy on the test rows, for each `k` in the order given.
    ///
    /// # Errors
    /// Those of [`classify`](Self::classify) and [`Error::UnseenClass`].
    pub fn run(&self, train: &Labelled, test: &Labelled) -> Result<Vec<KnnScore>, Error> {
        let classes = Classes::of(train.labels());
        let expected = classes.indices(test.labels())?;
        let found = self.classify(train, test.features())?;
        let score = |(&k, found): (&usize, &Vec<usize>)| KnnScore { k, top1: accuracy(found, &expected) };
        Ok(self.k.iter().zip(&found).map(score).collect())
    }

    /// For each `k`, the class of each test row: its number in [`Classes::of`] the training labels. Of equal
    /// similarities the earlier training row is nearer, of equal votes the first class wins.
    ///
    /// Memory beyond the features, a thread: 2 MiB of similarities, 1,536 rows of length 1 and the neighbours of up to
    /// 512 rows (2 k numbers and similarities each), at most 64 MiB unless those of one row are more.
    ///
    /// # Errors
    /// [`Error::Dimension`] if the columns differ, [`Error::Setting`] for a `k` of 0 or a temperature out of range.
    ///
    /// # Panics
    /// If there are more than `u32::MAX` training rows.
    pub fn classify(&self, train: &Labelled, test: &Features) -> Result<Vec<Vec<usize>>, Error> {
        self.check()?;
        train.features().check_dim(test)?;
        let classes = Classes::of(train.labels());
        let labels = classes.indices(train.labels())?;
        let near = train.features();
        u32::try_from(near.rows()).expect("at most u32::MAX training rows, as documented");
        let most = self.k.iter().copied().max().unwrap_or(0).min(near.rows());
        let block = |rows: &[f32]| -> Vec<Vec<usize>> {
            let votes = |neighbours: Vec<Neighbour>| self.vote(&neighbours, &labels, classes.len());
            nearest(rows, near, most).into_iter().map(votes).collect()
        };
        let block_rows = (NEIGHBOUR_BYTES / (2 * most.max(1) * size_of::<Neighbour>())).clamp(1, TEST_BLOCK);
        let blocks = test.data().par_chunks(block_rows * test.dim());
        let by_row: Vec<Vec<usize>> = blocks.flat_map_iter(block).collect();
        Ok((0..self.k.len()).map(|i| by_row.iter().map(|classes| classes[i]).collect()).collect())
    }

    fn check(&self) -> Result<(), Error> {
        if self.k.contains(&0) {
            return Err(Error::Setting { field: "k", expected: "at least 1", found: 0.0 });
        }
        let found = self.temperature;
        if !(found.is_finite() && found > 0.0) {
            return Err(Error::Setting { field: "temperature", expected: "a finite number above 0", found });
        }
        Ok(())
    }

    /// neighbours: nearest first. The winning class for each `k`.
    fn vote(&self, neighbours: &[Neighbour], labels: &[usize], classes: usize) -> Vec<usize> {
        let winner = |&k: &usize| {
            let mut votes = vec![0.0; classes];
            for &(similarity, row) in &neighbours[..k.min(neighbours.len())] {
                // Relative to the nearest one, so that a low temperature does not overflow.
                let behind = f64::from(similarity) - f64::from(neighbours[0].0);
                votes[labels[row as usize]] += (behind / self.temperature).exp();
            }
            (1..classes).fold(0, |best, c| if votes[c] > votes[best] { c } else { best })
        };
        self.k.iter().map(winner).collect()
    }
}

/// The `k` nearest rows of `train` for each row of `test`, [rows, dim], nearest first. Rows of both are scaled to
/// length 1 block by block, so that there is never a second copy of all.
pub(crate) fn nearest(test: &[f32], train: &Features, k: usize) -> Vec<Vec<Neighbour>> {
    let dim = train.dim();
    let mut kept: Vec<Nearest> = (0..test.len() / dim).map(|_| Nearest::new(k)).collect();
    let mut similarities = vec![0.0; kept.len() * TRAIN_BLOCK];
    let (mut far, mut near) = (Vec::new(), Vec::new());
    unit_rows_into(test, dim, &mut far);
    for (block, train) in train.data().chunks(TRAIN_BLOCK * dim).enumerate() {
        unit_rows_into(train, dim, &mut near);
        let width = train.len() / dim;
        let similarities = &mut similarities[..kept.len() * width];
        rows_by_rows_here(&far, &near, dim, similarities);
        for (kept, row) in kept.iter_mut().zip(similarities.chunks(width)) {
            for (i, &similarity) in row.iter().enumerate() {
                kept.offer(similarity, (block * TRAIN_BLOCK + i) as u32);
            }
        }
    }
    kept.into_iter().map(Nearest::finish).collect()
}

/// The nearest of the rows offered so far: up to 2 k are collected before the worse half is thrown out, so that
/// an offer costs a comparison and, seldom, a push.
struct Nearest {
    k: usize,
    /// Similarity that a further row must exceed.
    threshold: f32,
    rows: Vec<Neighbour>,
}

impl Nearest {
    fn new(k: usize) -> Self {
        Self { k, threshold: f32::NEG_INFINITY, rows: Vec::with_capacity(2 * k) }
    }

    /// Rows come in ascending order, so one as similar as the threshold is farther than all that are kept.
    fn offer(&mut self, similarity: f32, row: u32) {
        if similarity > self.threshold {
            self.rows.push((similarity, row));
            if self.rows.len() == 2 * self.k {
                self.rows.select_nth_unstable_by(self.k - 1, nearer);
                self.rows.truncate(self.k);
                self.threshold = self.rows[self.k - 1].0;
            }
        }
    }

    fn finish(mut self) -> Vec<Neighbour> {
        self.rows.sort_unstable_by(nearer);
        self.rows.truncate(self.k);
        self.rows
    }
}

fn nearer(a: &Neighbour, b: &Neighbour) -> std::cmp::Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}
