//! A drawn view to pixels.

use fast_image_resize::Resizer;

use super::ViewParams;
use super::blur::Blur;
use super::normalize::{Normalization, Scale};
use super::planes::Planes;
use super::resize::Resize;
use super::steps::Steps;
use crate::Image;

/// Working space of a thread that renders views, kept so that no view allocates.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) resizer: Resizer,
    pub(crate) rgb: Vec<u8>,
    pub(crate) resize: Resize,
    pub(crate) spare: Vec<f32>,
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
    let mut planes = Planes::of(out);
    scratch.resize.apply(image, &params.crop, size, params.orientation, &mut planes);
    let mut steps = Steps::none();
    if let Some(jitter) = &params.jitter {
        jitter.0.iter().for_each(|adjustment| steps.adjust(&mut planes, *adjustment));
    }
    if params.grayscale {
        steps.grayscale();
    }
    match params.blur {
        None => {
            steps.normalize(normalization);
            steps.run(&mut planes);
        }
        Some(sigma) if params.grayscale => {
            steps.run(&mut planes);
            Blur::new(size, size, sigma).apply(planes.red, size, Scale::NONE, &mut scratch.blur);
            normalization.apply_to_grey(&mut planes);
        }
        Some(sigma) => {
            steps.run(&mut planes);
            let blur = Blur::new(size, size, sigma);
            for (plane, scale) in planes.each().into_iter().zip(normalization.scales()) {
                blur.apply(plane, size, scale, &mut scratch.blur);
            }
        }
    }
}
