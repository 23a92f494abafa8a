//! Every format but JPEG, by the `image` crate, and what all formats share.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, RgbImage};

use super::{FULL_RANGE, Format, Limits};
use crate::{DecodeError, Image};

/// Largest decoded pixel: four channels of 32-bit float (TIFF).
const MAX_BYTES_PER_PIXEL: u64 = 16;
/// What a decoder may need besides the pixels.
pub(super) const WORKSPACE: u64 = 64 << 20;

pub(super) fn decode_into(
    bytes: &[u8],
    format: Format,
    limits: &Limits,
    image: &mut Image,
) -> Result<(), DecodeError> {
    let name = format.name();
    let malformed = |error: ImageError| match error {
        ImageError::Unsupported(kind) => DecodeError::Unsupported { format: name, reason: kind.to_string() },
        error => DecodeError::Malformed { format: name, reason: error.to_string() },
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format.library());
    let mut allocation = image::Limits::default();
    allocation.max_alloc =
        Some(limits.max_pixels.saturating_mul(MAX_BYTES_PER_PIXEL).saturating_add(WORKSPACE));
    reader.limits(allocation);
    let mut decoder = reader.into_decoder().map_err(malformed)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(DecodeError::Malformed { format: name, reason: format!("size {width} x {height}") });
    }
    limits.check_pixels(width, height)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let decoded = DynamicImage::from_decoder(decoder).map_err(malformed)?;
    *image = to_rgb(decoded, limits.levels);
    orient(image, orientation);
    Ok(())
}

/// Turns and mirrors the image as its EXIF orientation says.
pub(super) fn orient(image: &mut Image, orientation: Orientation) {
    if orientation == Orientation::NoTransforms {
        return;
    }
    let (width, height) = (image.width(), image.height());
    let pixels = std::mem::take(image).into_pixels();
    let rgb = RgbImage::from_raw(width, height, pixels).expect("an Image has the bytes of its size");
    let mut turned = DynamicImage::ImageRgb8(rgb);
    turned.apply_orientation(orientation);
    *image = to_rgb(turned, FULL_RANGE);
}

/// `levels`: see [`Limits::levels`].
fn to_rgb(mut decoded: DynamicImage, levels: [u16; 2]) -> Image {
    let (width, height) = (decoded.width(), decoded.height());
    if levels != FULL_RANGE {
        stretch(&mut decoded, levels);
    }
    let pixels = if decoded.color().has_alpha() {
        on_white(&decoded.into_rgba8().into_raw())
    } else {
        decoded.into_rgb8().into_raw()
    };
    Image::new(width, height, pixels)
}

/// Spreads the samples between `black` and `white` over all that 16 bits hold; of 16-bit images alone.
fn stretch(image: &mut DynamicImage, [black, white]: [u16; 2]) {
    let range = u64::from(white - black);
    let stretched = |sample: &mut u16| {
        let above = u64::from((*sample).clamp(black, white) - black);
        *sample = ((above * u64::from(u16::MAX) + range / 2) / range) as u16;
    };
    // Transparency has no range but its own.
    match image {
        DynamicImage::ImageLuma16(grey) => grey.iter_mut().for_each(stretched),
        DynamicImage::ImageRgb16(rgb) => rgb.iter_mut().for_each(stretched),
        DynamicImage::ImageLumaA16(grey) => grey.pixels_mut().for_each(|pixel| stretched(&mut pixel.0[0])),
        DynamicImage::ImageRgba16(rgba) => {
            rgba.pixels_mut().for_each(|pixel| pixel.0[..3].iter_mut().for_each(stretched));
        }
        _ => {}
    }
}

/// Composes RGBA pixels with straight alpha on white: `c * a + 255 * (1 - a)`, rounded.
fn on_white(rgba: &[u8]) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(rgba.len() / 4 * 3);
    for &[r, g, b, a] in rgba.as_chunks().0 {
        let a = u32::from(a);
        rgb.extend([r, g, b].map(|c| ((u32::from(c) * a + 255 * (255 - a) + 127) / 255) as u8));
    }
    rgb
}
