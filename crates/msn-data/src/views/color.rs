//! Colour jitter: brightness, contrast, saturation and hue, as torchvision does them on 8-bit images.

use super::grayscale::luma;
use super::planes::Planes;
use crate::rng::Rng;

/// Largest change of brightness, contrast and saturation at strength 1 (SimCLR, Chen et al. 2020, appendix A).
const FACTOR_PER_STRENGTH: f64 = 0.8;
/// Largest turn of the hue at strength 1, as a fraction of the circle.
pub(crate) const HUE_PER_STRENGTH: f64 = 0.2;
/// Half the circle: a larger turn is a smaller one the other way.
pub(crate) const MAX_HUE: f64 = 0.5;

/// One colour adjustment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Adjustment {
    /// Multiplies all channels; factor 0 or more, 1 changes nothing.
    Brightness(f32),
    /// Moves all channels away from the mean grey of the view; factor 0 or more, 1 changes nothing.
    Contrast(f32),
    /// Moves the channels of a pixel away from its grey; factor 0 or more, 1 changes nothing.
    Saturation(f32),
    /// Turns the hue by a fraction of the circle, -0.5 to 0.5.
    Hue(f32),
}

/// Colour adjustments in the order in which they are applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Jitter(pub [Adjustment; 4]);

impl Jitter {
    /// Draws the four adjustments at strength s, in random order: factors uniform in [max(0, 1 - 0.8 s), 1 + 0.8 s],
    /// hue uniform in [-0.2 s, 0.2 s].
    pub fn sample(strength: f64, rng: &mut Rng) -> Self {
        let spread = FACTOR_PER_STRENGTH * strength;
        let mut factor = || rng.uniform((1.0 - spread).max(0.0), 1.0 + spread) as f32;
        let (brightness, contrast, saturation) = (factor(), factor(), factor());
        let turn = HUE_PER_STRENGTH * strength;
        let hue = rng.uniform(-turn, turn) as f32;
        let mut adjustments = [
            Adjustment::Brightness(brightness),
            Adjustment::Contrast(contrast),
            Adjustment::Saturation(saturation),
            Adjustment::Hue(hue),
        ];
        rng.shuffle_front(&mut adjustments, 4);
        Self(adjustments)
    }
}

/// Cut off to the levels that there are. Comparisons rather than `clamp`, which minds NaN and takes twice as long.
#[inline(always)]
pub(crate) fn level(x: f32) -> f32 {
    let x = if x > 0.0 { x } else { 0.0 };
    if x < 255.0 { x } else { 255.0 }
}

/// Brightness and contrast: moves all channels away from a constant.
#[inline(always)]
pub(super) fn from_constant(planes: &mut Planes<'_>, factor: f32, constant: f32) {
    let offset = constant * (1.0 - factor);
    for plane in planes.each() {
        for x in plane {
            *x = level(*x * factor + offset);
        }
    }
}

/// Saturation: moves the channels of a pixel away from its grey.
#[inline(always)]
pub(super) fn from_luma(planes: &mut Planes<'_>, factor: f32) {
    let Planes { red, green, blue } = planes;
    for ((r, g), b) in red.iter_mut().zip(green.iter_mut()).zip(blue.iter_mut()) {
        let offset = luma(*r, *g, *b) * (1.0 - factor);
        *r = level(*r * factor + offset);
        *g = level(*g * factor + offset);
        *b = level(*b * factor + offset);
    }
}
