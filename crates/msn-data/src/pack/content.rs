//! What an image is archived as.

use std::io::Cursor;

use fast_image_resize::{FilterType, ResizeAlg};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use crate::{Format, Image};

/// Quality of a JPEG that is encoded anew, of 100: a fifth of the quantisation steps of the common 75.
const QUALITY: u8 = 95;

/// An encoded image, and how its name ends.
pub(super) struct Content {
    pub(super) ending: &'static str,
    pub(super) bytes: Vec<u8>,
    pub(super) is_shrunk: bool,
}

impl Content {
    /// The bytes given, which `image` was decoded from, as they are; PNG for bare pixels; and for an image whose shorter
    /// side is more than `shorter_side`, one of that size in the format it had if that is JPEG, else in PNG.
    pub(super) fn of(bytes: &[u8], image: &Image, shorter_side: Option<u32>) -> Self {
        let format = Format::of(bytes).expect("it was decoded");
        let small = shorter_side.and_then(|side| shrunk(image, side));
        let is_shrunk = small.is_some();
        let target = match (format, is_shrunk) {
            (Format::Pnm, _) => Format::Png,
            (Format::Jpeg, _) | (_, false) => format,
            (_, true) => Format::Png,
        };
        let bytes = if target == format && !is_shrunk {
            bytes.to_vec()
        } else {
            encoded(small.as_ref().unwrap_or(image), target)
        };
        Self { ending: target.extension(), bytes, is_shrunk }
    }
}

/// The image with a shorter side of `side` pixels, the longer one in proportion and rounded (bicubic, antialiased);
/// `None` if it is not larger.
fn shrunk(image: &Image, side: u32) -> Option<Image> {
    let (width, height) = (image.width(), image.height());
    let shorter = width.min(height);
    let scaled = |length: u32| {
        let (length, shorter) = (u64::from(length), u64::from(shorter));
        ((length * u64::from(side) + shorter / 2) / shorter) as u32
    };
    let bicubic = ResizeAlg::Convolution(FilterType::CatmullRom);
    (shorter > side).then(|| image.resized(scaled(width), scaled(height), bicubic))
}

/// JPEG, or else PNG, of one channel if the image is grey.
fn encoded(image: &Image, format: Format) -> Vec<u8> {
    let levels: Vec<u8>;
    let (pixels, colour) = if image.is_grey() {
        levels = image.pixels().iter().step_by(3).copied().collect();
        (&levels[..], ExtendedColorType::L8)
    } else {
        (image.pixels(), ExtendedColorType::Rgb8)
    };
    let mut file = Cursor::new(Vec::new());
    let (width, height) = (image.width(), image.height());
    let written = if format == Format::Jpeg {
        JpegEncoder::new_with_quality(&mut file, QUALITY).write_image(pixels, width, height, colour)
    } else {
        PngEncoder::new(&mut file).write_image(pixels, width, height, colour)
    };
    written.expect("memory takes everything, and an Image has the bytes of its size");
    file.into_inner()
}
