//! Normalisation to the mean and deviation of the training data.

use super::planes::Planes;
use crate::Error;
use crate::simd::vectorized;

/// Mean and standard deviation of the channels red, green, blue, in units of full intensity (255 levels).
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Normalization {
    /// Mean of each channel, [0, 1].
    pub mean: [f32; 3],
    /// Standard deviation of each channel, (0, 1].
    pub std: [f32; 3],
}

impl Default for Normalization {
    /// ImageNet's.
    fn default() -> Self {
        Self { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }
    }
}

impl Normalization {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Config`] names the field out of its range and its value.
    pub fn validate(&self) -> Result<(), Error> {
        let error = |field, expected: &str, found: [f32; 3]| {
            Err(Error::Config { field, expected: expected.to_owned(), found: format!("{found:?}") })
        };
        if !self.mean.iter().all(|x| (0.0..=1.0).contains(x)) {
            return error("data.mean", "three numbers from 0 to 1", self.mean);
        }
        if !self.std.iter().all(|x| *x > 0.0 && *x <= 1.0) {
            return error("data.std", "three numbers above 0 and up to 1", self.std);
        }
        Ok(())
    }

    /// Grey levels, 0 to 255, to `(level / 255 - mean) / std`.
    pub(crate) fn apply(&self, planes: &mut Planes<'_>) {
        for ((plane, mean), std) in planes.each().into_iter().zip(self.mean).zip(self.std) {
            scale(plane, 1.0 / (255.0 * std), -mean / std);
        }
    }
}

vectorized! {
    fn scale(plane: &mut [f32], factor: f32, offset: f32) {
        for x in plane {
            *x = *x * factor + offset;
        }
    }
}
