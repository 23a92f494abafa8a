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

    /// Grey levels, 0 to 255, to `(level / 255 - mean) / std`, for each channel.
    pub(crate) fn scales(&self) -> [Scale; 3] {
        let scale =
            |c: usize| Scale { factor: 1.0 / (255.0 * self.std[c]), offset: -self.mean[c] / self.std[c] };
        [scale(0), scale(1), scale(2)]
    }

    /// The level, 0 to 255, that a normalised value of a channel (red 0, green 1, blue 2) shows.
    pub(crate) fn level(&self, channel: usize, value: f32) -> u8 {
        ((value * self.std[channel] + self.mean[channel]) * 255.0).round().clamp(0.0, 255.0) as u8
    }

    /// Normalises the grey levels of a view.
    pub(crate) fn apply(&self, planes: &mut Planes<'_>) {
        apply_all(planes, self.scales());
    }

    /// Makes a normalised view of one in which all channels are equal, from its first channel.
    pub(crate) fn apply_to_grey(&self, planes: &mut Planes<'_>) {
        spread(planes, self.scales());
    }
}

/// `factor * x + offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    pub(crate) factor: f32,
    pub(crate) offset: f32,
}

impl Scale {
    /// Changes nothing.
    pub(crate) const NONE: Self = Self { factor: 1.0, offset: 0.0 };

    #[inline(always)]
    pub(crate) fn of(self, x: f32) -> f32 {
        x * self.factor + self.offset
    }
}

/// Scales each plane by itself.
#[inline(always)]
pub(super) fn scale_all(planes: &mut Planes<'_>, scales: [Scale; 3]) {
    for (plane, scale) in planes.each().into_iter().zip(scales) {
        for x in plane {
            *x = scale.of(*x);
        }
    }
}

vectorized! {
    fn apply_all(planes: &mut Planes<'_>, scales: [Scale; 3]) {
        scale_all(planes, scales);
    }
}

vectorized! {
    fn spread(planes: &mut Planes<'_>, scales: [Scale; 3]) {
        let Planes { red, green, blue } = planes;
        for ((r, g), b) in red.iter_mut().zip(green.iter_mut()).zip(blue.iter_mut()) {
            let grey = *r;
            (*r, *g, *b) = (scales[0].of(grey), scales[1].of(grey), scales[2].of(grey));
        }
    }
}
