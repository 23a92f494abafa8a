//! Turning the hue of a view.

use super::planes::Planes;

// `max` and `min` mind NaN, which takes three instructions for one.

#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[inline(always)]
fn smaller(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// RGB -> HSV -> RGB (Smith, "Color gamut transform pairs", 1978) with hue and saturation truncated to 8 bits like
/// PIL's: untruncated, a saturated pixel would be off by up to six levels. On the way back, without branches, the
/// channels of the full hue h in [0, 6] are |h - 3| - 1, 2 - |h - 2| and 2 - |h - 4|, cut off to [0, 1].
#[inline(always)]
pub(super) fn turn_hue(planes: &mut Planes<'_>, shift: f32) {
    let Planes { red, green, blue } = planes;
    for ((red, green), blue) in red.iter_mut().zip(green.iter_mut()).zip(blue.iter_mut()) {
        let (r, g, b) = (*red, *green, *blue);
        let value = larger(larger(r, g), b);
        let chroma = value - smaller(smaller(r, g), b);
        // One division for both, since it takes as long as ten other steps. What is as good as grey or black has no hue,
        // and would have no finite inverse.
        let product = chroma * value;
        let inverse = if product > 1e-20 { 1.0 / product } else { 0.0 };
        // What is added makes up for the rounding of the inverse, which else takes a level from a full saturation.
        let saturation = (chroma * chroma * inverse * 255.0 + 1e-3).floor();
        let (difference, sector) = if r == value {
            (g - b, 0.0)
        } else if g == value {
            (b - r, 2.0)
        } else {
            (r - g, 4.0)
        };
        let sixths = difference * (value * inverse) + sector;
        let wrapped = if sixths < 0.0 { sixths + 6.0 } else { sixths };
        let turned = (wrapped * (255.0 / 6.0)).floor() + shift;
        let hue = if turned >= 256.0 { turned - 256.0 } else { turned };
        let hue = hue * (6.0 / 255.0);
        let span = value * saturation * (1.0 / 255.0);
        let least = value - span;
        let channel = |full: f32| least + span * smaller(larger(full, 0.0), 1.0);
        *red = channel((hue - 3.0).abs() - 1.0);
        *green = channel(2.0 - (hue - 2.0).abs());
        *blue = channel(2.0 - (hue - 4.0).abs());
    }
}
