//! k-means on rows of length 1.

use msn_data::rng::Rng;
use rayon::prelude::*;

use crate::Features;
use crate::product::rows_by_rows_here;

/// Rows of a block, a thread's unit of work.
const BLOCK: usize = 512;
/// Rounds of assignment and means; most data sets settle within thirty.
const ROUNDS: usize = 100;
/// Starts, of which the one with the least inertia is kept.
const STARTS: usize = 3;

/// The cluster of each row, [n], below `clusters`; no cluster is empty.
///
/// Lloyd's algorithm from centres that are drawn far apart (k-means++, Arthur and Vassilvitskii, 2007). A cluster that
/// loses all its rows restarts at the row that is farthest from its own centre.
///
/// # Panics
/// If there are more clusters than rows, or none.
pub(super) fn kmeans(rows: &Features, clusters: usize, rng: &mut Rng) -> Vec<usize> {
    assert!((1..=rows.rows()).contains(&clusters), "{clusters} clusters of {} rows", rows.rows());
    let starts = (0..STARTS).map(|_| lloyd(rows, clusters, rng));
    let best = starts.reduce(|best, start| if start.1 < best.1 { start } else { best });
    best.expect("at least one start").0
}

/// Clusters and their inertia, the sum of squared distances to the centres.
fn lloyd(rows: &Features, clusters: usize, rng: &mut Rng) -> (Vec<usize>, f64) {
    let mut centres = spread(rows, clusters, rng);
    let mut before: Vec<usize> = Vec::new();
    for _ in 0..ROUNDS {
        let mut nearest = assign(rows, &centres);
        fill_empty(&mut nearest, clusters);
        let members: Vec<usize> = nearest.iter().map(|(cluster, _)| *cluster).collect();
        if members == before {
            break;
        }
        centres = means(rows, &members, clusters);
        before = members;
    }
    let dim = rows.dim();
    let apart = |(row, &cluster): (&[f32], &usize)| squared_distance(row, &centres[cluster * dim..][..dim]);
    let inertia = rows.data().chunks(dim).zip(&before).map(apart).sum();
    (before, inertia)
}

/// Rows as centres, each drawn with a probability in proportion to its squared distance from those drawn before.
fn spread(rows: &Features, clusters: usize, rng: &mut Rng) -> Vec<f32> {
    let dim = rows.dim();
    let mut centres = rows.row(rng.index_below(rows.rows())).to_vec();
    let mut distances = vec![f64::INFINITY; rows.rows()];
    while centres.len() < clusters * dim {
        let last = &centres[centres.len() - dim..];
        distances.par_iter_mut().zip(rows.data().par_chunks(dim)).with_min_len(BLOCK).for_each(|(d, row)| {
            *d = d.min(squared_distance(row, last));
        });
        let total: f64 = distances.iter().sum();
        let mut left = rng.unit() * total;
        let drawn = distances.iter().position(|d| {
            left -= d;
            left < 0.0
        });
        // Rows that are all equal have no distance to draw by: any of them is as good.
        let drawn = drawn.unwrap_or_else(|| rng.index_below(rows.rows()));
        centres.extend_from_slice(rows.row(drawn));
    }
    centres
}

/// The nearest centre of each row and its squared distance, less the squared length of the row, which is the same for
/// all centres.
fn assign(rows: &Features, centres: &[f32]) -> Vec<(usize, f64)> {
    let dim = rows.dim();
    let lengths: Vec<f64> =
        centres.chunks(dim).map(|centre| centre.iter().map(|&x| f64::from(x).powi(2)).sum()).collect();
    let block = |rows: &[f32]| -> Vec<(usize, f64)> {
        let mut products = vec![0.0; rows.len() / dim * lengths.len()];
        rows_by_rows_here(rows, centres, dim, &mut products);
        let nearest = |products: &[f32]| {
            let apart = products.iter().zip(&lengths).map(|(&p, length)| length - 2.0 * f64::from(p));
            apart.enumerate().fold((0, f64::INFINITY), |best, at| if at.1 < best.1 { at } else { best })
        };
        products.chunks(lengths.len()).map(nearest).collect()
    };
    rows.data().par_chunks(BLOCK * dim).flat_map_iter(block).collect()
}

/// Gives each empty cluster the row that is farthest from its centre and not alone in its cluster.
fn fill_empty(nearest: &mut [(usize, f64)], clusters: usize) {
    let mut sizes = vec![0; clusters];
    nearest.iter().for_each(|&(cluster, _)| sizes[cluster] += 1);
    for empty in 0..clusters {
        if sizes[empty] > 0 {
            continue;
        }
        let candidates = (0..nearest.len()).filter(|&row| sizes[nearest[row].0] > 1);
        let farthest = candidates.max_by(|&a, &b| nearest[a].1.total_cmp(&nearest[b].1).then(b.cmp(&a)));
        let row = farthest.expect("more rows than clusters, so that one has two");
        sizes[nearest[row].0] -= 1;
        sizes[empty] = 1;
        nearest[row] = (empty, f64::NEG_INFINITY);
    }
}

/// Mean row of each cluster, [clusters, dim].
fn means(rows: &Features, members: &[usize], clusters: usize) -> Vec<f32> {
    let dim = rows.dim();
    let (mut sums, mut sizes) = (vec![0.0; clusters * dim], vec![0.0; clusters]);
    for (row, &cluster) in rows.data().chunks(dim).zip(members) {
        sizes[cluster] += 1.0;
        sums[cluster * dim..][..dim].iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    sums.iter().enumerate().map(|(i, sum)| (sum / sizes[i / dim]) as f32).collect()
}

fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum()
}
