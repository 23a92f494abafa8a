//! Horizontal flip, done while interleaved bytes become planes.

use super::planes::Planes;
use crate::simd::vectorized;

vectorized! {
    /// Spreads interleaved 8-bit pixels over the planes, row by row of `width` pixels.
    pub(crate) fn unpack(rgb: &[u8], width: usize, planes: &mut Planes<'_>) {
        for (row, bytes) in rgb.chunks_exact(3 * width).enumerate() {
            let pixels = row * width..(row + 1) * width;
            let red = &mut planes.red[pixels.clone()];
            let green = &mut planes.green[pixels.clone()];
            let blue = &mut planes.blue[pixels];
            for (((pixel, r), g), b) in bytes.as_chunks::<3>().0.iter().zip(red).zip(green).zip(blue) {
                (*r, *g, *b) = (f32::from(pixel[0]), f32::from(pixel[1]), f32::from(pixel[2]));
            }
        }
    }
}

vectorized! {
    /// As [`unpack`], mirroring each row left to right.
    pub(crate) fn unpack_flipped(rgb: &[u8], width: usize, planes: &mut Planes<'_>) {
        for (row, bytes) in rgb.chunks_exact(3 * width).enumerate() {
            let pixels = row * width..(row + 1) * width;
            let red = &mut planes.red[pixels.clone()];
            let green = &mut planes.green[pixels.clone()];
            let blue = &mut planes.blue[pixels];
            for (((pixel, r), g), b) in bytes.as_chunks::<3>().0.iter().rev().zip(red).zip(green).zip(blue) {
                (*r, *g, *b) = (f32::from(pixel[0]), f32::from(pixel[1]), f32::from(pixel[2]));
            }
        }
    }
}
