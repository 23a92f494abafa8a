//! Greyscale.

use super::planes::Planes;

/// Grey of a pixel by the weights of ITU-R BT.601, which PIL and torchvision use.
#[inline(always)]
pub(crate) fn luma(r: f32, g: f32, b: f32) -> f32 {
    0.299 * r + 0.587 * g + 0.114 * b
}

/// Replaces every channel by the grey.
#[inline(always)]
pub(super) fn grayscale(planes: &mut Planes<'_>) {
    let Planes { red, green, blue } = planes;
    for ((r, g), b) in red.iter_mut().zip(green.iter_mut()).zip(blue.iter_mut()) {
        let grey = luma(*r, *g, *b);
        (*r, *g, *b) = (grey, grey, grey);
    }
}
