//! Colour jitter: brightness, contrast, saturation and hue, as torchvision does them on 8-bit images.

use super::grayscale::{luma, mean_luma};
use super::planes::Planes;
use crate::rng::Rng;
use crate::simd::vectorized;

/// Largest change of brightness, contrast and saturation at strength 1 (SimCLR, Chen et al. 2020, appendix A).
const FACTOR_PER_STRENGTH: f64 = 0.8;
/// Largest turn of the hue at strength 1, as a fraction of the circle.
pub(crate) const HUE_PER_STRENGTH: f64 = 0.2;
/// Half the circle: a larger turn is a smaller one the other way.
pub(crate) const MAX_HUE: f64 = 0.5;

/// Pixels that go through all steps before the next ones: 3 planes x 1024 x 4 bytes, a quarter of a first-level
/// cache.
const CHUNK: usize = 1024;

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

/// What an adjustment does to a pixel once everything that depends on the whole view is known.
#[derive(Clone, Copy)]
enum Step {
    /// `c * factor + constant * (1 - factor)`: brightness away from black, contrast away from the mean grey.
    FromConstant { factor: f32, constant: f32 },
    /// The same with the grey of the pixel.
    FromLuma { factor: f32 },
    /// Adds to the hue, in steps of 1/255 of the circle.
    Hue { shift: f32 },
}

/// Applies adjustments in order; results stay within 0 to 255.
pub(crate) fn adjust(planes: &mut Planes<'_>, adjustments: &[Adjustment]) {
    // Contrast needs the mean of what comes before it, so a pass over the pixels ends there.
    let mut steps: Vec<Step> = Vec::with_capacity(adjustments.len());
    for adjustment in adjustments {
        let step = match *adjustment {
            Adjustment::Brightness(factor) => Step::FromConstant { factor, constant: 0.0 },
            Adjustment::Contrast(factor) => {
                apply(planes, &steps);
                steps.clear();
                // PIL's mean grey is a whole level.
                Step::FromConstant { factor, constant: mean_luma(planes).round() }
            }
            Adjustment::Saturation(factor) => Step::FromLuma { factor },
            // 8-bit hues: truncated, and turned modulo 256, as by torchvision.
            Adjustment::Hue(turn) => Step::Hue { shift: (turn * 255.0).trunc().rem_euclid(256.0) },
        };
        steps.push(step);
    }
    apply(planes, &steps);
}

vectorized! {
    fn apply(planes: &mut Planes<'_>, steps: &[Step]) {
        for mut chunk in planes.chunks(CHUNK) {
            for step in steps {
                match *step {
                    Step::FromConstant { factor, constant } => from_constant(&mut chunk, factor, constant),
                    Step::FromLuma { factor } => from_luma(&mut chunk, factor),
                    Step::Hue { shift } => turn_hue(&mut chunk, shift),
                }
            }
        }
    }
}

#[inline(always)]
fn from_constant(planes: &mut Planes<'_>, factor: f32, constant: f32) {
    let offset = constant * (1.0 - factor);
    for plane in planes.each() {
        for x in plane {
            *x = (*x * factor + offset).clamp(0.0, 255.0);
        }
    }
}

#[inline(always)]
fn from_luma(planes: &mut Planes<'_>, factor: f32) {
    let Planes { red, green, blue } = planes;
    for ((r, g), b) in red.iter_mut().zip(green.iter_mut()).zip(blue.iter_mut()) {
        let offset = luma(*r, *g, *b) * (1.0 - factor);
        *r = (*r * factor + offset).clamp(0.0, 255.0);
        *g = (*g * factor + offset).clamp(0.0, 255.0);
        *b = (*b * factor + offset).clamp(0.0, 255.0);
    }
}

/// RGB -> HSV -> RGB (Smith, "Color gamut transform pairs", 1978) with hue and saturation truncated to 8 bits like
/// PIL's: untruncated, a saturated pixel would be off by up to six levels. The way back is the branch-free form
/// `v - v s max(0, min(1, k, 4 - k))` with `k = (n + h) mod 6` and n = 5, 3, 1 for red, green, blue.
#[inline(always)]
fn turn_hue(planes: &mut Planes<'_>, shift: f32) {
    let Planes { red, green, blue } = planes;
    for ((red, green), blue) in red.iter_mut().zip(green.iter_mut()).zip(blue.iter_mut()) {
        let (r, g, b) = (*red, *green, *blue);
        let value = r.max(g).max(b);
        let chroma = value - r.min(g).min(b);
        let per_chroma = if chroma > 0.0 { 1.0 / chroma } else { 0.0 };
        let saturation = if value > 0.0 { (chroma / value * 255.0).floor() } else { 0.0 };
        let (difference, sector) = if r == value {
            (g - b, 0.0)
        } else if g == value {
            (b - r, 2.0)
        } else {
            (r - g, 4.0)
        };
        let sixths = difference * per_chroma + sector;
        let wrapped = if sixths < 0.0 { sixths + 6.0 } else { sixths };
        let turned = (wrapped * (255.0 / 6.0)).floor() + shift;
        let hue = if turned >= 256.0 { turned - 256.0 } else { turned };
        let hue = hue * (6.0 / 255.0);
        let span = value * saturation * (1.0 / 255.0);
        let channel = |n: f32| {
            let k = if n + hue >= 6.0 { n + hue - 6.0 } else { n + hue };
            value - span * k.min(4.0 - k).clamp(0.0, 1.0)
        };
        (*red, *green, *blue) = (channel(5.0), channel(3.0), channel(1.0));
    }
}
