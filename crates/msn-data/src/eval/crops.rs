//! Random crops of an image to train a classifier on, further augmented if wanted.

use crate::rng::Rng;
use crate::views::orientation::Orientation;
use crate::views::planes::Planes;
use crate::views::validate::{probability, range};
use crate::{CropBox, Error, EvalTransform, Image, RandAugment, RandomErasing, Scratch};

/// Least and largest width / height of a random crop before it is resized to a square.
const ASPECT: [f64; 2] = [3.0 / 4.0, 4.0 / 3.0];

/// Random crops, flips and rotations of the images, to train a classifier on. Each kind of draws depends on seed, epoch
/// and image alone: with other augmentations the crops are the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandomCrops {
    /// Least and largest area of a crop as a fraction of the image, in (0, 1].
    pub scale: [f64; 2],
    /// Probability of a horizontal flip, [0, 1].
    pub flip: f64,
    /// Probability of a rotation by 90, 180 or 270 degrees, each equally likely, [0, 1].
    pub rotation: f64,
    /// Operations on the resized crop, if any.
    pub rand_augment: Option<RandAugment>,
    /// Erases a part of the normalised crop, if wanted.
    pub erasing: Option<RandomErasing>,
    /// Seed of the draws.
    pub seed: u64,
    /// Epoch: each has other draws.
    pub epoch: u64,
}

impl RandomCrops {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Config`] names the field out of its range and its value.
    pub fn validate(&self) -> Result<(), Error> {
        range("crops.scale", self.scale, "above 0 and up to 1", |x| x > 0.0 && x <= 1.0)?;
        probability("crops.flip", self.flip)?;
        probability("crops.rotation", self.rotation)?;
        self.rand_augment.as_ref().map_or(Ok(()), RandAugment::validate)?;
        self.erasing.as_ref().map_or(Ok(()), RandomErasing::validate)
    }

    /// Writes a crop of the image with this number, in the size and the normalisation of the transform, into `out`,
    /// `[3, crop, crop]`.
    pub(super) fn apply(
        &self,
        index: usize,
        image: &Image,
        transform: &EvalTransform,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        let EvalTransform { crop: size, normalization, .. } = transform;
        let mut rng = Rng::for_view(self.seed, self.epoch, index, 0);
        let crop = CropBox::sample(image.width(), image.height(), self.scale, ASPECT, &mut rng);
        let orientation = Orientation::sample(self.flip, self.rotation, &mut rng);
        let mut planes = Planes::of(out);
        scratch.resize.apply(image, &crop, *size, orientation, &mut planes);
        if let Some(augment) = &self.rand_augment {
            let mut rng = Rng::for_rand_augment(self.seed, self.epoch, index);
            augment.apply(&mut planes, *size, normalization, &mut scratch.spare, &mut rng);
        }
        normalization.apply(&mut planes);
        if let Some(erasing) = &self.erasing {
            erasing.apply(out, *size, &mut Rng::for_erasing(self.seed, self.epoch, index));
        }
    }
}
