//! A drawn view to pixels.

use fast_image_resize::Resizer;

use super::ViewParams;
use super::blur::gaussian_blur;
use super::color::adjust;
use super::crop::resize_crop;
use super::flip::{unpack, unpack_flipped};
use super::grayscale::grayscale;
use super::normalize::Normalization;
use super::planes::Planes;
use crate::Image;

/// Working space of a thread that renders views, kept so that no view allocates.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) resizer: Resizer,
    pub(crate) rgb: Vec<u8>,
    blur: [Vec<f32>; 2],
}

/// Renders a view of `size` x `size` pixels into `out`, `[3, size, size]`, normalised.
///
/// # Panics
/// If the crop leaves the image or `out` has not `3 * size * size` values.
pub fn render(
    image: &Image,
    params: &ViewParams,
    size: usize,
    normalization: &Normalization,
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    assert_eq!(out.len(), 3 * size * size, "values of a view of {size} x {size} pixels");
    resize_crop(image, &params.crop, size, &mut scratch.resizer, &mut scratch.rgb);
    let mut planes = Planes::of(out);
    if params.flip {
        unpack_flipped(&scratch.rgb, size, &mut planes);
    } else {
        unpack(&scratch.rgb, size, &mut planes);
    }
    if let Some(jitter) = &params.jitter {
        adjust(&mut planes, &jitter.0);
    }
    if params.grayscale {
        grayscale(&mut planes);
    }
    if let Some(sigma) = params.blur {
        gaussian_blur(&mut planes, size, sigma, &mut scratch.blur);
    }
    normalization.apply(&mut planes);
}
