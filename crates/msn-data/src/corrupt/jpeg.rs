//! JPEG compression. Strength: the quality, 1 to 100.

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;

use crate::{Limits, decode};

pub(super) fn apply(rgb: &mut [u8], side: usize, quality: u8) {
    let mut bytes = Vec::new();
    let length = u32::try_from(side).expect("a side below 2^32");
    JpegEncoder::new_with_quality(&mut bytes, quality)
        .encode(rgb, length, length, ExtendedColorType::Rgb8)
        .expect("an RGB image of this size, into memory");
    let image = decode(&bytes, &Limits::default()).expect("a JPEG that was just made");
    rgb.copy_from_slice(image.pixels());
}
