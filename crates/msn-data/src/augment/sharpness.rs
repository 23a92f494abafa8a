//! Sharper or softer, as PIL's `ImageEnhance.Sharpness`.

use crate::simd::vectorized;
use crate::views::color::level;
use crate::views::planes::Planes;

/// Weight of the pixel itself in the smoothed image, where each of its eight neighbours has 1.
const CENTRE: f32 = 5.0;

/// Moves each pixel away from the mean of its neighbourhood; factor 0 or more, 1 changes nothing. The border stays as
/// it is. spare: working space.
pub(super) fn sharpness(planes: &mut Planes<'_>, width: usize, factor: f32, spare: &mut Vec<f32>) {
    if planes.red.len() < 3 * width || width < 3 {
        return;
    }
    for plane in planes.each() {
        spare.clear();
        spare.extend_from_slice(plane);
        sharpen(spare, width, factor, plane);
    }
}

vectorized! {
    fn sharpen(source: &[f32], width: usize, factor: f32, plane: &mut [f32]) {
        let line = |row: usize| &source[row * width..(row + 1) * width];
        for row in 1..plane.len() / width - 1 {
            let (first, second, third) = (line(row - 1), line(row), line(row + 1));
            let inner = &mut plane[row * width + 1..(row + 1) * width - 1];
            let neighbours = first.windows(3).zip(second.windows(3)).zip(third.windows(3));
            for (x, ((a, b), c)) in inner.iter_mut().zip(neighbours) {
                let ring = (a[0] + a[1] + a[2]) + (b[0] + b[2]) + (c[0] + c[1] + c[2]);
                let smooth = (ring + CENTRE * b[1]) / (8.0 + CENTRE);
                *x = level(b[1] * factor + smooth * (1.0 - factor));
            }
        }
    }
}
