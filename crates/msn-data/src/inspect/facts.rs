//! What one image tells, and the mean and deviation of the channels over many.

use crate::decode::Details;
use crate::{Format, Image, Normalization, Scratch};

/// Least deviation that is reported: a set of one-coloured images has none, which nothing can be divided by.
const LEAST_STD: f64 = 1.0 / 255.0;

/// What is kept of an image.
pub(super) struct ImageFacts {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) bytes: u64,
    pub(super) format: Format,
    pub(super) details: Details,
    /// The largest value of any channel of any pixel, of 255.
    pub(super) brightest: u8,
    /// Mean of each channel, of pixels in [0, 1].
    mean: [f64; 3],
    /// Mean of the squares of each channel.
    mean_square: [f64; 3],
}

impl ImageFacts {
    /// # Panics
    /// If `bytes`, which `image` was decoded from, are of no format.
    pub(super) fn of(bytes: &[u8], image: &Image, _: &mut Scratch) -> Self {
        let (mut sums, mut squares) = ([0u64; 3], [0u64; 3]);
        for pixel in image.pixels().as_chunks::<3>().0 {
            for channel in 0..3 {
                let level = u64::from(pixel[channel]);
                sums[channel] += level;
                squares[channel] += level * level;
            }
        }
        let format = Format::of(bytes).expect("it was decoded");
        let pixels = f64::from(image.width()) * f64::from(image.height());
        Self {
            width: image.width(),
            height: image.height(),
            bytes: bytes.len() as u64,
            format,
            details: Details::of(bytes, format),
            brightest: image.pixels().iter().copied().max().unwrap_or(0),
            mean: sums.map(|sum| sum as f64 / (255.0 * pixels)),
            mean_square: squares.map(|sum| sum as f64 / (255.0 * 255.0 * pixels)),
        }
    }
}

/// Mean and deviation over all pixels of all images; every image has the same weight, as in training, which sees views
/// of one size of each.
#[derive(Default)]
pub(super) struct Channels {
    images: usize,
    means: [f64; 3],
    mean_squares: [f64; 3],
}

impl Channels {
    pub(super) fn add(&mut self, facts: &ImageFacts) {
        self.images += 1;
        for channel in 0..3 {
            self.means[channel] += facts.mean[channel];
            self.mean_squares[channel] += facts.mean_square[channel];
        }
    }

    pub(super) fn finish(&self) -> Option<Normalization> {
        let images = self.images as f64;
        let mean = self.means.map(|sum| sum / images);
        let std: Vec<f64> = mean
            .iter()
            .zip(self.mean_squares)
            .map(|(mean, sum)| (sum / images - mean * mean).max(0.0).sqrt().max(LEAST_STD))
            .collect();
        (self.images > 0).then(|| Normalization {
            mean: mean.map(|mean| mean as f32),
            std: [std[0], std[1], std[2]].map(|std| std as f32),
        })
    }
}
