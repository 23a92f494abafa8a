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
    Labels = 0,
    Order = 1,
    View = 2,
    BatchMask = 3,
    ImageMask = 4,
    Window = 5,
    Corruption = 6,
    RandAugment = 7,
    Erasing = 8,
    Mixing = 9,
}

/// A stream of random numbers with a fixed purpose.
#[derive(Clone, Debug)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// The stream that orders the images of an epoch.
    pub fn for_order(seed: u64, epoch: u64) -> Self {
        Self::keyed(seed, epoch, 0, Purpose::Order, 0)
    }

    /// The stream that orders the images that are shuffled together, where images come shard by shard.
    pub fn for_window(seed: u64, epoch: u64, window: usize) -> Self {
        Self::keyed(seed, epoch, window as u64, Purpose::Window, 0)
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

    /// The stream that draws RandAugment's operations for one image.
    pub fn for_rand_augment(seed: u64, epoch: u64, image: usize) -> Self {
        Self::keyed(seed, epoch, image as u64, Purpose::RandAugment, 0)
    }

    /// The stream that draws what is erased of one image, and the noise in its place.
    pub fn for_erasing(seed: u64, epoch: u64, image: usize) -> Self {
        Self::keyed(seed, epoch, image as u64, Purpose::Erasing, 0)
    }

    /// The stream that draws how the images of one batch are mixed.
    pub fn for_mixing(seed: u64, epoch: u64, batch: u64) -> Self {
        Self::keyed(seed, epoch, batch, Purpose::Mixing, 0)
    }

    /// The stream that draws which images have a label, or which are held out, of one class in one split.
    pub fn for_labels(seed: u64, split: u64, class: usize) -> Self {
        Self::keyed(seed, split, class as u64, Purpose::Labels, 0)
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

    /// Two independent numbers of mean 0 and variance 1 of the normal distribution (Box and Muller, 1958).
    pub fn normal_pair(&mut self) -> [f64; 2] {
        // 1 - u is never 0.
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * self.unit()).sin_cos();
        [radius * cos, radius * sin]
    }

    /// Of the distribution Beta(alpha, alpha), in [0, 1]: the share that one of two gamma-distributed numbers has in
    /// their sum.
    ///
    /// # Panics
    /// If `alpha` is not a finite number above 0.
    pub fn beta(&mut self, alpha: f64) -> f64 {
        assert!(alpha > 0.0 && alpha.is_finite(), "alpha of a beta distribution is above 0: {alpha}");
        let (one, other) = (self.log_gamma(alpha), self.log_gamma(alpha));
        1.0 / (1.0 + (other - one).exp())
    }

    /// Logarithm of a number of the distribution Gamma(alpha): with a small alpha the number itself is often 0 in f64.
    ///
    /// Gamma(alpha + 1) by Marsaglia and Tsang, "A simple method for generating gamma variables", 2000; a uniform
    /// number to the power of 1 / alpha as a factor takes the 1 away again (section 6 there).
    fn log_gamma(&mut self, alpha: f64) -> f64 {
        let d = alpha + 1.0 - 1.0 / 3.0;
        let log_larger = loop {
            let [x, _] = self.normal_pair();
            let v = (1.0 + x / (9.0 * d).sqrt()).powi(3);
            let log_uniform = (1.0 - self.unit()).ln();
            if v > 0.0 && log_uniform < 0.5 * x * x + d * (1.0 - v + v.ln()) {
                break (d * v).ln();
            }
        };
        log_larger + (1.0 - self.unit()).ln() / alpha
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

    /// As [`below`](Self::below) for any number of rows, from another part of the stream: draws of labels have always been
    /// made so.
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn index_below(&mut self, n: usize) -> usize {
        assert!(n > 0, "no number is below 0");
        let n = n as u64;
        let rejected = n.wrapping_neg() % n;
        loop {
            let product = u128::from(self.0.next_u64()) * u128::from(n);
            if product as u64 >= rejected {
                return (product >> 64) as usize;
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
            Rng::for_window(1, 2, 3),
            Rng::for_rand_augment(1, 2, 3),
            Rng::for_erasing(1, 2, 3),
            Rng::for_mixing(1, 2, 3),
            Rng::for_labels(1, 2, 3),
        ];
        let mut firsts: Vec<u64> = streams.into_iter().map(|mut r| r.0.next_u64()).collect();
        firsts.sort_unstable();
        firsts.dedup();
        assert_eq!(firsts.len(), 13);
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
    fn normal_numbers_have_the_shares_of_the_normal_distribution() {
        let mut rng = Rng::for_mixing(3, 0, 0);
        let numbers: Vec<f64> = (0..50_000).flat_map(|_| rng.normal_pair()).collect();
        // The distribution function at these places, from tables; five deviations of a share of 100,000 numbers.
        for (place, share) in [(-2.0, 0.02275), (-0.5, 0.30854), (0.0, 0.5), (1.0, 0.84134), (3.0, 0.99865)] {
            let found = numbers.iter().filter(|x| **x < place).count() as f64 / 1e5;
            let bound = 5.0 * (share * (1.0 - share) / 1e5f64).sqrt();
            assert!((found - share).abs() < bound, "{found} below {place}, expected {share} +- {bound}");
        }
        let product = numbers.chunks(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / 5e4;
        assert!(product.abs() < 5.0 / 5e4f64.sqrt(), "the two of a pair are independent: {product}");
    }

    #[test]
    fn beta_numbers_have_the_moments_of_their_distribution() {
        for alpha in [0.01, 0.2, 0.8, 1.0, 4.0] {
            let mut rng = Rng::for_mixing(4, 0, 0);
            let numbers: Vec<f64> = (0..40_000).map(|_| rng.beta(alpha)).collect();
            assert!(numbers.iter().all(|x| (0.0..=1.0).contains(x)));
            let moment = |n: i32| numbers.iter().map(|x| (x - 0.5).powi(n)).sum::<f64>() / 4e4;
            // Central moments of Beta(a, a): 0, 1 / (4 (2a + 1)), 0, 3 / (16 (2a + 1) (2a + 3)).
            let (second, fourth) =
                (0.25 / (2.0 * alpha + 1.0), 3.0 / 16.0 / ((2.0 * alpha + 1.0) * (2.0 * alpha + 3.0)));
            let bound = 5.0 * (second / 4e4f64).sqrt();
            assert!(moment(1).abs() < bound, "{alpha}: mean off by {}", moment(1));
            let bound = 5.0 * ((fourth - second * second) / 4e4f64).sqrt() + 1e-12;
            assert!((moment(2) - second).abs() < bound, "{alpha}: {} for {second}", moment(2));
        }
    }

    #[test]
    fn beta_of_one_is_uniform() {
        let mut rng = Rng::for_mixing(5, 0, 0);
        let mut counts = [0u32; 10];
        for _ in 0..40_000 {
            counts[(rng.beta(1.0) * 10.0) as usize] += 1;
        }
        // Standard deviation of each count: sqrt(40000 * 0.1 * 0.9) = 60; five of them.
        assert!(counts.iter().all(|&c| c.abs_diff(4000) < 300), "{counts:?}");
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
