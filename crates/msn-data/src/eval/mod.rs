//! Images for the evaluation of encoders: the centre of each, or random crops to train a classifier on.

mod crops;
mod load;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions};

use crate::views::planes::{Planes, unpack};
use crate::{Image, Normalization, Scratch};

pub use crops::RandomCrops;
pub use load::{EvalBatch, EvalConfig, Recalled, check_image, load_crops, load_eval, load_unknown, look_at};

/// Resizes the shorter side, cuts out the centre, normalises.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EvalTransform {
    /// Length in pixels to which the shorter side is resized (bilinear, antialiased); `None` leaves the size.
    pub resize: Option<usize>,
    /// Side in pixels of the square cut out of the centre; smaller images are padded with black.
    pub crop: usize,
    /// Mean and deviation of the channels.
    pub normalization: Normalization,
}

impl EvalTransform {
    /// Transforms an image into `out`, `[3, crop, crop]`.
    ///
    /// # Panics
    /// If `out` has not `3 * crop * crop` values, or a size is 0.
    pub fn apply(&self, image: &Image, scratch: &mut Scratch, out: &mut [f32]) {
        self.apply_with(image, scratch, |_| {}, out);
    }

    /// As [`apply`](Self::apply), with `change` made to the crop, `[crop, crop, 3]`, before it is normalised.
    fn apply_with(
        &self,
        image: &Image,
        scratch: &mut Scratch,
        change: impl FnOnce(&mut [u8]),
        out: &mut [f32],
    ) {
        assert!(self.crop > 0 && self.resize != Some(0), "sizes are at least 1: {self:?}");
        assert_eq!(out.len(), 3 * self.crop * self.crop, "values of a crop of {0} x {0} pixels", self.crop);
        scratch.rgb.clear();
        scratch.rgb.resize(self.crop * self.crop * 3, 0);
        let (width, height) = self.resized(image);
        let columns = Overlap::centred(width, self.crop);
        let rows = Overlap::centred(height, self.crop);
        let part = [columns.length * 3, rows.length];
        let mut resized = vec![0; part[0] * part[1]];
        // The part of the image that becomes the crop, in one pass: a strip of a very long image stays small.
        let (left, part_width) = columns.within(width, image.width());
        let (top, part_height) = rows.within(height, image.height());
        let bilinear = ResizeAlg::Convolution(FilterType::Bilinear);
        let options = ResizeOptions::new().resize_alg(bilinear).crop(left, top, part_width, part_height);
        let source = TypedImageRef::<U8x3>::from_buffer(image.width(), image.height(), image.pixels())
            .expect("an Image has the bytes of its size");
        let mut target =
            TypedImage::<U8x3>::from_buffer(columns.length as u32, rows.length as u32, &mut resized)
                .expect("just made of this length");
        scratch
            .resizer
            .resize_typed(&source, &mut target, &options)
            .expect("the part lies in the image, and both have the same pixel type");
        for (row, pixels) in resized.chunks_exact(part[0]).enumerate() {
            let start = ((rows.target + row) * self.crop + columns.target) * 3;
            scratch.rgb[start..start + part[0]].copy_from_slice(pixels);
        }
        change(&mut scratch.rgb);
        let mut planes = Planes::of(out);
        unpack(&scratch.rgb, &mut planes);
        self.normalization.apply(&mut planes);
    }

    /// Size after the shorter side is resized; the longer one is rounded down, as by torchvision.
    fn resized(&self, image: &Image) -> (u64, u64) {
        let (width, height) = (u64::from(image.width()), u64::from(image.height()));
        let Some(shorter) = self.resize.map(|s| s as u64) else { return (width, height) };
        if width <= height {
            (shorter, shorter * height / width)
        } else {
            (shorter * width / height, shorter)
        }
    }
}

/// What a centre crop takes along one axis: `length` pixels from `source` on, put at `target`.
struct Overlap {
    source: u64,
    target: usize,
    length: usize,
}

impl Overlap {
    fn centred(available: u64, wanted: usize) -> Self {
        let room = available as i64 - wanted as i64;
        if room >= 0 {
            // Half pixels go to the even side, as Python's `round` does in torchvision.
            let source = (room as f64 / 2.0).round_ties_even() as u64;
            return Self { source, target: 0, length: wanted };
        }
        Self { source: 0, target: (-room / 2) as usize, length: available as usize }
    }

    /// Start and length of the same part before `available` pixels were made of `original`.
    fn within(&self, available: u64, original: u32) -> (f64, f64) {
        let scale = f64::from(original) / available as f64;
        let start = self.source as f64 * scale;
        // Rounded, it may end beyond the image: 28.0 * (29.0 / 28.0) is more than 29.
        (start, (self.length as f64 * scale).min(f64::from(original) - start))
    }
}
