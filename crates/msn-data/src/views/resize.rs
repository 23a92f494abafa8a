//! Crop and resize, from interleaved bytes to planes of floats, by [`msn_kernels::resize`].

use msn_kernels::resize::{Part, resize};

use super::axis::Axis;
use super::crop::CropBox;
use super::orientation::{AxisOrder, Orientation, transpose};
use super::planes::Planes;
use crate::Image;

/// Working space of a resize.
#[derive(Debug, Default)]
pub(crate) struct Resize {
    columns: Axis,
    rows: Axis,
}

impl Resize {
    /// Resizes a part of an image to `width` columns and as many rows as the planes have of them, flipped and rotated: a
    /// triangle filter whose support grows with the reduction (bilinear, antialiased). Pixels outside the box have no
    /// influence.
    ///
    /// # Panics
    /// If the box leaves the image, `width` does not divide the pixels of a plane, or what is rotated by 90 or 270
    /// degrees is not square.
    pub(crate) fn apply(
        &mut self,
        image: &Image,
        crop: &CropBox,
        width: usize,
        orientation: Orientation,
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
        let AxisOrder { reverse_columns, reverse_rows, transpose: transposed } = orientation.axes();
        self.columns.set(crop.width, width, reverse_columns);
        self.rows.set(crop.height, pixels / width, reverse_rows);
        let stride = 3 * image.width() as usize;
        let bytes = &image.pixels()[crop.top as usize * stride + 3 * crop.left as usize..];
        let part = Part { bytes, stride, width: crop.width as usize };
        resize(part, self.columns.taps(), self.rows.taps(), planes.each());
        if transposed {
            transpose(planes, width);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resized(image: &Image, crop: CropBox, size: usize) -> Vec<f32> {
        let mut view = vec![f32::NAN; 3 * size * size];
        Resize::default().apply(image, &crop, size, Orientation::default(), &mut Planes::of(&mut view));
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
            assert!(view.iter().all(|x| *x == 40.0), "size {size}");
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
            used.apply(&image, &crop, size, Orientation::default(), &mut Planes::of(&mut view));
            assert_eq!(view, resized(&image, crop, size), "{crop:?} to {size}");
        }
    }

    #[test]
    #[should_panic(expected = "leaves an image of 4 x 3")]
    fn a_box_that_leaves_the_image_is_refused() {
        resized(&Image::new(4, 3, vec![0; 36]), CropBox { left: 2, top: 0, width: 3, height: 3 }, 2);
    }
}
