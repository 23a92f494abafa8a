//! In which order the images of an epoch come, and which of them are whose.

use std::ops::Range;

use crate::rng::Rng;
use crate::{Dataset, Reading};

/// Which share of every epoch is read: that of process `rank` of `ranks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) rank: usize,
    pub(super) ranks: usize,
}

impl Share {
    /// Images of an epoch: as many for each rank. A remainder of fewer images than ranks is left out.
    pub(super) fn images(self, dataset: &dyn Dataset) -> usize {
        dataset.len() / self.ranks
    }

    /// The places of this share in the order of all images.
    fn range(self, images: usize) -> Range<usize> {
        let each = images / self.ranks;
        self.rank * each..(self.rank + 1) * each
    }
}

/// All images in the order of a first epoch with this seed.
pub(crate) fn order_of_all(dataset: &dyn Dataset, seed: u64) -> Vec<usize> {
    of_epoch(dataset, seed, 0, Share { rank: 0, ranks: 1 })
}

/// The images of an epoch in their order. The shares of all ranks together hold no image twice.
pub(super) fn of_epoch(dataset: &dyn Dataset, seed: u64, epoch: u64, share: Share) -> Vec<usize> {
    let images = dataset.len();
    let range = share.range(images);
    match dataset.reading() {
        Reading::AtRandom => {
            let mut order: Vec<usize> = (0..images).collect();
            // The front is all that the shares up to this one need.
            Rng::for_order(seed, epoch).shuffle_front(&mut order, range.end);
            order.truncate(range.end);
            order.drain(..range.start);
            order
        }
        Reading::ByShard { shards, buffer } => {
            let mut shards = shards;
            let count = shards.len();
            Rng::for_order(seed, epoch).shuffle_front(&mut shards, count);
            let windows = windows(&pieces(&shards, &range), buffer);
            let mut order = Vec::with_capacity(range.len());
            for (number, mut window) in windows.into_iter().enumerate() {
                let count = window.len();
                Rng::for_window(seed, epoch, number, share.rank as u32).shuffle_front(&mut window, count);
                order.extend(window);
            }
            order
        }
    }
}

/// The parts of shards that lie in `range` when the shards are put one after the other.
fn pieces(shards: &[Range<usize>], range: &Range<usize>) -> Vec<Range<usize>> {
    let mut begin = 0;
    let piece = shards.iter().map(|shard| {
        let (start, end) = (range.start.max(begin), range.end.min(begin + shard.len()));
        let piece = (start < end).then(|| shard.start + start - begin..shard.start + end - begin);
        begin += shard.len();
        piece
    });
    piece.flatten().collect()
}

/// Whole pieces, as many together as are needed for `buffer` images: what is shuffled together.
fn windows(pieces: &[Range<usize>], buffer: usize) -> Vec<Vec<usize>> {
    let mut windows: Vec<Vec<usize>> = Vec::new();
    for piece in pieces {
        match windows.last_mut().filter(|window| window.len() < buffer) {
            Some(window) => window.extend(piece.clone()),
            None => windows.push(piece.clone().collect()),
        }
    }
    windows
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::Error;

    /// Shards of the given lengths, or images that can be read at random.
    struct Source {
        lengths: Vec<usize>,
        buffer: Option<usize>,
    }

    impl Source {
        fn shards(&self) -> Vec<Range<usize>> {
            let mut end = 0;
            let shard = |&length: &usize| {
                end += length;
                end - length..end
            };
            self.lengths.iter().map(shard).collect()
        }
    }

    impl Dataset for Source {
        fn path(&self) -> &Path {
            Path::new("shards")
        }

        fn len(&self) -> usize {
            self.lengths.iter().sum()
        }

        fn name(&self, _: usize) -> &str {
            ""
        }

        fn read_into(&self, _: usize, _: usize, _: &mut Vec<u8>) -> Result<(), Error> {
            Ok(())
        }

        fn reading(&self) -> Reading {
            match self.buffer {
                Some(buffer) => Reading::ByShard { shards: self.shards(), buffer },
                None => Reading::AtRandom,
            }
        }
    }

    const LENGTHS: [usize; 7] = [5, 1, 9, 4, 4, 7, 3];

    fn both() -> [Source; 2] {
        [None, Some(8)].map(|buffer| Source { lengths: LENGTHS.to_vec(), buffer })
    }

    #[test]
    fn the_shares_of_all_ranks_are_alike_and_disjoint() {
        for source in both() {
            for ranks in [1, 2, 3, 4, 32] {
                let shares: Vec<Vec<usize>> =
                    (0..ranks).map(|rank| of_epoch(&source, 3, 5, Share { rank, ranks })).collect();
                assert!(shares.iter().all(|share| share.len() == 33 / ranks));
                let all: BTreeSet<usize> = shares.iter().flatten().copied().collect();
                assert_eq!(all.len(), 33 / ranks * ranks, "{ranks} ranks");
            }
        }
    }

    #[test]
    fn epochs_and_seeds_have_orders_of_their_own_and_always_the_same() {
        let alone = Share { rank: 0, ranks: 1 };
        for source in both() {
            let order = of_epoch(&source, 1, 1, alone);
            assert_eq!(order, of_epoch(&source, 1, 1, alone));
            assert_ne!(order, of_epoch(&source, 1, 2, alone));
            assert_ne!(order, of_epoch(&source, 2, 1, alone));
        }
    }

    #[test]
    fn shards_come_in_windows_that_do_not_overlap() {
        let source = Source { lengths: LENGTHS.to_vec(), buffer: Some(8) };
        let shards = source.shards();
        let shard_of = |image: &usize| shards.iter().position(|shard| shard.contains(image)).unwrap();
        let mut first_shards = BTreeSet::new();
        for epoch in 0..200 {
            let order = of_epoch(&source, 0, epoch, Share { rank: 0, ranks: 1 });
            first_shards.insert(shard_of(&order[0]));
            // No more than the shards of one window are begun and not finished at any time.
            for at in 0..order.len() {
                let begun: BTreeSet<usize> = order[..=at].iter().map(shard_of).collect();
                let open = begun.iter().filter(|&&shard| order[at..].iter().any(|i| shard_of(i) == shard));
                // The smallest shards, 1 + 3 + 4, are the most that fit in a window: one more after fewer than 8.
                let open = open.count();
                assert!(open <= 4, "{open} shards are open at {at} of epoch {epoch}");
            }
        }
        assert_eq!(first_shards.len(), LENGTHS.len(), "every shard comes first in some epoch");
    }

    #[test]
    fn images_of_a_window_are_mixed_uniformly() {
        let source = Source { lengths: vec![3, 2], buffer: Some(5) };
        let mut firsts = [0u32; 5];
        for epoch in 0..10_000 {
            firsts[of_epoch(&source, 0, epoch, Share { rank: 0, ranks: 1 })[0]] += 1;
        }
        // Standard deviation: sqrt(10000 * 0.2 * 0.8) = 40; five of them.
        assert!(firsts.iter().all(|&count| count.abs_diff(2000) < 200), "{firsts:?}");
    }
}
