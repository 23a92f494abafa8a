//! Crop and resize, from interleaved bytes to planes of floats, without rounding in between.
//!
//! Bands of four target rows: their source rows are blended first, all columns side by side, then the columns, whose
//! neighbours lie apart in memory, for four rows at a time. Reducing rows first leaves less to do for the columns.

use super::axis::Axis;
use super::crop::CropBox;
use super::planes::Planes;
use crate::Image;
use crate::simd::vectorized;

/// Target rows that are made together.
const ROWS: usize = 4;
/// A pixel in registers: red, green, blue and one value without meaning.
const CHANNELS: usize = 4;
/// Values of a row that are blended while they stay in registers.
const BLOCK: usize = 32;

/// Working space of a resize.
#[derive(Debug, Default)]
pub(crate) struct Resize {
    columns: Axis,
    rows: Axis,
    /// Blended source rows of a band, interleaved RGB with one value more, since pixels are read as four values.
    blended: [Vec<f32>; ROWS],
    /// Target rows of a band, by pixels.
    out: [Vec<[f32; CHANNELS]>; ROWS],
}

impl Resize {
    /// Resizes a part of an image to `width` columns and as many rows as the planes have of them, mirrored left to
    /// right if `flip`: a triangle filter whose support grows with the reduction (bilinear, antialiased). Pixels
    /// outside the box have no influence.
    ///
    /// # Panics
    /// If the box leaves the image, or `width` does not divide the pixels of a plane.
    pub(crate) fn apply(
        &mut self,
        image: &Image,
        crop: &CropBox,
        width: usize,
        flip: bool,
        planes: &mut Planes<'_>,
    ) {
        let pixels = planes.red.len();
        assert!(width > 0 && pixels.is_multiple_of(width), "{pixels} pixels are no rows of {width}");
        let inside =
            |start: u32, length: u32, whole: u32| start.checked_add(length).is_some_and(|end| end <= whole);
        assert!(
            inside(crop.left, crop.width, image.width()) && inside(crop.top, crop.height, image.height()),
            "{crop:?} leaves an image of {} x {}",
            image.width(),
            image.height()
        );
        self.columns.set(crop.width, width, flip);
        self.rows.set(crop.height, pixels / width, false);
        self.blended.iter_mut().for_each(|row| row.resize(3 * crop.width as usize + 1, 0.0));
        self.out.iter_mut().for_each(|row| row.resize(width, [0.0; CHANNELS]));
        let stride = 3 * image.width() as usize;
        let part = &image.pixels()[crop.top as usize * stride + 3 * crop.left as usize..];
        bands(self, part, stride, planes);
    }
}

vectorized! {
    /// All bands; `part` begins with the first pixel of the box, whose rows are `stride` bytes apart.
    fn bands(work: &mut Resize, part: &[u8], stride: usize, planes: &mut Planes<'_>) {
        let (height, width) = (work.rows.size(), work.columns.size());
        let Resize { columns, rows, blended, out } = work;
        for top in (0..height).step_by(ROWS) {
            let count = ROWS.min(height - top);
            for (r, row) in blended.iter_mut().enumerate().take(count) {
                let (start, weights) = rows.pixel(top + r);
                let values = row.len() - 1;
                blend_rows(weights, &part[start * stride..], stride, &mut row[..values]);
            }
            // Known numbers of taps are unrolled; with the usual crops, images are reduced up to three times.
            match columns.taps() {
                2 => blend_columns::<2>(columns, blended, out),
                3 => blend_columns::<3>(columns, blended, out),
                4 => blend_columns::<4>(columns, blended, out),
                5 => blend_columns::<5>(columns, blended, out),
                6 => blend_columns::<6>(columns, blended, out),
                _ => blend_any_columns(columns, blended, out),
            }
            for (r, line) in out.iter().enumerate().take(count) {
                let pixels = (top + r) * width..(top + r + 1) * width;
                let red = &mut planes.red[pixels.clone()];
                let green = &mut planes.green[pixels.clone()];
                let blue = &mut planes.blue[pixels];
                for (((pixel, r), g), b) in line.iter().zip(red).zip(green).zip(blue) {
                    (*r, *g, *b) = (pixel[0], pixel[1], pixel[2]);
                }
            }
        }
    }
}

