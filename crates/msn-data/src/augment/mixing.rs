//! Mixing the images of a batch, and their classes with them.

use crate::rng::Rng;
use crate::views::validate::{probability, within};
use crate::{CropBox, Error};

/// Mixup (Zhang et al., "mixup: Beyond empirical risk minimization", 2018) and CutMix (Yun et al., "CutMix:
/// Regularization strategy to train strong classifiers with localizable features", 2019), one of them for a whole
/// batch, as timm draws them by default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixing {
    /// The share of an image in mixup is of the distribution Beta(mixup, mixup); 0 for no mixup, else up to 100.
    pub mixup: f64,
    /// The area of an image that CutMix leaves is of the distribution Beta(cutmix, cutmix); 0 for no CutMix, else up to
    /// 100.
    pub cutmix: f64,
    /// Probability that a batch is mixed, [0, 1].
    pub probability: f64,
    /// Probability of CutMix where a batch is mixed and there are both, [0, 1].
    pub switch: f64,
}

impl Default for Mixing {
    /// Every batch: mixup with 0.8 or CutMix with 1.0, equally often.
    fn default() -> Self {
        Self { mixup: 0.8, cutmix: 1.0, probability: 1.0, switch: 0.5 }
    }
}

impl Mixing {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Config`] names the field out of its range and its value.
    pub fn validate(&self) -> Result<(), Error> {
        within("mixing.mixup", self.mixup, 100.0)?;
        within("mixing.cutmix", self.cutmix, 100.0)?;
        probability("mixing.probability", self.probability)?;
        probability("mixing.switch", self.switch)
    }

    /// Draws how a batch of images of `size` x `size` pixels is mixed. batch: its number in the epoch.
    ///
    /// # Panics
    /// If `size` is 0, or a field is negative or not a number.
    pub fn draw(&self, size: usize, seed: u64, epoch: u64, batch: u64) -> Mix {
        let mut rng = Rng::for_mixing(seed, epoch, batch);
        let (mixed, switched) = (rng.chance(self.probability), rng.chance(self.switch));
        let cutmix = self.cutmix > 0.0 && (switched || self.mixup == 0.0);
        match (mixed, cutmix) {
            (true, true) => cut(size as u32, rng.beta(self.cutmix), &mut rng),
            (true, false) if self.mixup > 0.0 => Mix::Mixup { kept: rng.beta(self.mixup) },
            _ => Mix::None,
        }
    }
}

/// A square around a point anywhere in the image, as large as what shall not be kept; less of it where it leaves the
/// image.
fn cut(size: u32, kept: f64, rng: &mut Rng) -> Mix {
    let half = (f64::from(size) * (1.0 - kept).sqrt()) as u32 / 2;
    let mut along = || {
        let centre = rng.below(size);
        let (start, end) = (centre.saturating_sub(half), (centre + half).min(size));
        (start, end - start)
    };
    let ((top, height), (left, width)) = (along(), along());
    if width == 0 || height == 0 {
        return Mix::None;
    }
    Mix::CutMix { part: CropBox { left, top, width, height } }
}

/// How the images of one batch are mixed: each with the one as far from the end of the batch as it is from the start.
/// In a batch of an odd number, the one in the middle stays as it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mix {
    /// Not at all.
    None,
    /// All pixels are weighted sums.
    Mixup {
        /// Weight of the image itself, [0, 1]; the other one has the rest.
        kept: f64,
    },
    /// A part comes from the other image.
    CutMix {
        /// The part.
        part: CropBox,
    },
}

impl Mix {
    /// Share of an image itself in what it becomes, [0, 1], in images of `size` x `size` pixels: for CutMix, that of
    /// the pixels that it keeps.
    pub fn kept(&self, size: usize) -> f64 {
        match *self {
            Self::None => 1.0,
            Self::Mixup { kept } => kept,
            Self::CutMix { part } => {
                1.0 - f64::from(part.width) * f64::from(part.height) / (size * size) as f64
            }
        }
    }

    /// Mixes a batch in its place. pixels: `[B, 3, size, size]`.
    ///
    /// # Panics
    /// If there are not whole images of that size, or the part leaves them.
    pub fn apply(&self, pixels: &mut [f32], size: usize) {
        let values = 3 * size * size;
        assert!(size > 0 && pixels.len().is_multiple_of(values), "images of {size} x {size} pixels");
        let mut images: Vec<&mut [f32]> = pixels.chunks_exact_mut(values).collect();
        let half = images.len() / 2;
        let (first, last) = images.split_at_mut(half);
        for (one, other) in first.iter_mut().zip(last.iter_mut().rev()) {
            match self {
                Self::None => {}
                Self::Mixup { kept } => blend(one, other, *kept as f32),
                Self::CutMix { part } => {
                    let planes = one.chunks_exact_mut(size * size).zip(other.chunks_exact_mut(size * size));
                    for (one, other) in planes {
                        part.rows(one, size)
                            .zip(part.rows(other, size))
                            .for_each(|(a, b)| a.swap_with_slice(b));
                    }
                }
            }
        }
    }

    /// What the classifier should answer, `[B, classes]`, each row of sum 1: 1 - smoothing for the image's class and
    /// `smoothing` in equal parts for all (Szegedy et al., "Rethinking the inception architecture", 2016), mixed as the
    /// images are. labels: their classes; smoothing: [0, 1].
    ///
    /// # Panics
    /// If a label is not below `classes`.
    pub fn targets(&self, labels: &[usize], classes: usize, size: usize, smoothing: f64) -> Vec<f32> {
        let mut targets = vec![(smoothing / classes as f64) as f32; labels.len() * classes];
        let kept = self.kept(size);
        let others = labels.iter().rev();
        for ((row, &label), &other) in targets.chunks_exact_mut(classes).zip(labels).zip(others) {
            row[label] += ((1.0 - smoothing) * kept) as f32;
            row[other] += ((1.0 - smoothing) * (1.0 - kept)) as f32;
        }
        targets
    }
}

fn blend(one: &mut [f32], other: &mut [f32], kept: f32) {
    for (a, b) in one.iter_mut().zip(other) {
        (*a, *b) = (*a * kept + *b * (1.0 - kept), *b * kept + *a * (1.0 - kept));
    }
}
