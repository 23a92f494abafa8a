//! Greyscale.

use super::planes::Planes;
use crate::simd::vectorized;

/// Grey of a pixel by the weights of ITU-R BT.601, which PIL and torchvision use.
#[inline(always)]
pub(crate) fn luma(r: f32, g: f32, b: f32) -> f32 {
    0.299 * r + 0.587 * g + 0.114 * b
}

vectorized! {
    /// Replaces every channel by the grey.
    pub(crate) fn grayscale(planes: &mut Planes<'_>) {
        let Planes { red, green, blue } = planes;
        for ((r, g), b) in red.iter_mut().zip(green.iter_mut()).zip(blue.iter_mut()) {
            let grey = luma(*r, *g, *b);
            (*r, *g, *b) = (grey, grey, grey);
        }
    }
}

/// Sums that run side by side, so that the order of additions is the same for every vector length.
const LANES: usize = 16;

vectorized! {
    /// Mean grey of a view.
    pub(crate) fn mean_luma(planes: &Planes<'_>) -> f32 {
        let mut sums = [0.0f32; LANES];
        let (red, red_rest) = planes.red.as_chunks::<LANES>();
        let (green, green_rest) = planes.green.as_chunks::<LANES>();
        let (blue, blue_rest) = planes.blue.as_chunks::<LANES>();
        for ((r, g), b) in red.iter().zip(green).zip(blue) {
            for lane in 0..LANES {
                sums[lane] += luma(r[lane], g[lane], b[lane]);
            }
        }
        let rest = red_rest.iter().zip(green_rest).zip(blue_rest).map(|((r, g), b)| luma(*r, *g, *b));
        let total: f32 = sums.iter().copied().chain(rest).sum();
        total / planes.red.len() as f32
    }
}
