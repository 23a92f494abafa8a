//! Random erasing.

use crate::rng::Rng;
use crate::views::validate::{probability, range};
use crate::{CropBox, Error};

/// Puts noise in the place of a random part of an image (Zhong et al., "Random erasing data augmentation", 2017), as
/// BEiT's mode `pixel`: each value of the normalised image is drawn from the normal distribution of mean 0 and variance
/// 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandomErasing {
    /// Probability that a part of an image is erased, [0, 1].
    pub probability: f64,
    /// Least and largest area of the part as a fraction of the image, in (0, 1].
    pub area: [f64; 2],
    /// Least and largest width / height of the part, above 0.
    pub aspect: [f64; 2],
}

impl Default for RandomErasing {
    /// A quarter of the images lose 0.02 to 1/3 of their area, with sides in a proportion of up to 10 to 3.
    fn default() -> Self {
        Self { probability: 0.25, area: [0.02, 1.0 / 3.0], aspect: [0.3, 1.0 / 0.3] }
    }
}

impl RandomErasing {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Config`] names the field out of its range and its value.
    pub fn validate(&self) -> Result<(), Error> {
        probability("erasing.probability", self.probability)?;
        range("erasing.area", self.area, "above 0 and up to 1", |x| x > 0.0 && x <= 1.0)?;
        range("erasing.aspect", self.aspect, "above 0", |x| x > 0.0 && x.is_finite())
    }

    /// Erases a part of a normalised image, `[3, size, size]`, or not. If none of ten boxes that are drawn fits into the
    /// image, it stays whole.
    ///
    /// # Panics
    /// If `view` has not `3 * size * size` values, or `size` is 0.
    pub fn apply(&self, view: &mut [f32], size: usize, rng: &mut Rng) {
        assert!(size > 0 && view.len() == 3 * size * size, "values of an image of {size} x {size} pixels");
        if !rng.chance(self.probability) {
            return;
        }
        let side = size as u32;
        let Some(erased) = CropBox::try_sample(side, side, self.area, self.aspect, rng) else { return };
        for plane in view.chunks_exact_mut(size * size) {
            for row in erased.rows(plane, size) {
                for pair in row.chunks_mut(2) {
                    pair.iter_mut().zip(rng.normal_pair()).for_each(|(x, normal)| *x = normal as f32);
                }
            }
        }
    }
}
