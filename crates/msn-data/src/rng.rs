//! Random draws that depend on what they are for and on nothing else.
//!
//! A generator is keyed by the run's seed and the purpose of the draw, so that threads, queue lengths and resumed
//! runs cannot change any result. The mapping from bits to numbers is written out here, so that an update of a
//! dependency cannot change it either.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// What a stream of random numbers is for. Streams of different purposes never share a key.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    Order = 1,
    View = 2,
    BatchMask = 3,
    ImageMask = 4,
    Window = 5,
    Corruption = 6,
}

/// A stream of random numbers with a fixed purpose.
#[derive(Clone, Debug)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// The stream that orders the images of an epoch.
    pub fn for_order(seed: u64, epoch: u64) -> Self {
        Self::keyed(seed, epoch, 0, Purpose::Order, 0)
    }

    /// The stream that orders the images that one rank shuffles together, where images come shard by shard.
    pub fn for_window(seed: u64, epoch: u64, window: usize, rank: u32) -> Self {
        Self::keyed(seed, epoch, window as u64, Purpose::Window, rank)
    }

    /// The stream that draws one view of one image.
    pub fn for_view(seed: u64, epoch: u64, image: usize, view: u32) -> Self {
        Self::keyed(seed, epoch, image as u64, Purpose::View, view)
    }

    /// The stream that draws the mask that one view of all images of a batch share.
    pub fn for_batch_mask(seed: u64, epoch: u64, step_in_epoch: u64, view: u32) -> Self {
        Self::keyed(seed, epoch, step_in_epoch, Purpose::BatchMask, view)
    }

    /// The stream that draws the mask of one view of one image.
    pub fn for_image_mask(seed: u64, epoch: u64, image: usize, view: u32) -> Self {
        Self::keyed(seed, epoch, image as u64, Purpose::ImageMask, view)
    }

    /// The stream of one kind of corruption of one image at some severity: the same noise in every evaluation.
    pub fn for_corruption(kind: u32, severity: u64, image: usize) -> Self {
        Self::keyed(0, severity, image as u64, Purpose::Corruption, kind)
    }

    /// The 256-bit key holds all five numbers unmixed, so that two streams are equal only if all of them are.
    fn keyed(seed: u64, epoch: u64, index: u64, purpose: Purpose, view: u32) -> Self {
        let last = (purpose as u64) << 32 | u64::from(view);
        let mut key = [0; 32];
        for (bytes, word) in key.chunks_exact_mut(8).zip([seed, epoch, index, last]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Uniform in [0, 1), in steps of 2^-53.
    pub fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in [low, high).
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// True with the given probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Uniform in 0..n, without bias: products whose low half falls in the incomplete last interval are drawn again
    /// (Lemire, "Fast random integer generation in an interval", 2019).
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn below(&mut self, n: u32) -> u32 {
        assert!(n > 0, "no number is below 0");
        let rejected = n.wrapping_neg() % n;
        loop {
            let product = u64::from(self.0.next_u32()) * u64::from(n);
            if product as u32 >= rejected {
                return (product >> 32) as u32;
            }
        }
    }

    /// The first `count` items of a uniform permutation of `items`, put at its front (Fisher-Yates).
    ///
    /// # Panics
    /// If `count` exceeds the number of items, or that exceeds `u32::MAX`.
    pub fn shuffle_front<T>(&mut self, items: &mut [T], count: usize) {
        assert!(count <= items.len(), "{count} of {} items", items.len());
        for i in 0..count {
            let left = u32::try_from(items.len() - i).expect("at most u32::MAX items, as documented");
            items.swap(i, i + self.below(left) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_in_every_part_of_their_key() {
        let streams = [
            Rng::for_view(1, 2, 3, 4),
            Rng::for_view(2, 2, 3, 4),
            Rng::for_view(1, 3, 3, 4),
            Rng::for_view(1, 2, 4, 4),
            Rng::for_view(1, 2, 3, 5),
            Rng::for_image_mask(1, 2, 3, 4),
            Rng::for_batch_mask(1, 2, 3, 4),
            Rng::for_order(1, 2),
            Rng::for_window(1, 2, 3, 4),
        ];
        let mut firsts: Vec<u64> = streams.into_iter().map(|mut r| r.0.next_u64()).collect();
        firsts.sort_unstable();
        firsts.dedup();
        assert_eq!(firsts.len(), 9);
        assert_eq!(Rng::for_view(1, 2, 3, 4).unit(), Rng::for_view(1, 2, 3, 4).unit());
    }

    #[test]
    fn draws_below_n_are_uniform() {
        let mut rng = Rng::for_order(5, 0);
        let mut counts = [0u32; 7];
        for _ in 0..70_000 {
            counts[rng.below(7) as usize] += 1;
        }
        // Standard deviation of each count: sqrt(70000 * 1/7 * 6/7) = 93; five of them.
        assert!(counts.iter().all(|&c| c.abs_diff(10_000) < 465), "{counts:?}");
    }

    #[test]
    fn a_shuffle_is_a_permutation_and_each_item_comes_first_equally_often() {
        let mut firsts = [0u32; 5];
        for epoch in 0..10_000 {
            let mut items = [0, 1, 2, 3, 4];
            Rng::for_order(0, epoch).shuffle_front(&mut items, 5);
            firsts[items[0]] += 1;
            items.sort_unstable();
            assert_eq!(items, [0, 1, 2, 3, 4]);
        }
        // Standard deviation: sqrt(10000 * 0.2 * 0.8) = 40; five of them.
        assert!(firsts.iter().all(|&c| c.abs_diff(2000) < 200), "{firsts:?}");
    }
}
