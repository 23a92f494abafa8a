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
/// PIL's: untruncated, a saturated pixel would be off by up to six levels. The way back is the branch-free form
/// `v - v s max(0, min(1, k, 4 - k))` with `k = (n + h) mod 6` and n = 5, 3, 1 for red, green, blue.
#[inline(always)]
pub(super) fn turn_hue(planes: &mut Planes<'_>, shift: f32) {
    let Planes { red, green, blue } = planes;
    for ((red, green), blue) in red.iter_mut().zip(green.iter_mut()).zip(blue.iter_mut()) {
        let (r, g, b) = (*red, *green, *blue);
        let value = larger(larger(r, g), b);
        let chroma = value - smaller(smaller(r, g), b);
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
            value - span * smaller(larger(smaller(k, 4.0 - k), 0.0), 1.0)
        };
        (*red, *green, *blue) = (channel(5.0), channel(3.0), channel(1.0));
    }
}
