//! In which order the images of an epoch come.

use crate::rng::Rng;
use crate::{Dataset, Error, Reading};

/// Whether a source has few enough images for an order: of more, 32 bits cannot name each.
///
/// # Errors
/// [`Error::TooManyImages`].
pub(crate) fn check_length(dataset: &dyn Dataset) -> Result<(), Error> {
    let (images, limit) = (dataset.len(), u32::MAX);
    if images > limit as usize {
        return Err(Error::TooManyImages { data: dataset.path().to_owned(), limit, images });
    }
    Ok(())
}

/// All images in the order of a first epoch with this seed.
///
/// # Panics
/// If there are too many: see [`check_length`].
pub(crate) fn order_of_all(dataset: &dyn Dataset, seed: u64) -> Vec<u32> {
    of_epoch(dataset, seed, 0)
}

/// The images of an epoch in their order, each once: 4 bytes an image, half of what indices take elsewhere.
///
/// # Panics
/// If there are too many: see [`check_length`].
pub(super) fn of_epoch(dataset: &dyn Dataset, seed: u64, epoch: u64) -> Vec<u32> {
    let images = dataset.len();
    match dataset.reading() {
        Reading::AtRandom => {
            let mut order: Vec<u32> = (0..number(images)).collect();
            Rng::for_order(seed, epoch).shuffle_front(&mut order, images);
            order
        }
        Reading::ByShard { mut shards, buffer } => {
            let count = shards.len();
            Rng::for_order(seed, epoch).shuffle_front(&mut shards, count);
            let mut order = Vec::with_capacity(images);
            // Whole shards are shuffled together, as many as are needed for `buffer` images.
            let (mut window, mut begin) = (0, 0);
            let shuffle = |window: usize, images: &mut [u32]| {
                Rng::for_window(seed, epoch, window).shuffle_front(images, images.len());
            };
            for shard in shards {
                if order.len() - begin >= buffer {
                    shuffle(window, &mut order[begin..]);
                    (window, begin) = (window + 1, order.len());
                }
                order.extend(number(shard.start)..number(shard.end));
            }
            shuffle(window, &mut order[begin..]);
            order
        }
    }
}

fn number(image: usize) -> u32 {
    u32::try_from(image).expect("at most u32::MAX images, as documented")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ops::Range;
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::loader::LoaderConfig;
    use crate::loader::build::Plan;

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
    fn an_epoch_has_every_image_once() {
        for source in both() {
            let mut order = of_epoch(&source, 3, 5);
            order.sort_unstable();
            assert!(order.into_iter().eq(0..33));
        }
    }

    /// A run that is resumed goes on with the order that it began with, whichever version began it.
    #[test]
    fn orders_stay_what_they_were() {
        let [at_random, by_shard] = both().map(|source| of_epoch(&source, 3, 5));
        assert_eq!(at_random[..12], [30, 22, 24, 4, 32, 14, 17, 12, 18, 6, 7, 21]);
        assert_eq!(by_shard[..16], [27, 23, 29, 25, 28, 31, 26, 24, 32, 30, 5, 17, 1, 3, 2, 15]);
        let with_empty_shards = Source { lengths: vec![0, 6, 0, 2, 5, 0], buffer: Some(4) };
        for (epoch, order) in (0..).zip([
            [4, 3, 2, 1, 0, 5, 11, 12, 10, 6, 7, 9, 8],
            [7, 0, 2, 5, 3, 4, 6, 1, 11, 9, 12, 8, 10],
            [9, 12, 8, 11, 10, 0, 7, 5, 1, 4, 6, 2, 3],
            [0, 1, 4, 2, 3, 5, 6, 9, 7, 8, 10, 12, 11],
        ]) {
            assert_eq!(of_epoch(&with_empty_shards, 1, epoch), order);
        }
    }

    #[test]
    fn epochs_and_seeds_have_orders_of_their_own_and_always_the_same() {
        for source in both() {
            let order = of_epoch(&source, 1, 1);
            assert_eq!(order, of_epoch(&source, 1, 1));
            assert_ne!(order, of_epoch(&source, 1, 2));
            assert_ne!(order, of_epoch(&source, 2, 1));
        }
    }

    #[test]
    fn shards_come_in_windows_that_do_not_overlap() {
        let source = Source { lengths: LENGTHS.to_vec(), buffer: Some(8) };
        let shards = source.shards();
        let shard_of =
            |image: &u32| shards.iter().position(|shard| shard.contains(&(*image as usize))).unwrap();
        let mut first_shards = BTreeSet::new();
        for epoch in 0..200 {
            let order = of_epoch(&source, 0, epoch);
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
    fn whoever_reads_an_epoch_has_the_same_order_in_memory() {
        let [source, _] = both();
        let plan = Plan::new(Arc::new(source), LoaderConfig { workers: 1, ..LoaderConfig::new(4, 16, 3) }, 0)
            .unwrap();
        let (order, next) = (plan.order(5), plan.order(6));
        assert!(Arc::ptr_eq(&order, &plan.order(5)) && Arc::ptr_eq(&next, &plan.order(6)));
        assert_eq!(order[..4], [30, 22, 24, 4], "as pinned above");
        let kept = Arc::downgrade(&order);
        drop(order);
        assert!(kept.upgrade().is_none(), "nobody reads it any more");
        assert_eq!(plan.order(5)[..4], [30, 22, 24, 4]);
    }

    #[test]
    fn images_of_a_window_are_mixed_uniformly() {
        let source = Source { lengths: vec![3, 2], buffer: Some(5) };
        let mut firsts = [0u32; 5];
        for epoch in 0..10_000 {
            firsts[of_epoch(&source, 0, epoch)[0] as usize] += 1;
        }
        // Standard deviation: sqrt(10000 * 0.2 * 0.8) = 40; five of them.
        assert!(firsts.iter().all(|&count| count.abs_diff(2000) < 200), "{firsts:?}");
    }
}