/// One target row before its columns are resized; `source` begins with the first row that it is made of.
#[inline(always)]
fn blend_rows(weights: &[f32], source: &[u8], stride: usize, out: &mut [f32]) {
    let length = out.len();
    if length < BLOCK {
        out.fill(0.0);
        for (k, weight) in weights.iter().enumerate() {
            for (sum, byte) in out.iter_mut().zip(&source[k * stride..][..length]) {
                *sum += weight * f32::from(*byte);
            }
        }
        return;
    }
    for block in 0..length.div_ceil(BLOCK) {
        // The last block overlaps the one before it.
        let start = (block * BLOCK).min(length - BLOCK);
        let mut sums = [0.0f32; BLOCK];
        for (k, weight) in weights.iter().enumerate() {
            let bytes = &source[k * stride + start..][..BLOCK];
            for i in 0..BLOCK {
                sums[i] += weight * f32::from(bytes[i]);
            }
        }
        out[start..start + BLOCK].copy_from_slice(&sums);
    }
}

#[inline(always)]
fn blend_columns<const TAPS: usize>(
    columns: &Axis,
    rows: &[Vec<f32>; ROWS],
    out: &mut [Vec<[f32; CHANNELS]>; ROWS],
) {
    let [row_a, row_b, row_c, row_d] = rows;
    let [a, b, c, d] = out;
    let targets = a.iter_mut().zip(b).zip(c).zip(d);
    for ((((a, b), c), d), (start, weights)) in targets.zip(columns.pixels()) {
        let weights: &[f32; TAPS] = weights.try_into().expect("as many weights as taps");
        *a = blend_pixels(&row_a[3 * start..][..3 * TAPS + 1], weights);
        *b = blend_pixels(&row_b[3 * start..][..3 * TAPS + 1], weights);
        *c = blend_pixels(&row_c[3 * start..][..3 * TAPS + 1], weights);
        *d = blend_pixels(&row_d[3 * start..][..3 * TAPS + 1], weights);
    }
}

#[inline(always)]
fn blend_any_columns(columns: &Axis, rows: &[Vec<f32>; ROWS], out: &mut [Vec<[f32; CHANNELS]>; ROWS]) {
    for (row, out) in rows.iter().zip(out) {
        for (pixel, (start, weights)) in out.iter_mut().zip(columns.pixels()) {
            *pixel = blend_pixels(&row[3 * start..][..3 * weights.len() + 1], weights);
        }
    }
}

#[inline(always)]
fn blend_pixels(values: &[f32], weights: &[f32]) -> [f32; CHANNELS] {
    let mut sums = [0.0; CHANNELS];
    for (k, weight) in weights.iter().enumerate() {
        let pixel = &values[3 * k..3 * k + CHANNELS];
        for i in 0..CHANNELS {
            sums[i] += weight * pixel[i];
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resized(image: &Image, crop: CropBox, size: usize) -> Vec<f32> {
        let mut view = vec![f32::NAN; 3 * size * size];
        Resize::default().apply(image, &crop, size, false, &mut Planes::of(&mut view));
        view
    }

    #[test]
    fn one_pixel_images_give_that_pixel() {
        let whole = CropBox { left: 0, top: 0, width: 1, height: 1 };
        let view = resized(&Image::new(1, 1, vec![7, 8, 9]), whole, 8);
        for (plane, level) in view.chunks(64).zip([7.0, 8.0, 9.0]) {
            assert!(plane.iter().all(|x| *x == level), "{plane:?}");
        }
    }

    #[test]
    fn pixels_outside_the_box_have_no_influence() {
        let mut pixels = vec![255; 20 * 20 * 3];
        for y in 5..15 {
            pixels[(y * 20 + 5) * 3..(y * 20 + 15) * 3].fill(40);
        }
        let image = Image::new(20, 20, pixels);
        for size in [4, 7, 10, 33] {
            let view = resized(&image, CropBox { left: 5, top: 5, width: 10, height: 10 }, size);
            // Weights sum to 1 within a few units of f32's last place.
            assert!(view.iter().all(|x| (x - 40.0).abs() < 1e-4), "size {size}");
        }
    }

    #[test]
    fn what_an_earlier_view_left_behind_has_no_influence() {
        let pixels = (0..40 * 30 * 3).map(|i| (i * 89 % 251) as u8).collect();
        let image = Image::new(40, 30, pixels);
        let mut used = Resize::default();
        for (left, top, width, height, size) in [(0, 0, 40, 30, 16), (3, 4, 9, 5, 33), (1, 1, 38, 29, 7)] {
            let crop = CropBox { left, top, width, height };
            let mut view = vec![f32::NAN; 3 * size * size];
            used.apply(&image, &crop, size, false, &mut Planes::of(&mut view));
            assert_eq!(view, resized(&image, crop, size), "{crop:?} to {size}");
        }
    }

    #[test]
    #[should_panic(expected = "leaves an image of 4 x 3")]
    fn a_box_that_leaves_the_image_is_refused() {
        resized(&Image::new(4, 3, vec![0; 36]), CropBox { left: 2, top: 0, width: 3, height: 3 }, 2);
    }
}
