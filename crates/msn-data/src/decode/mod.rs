//! Encoded bytes to 8-bit RGB.

mod common;
mod details;
mod format;
mod jpeg;
mod palette;
mod pnm;
mod webp;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{DecodeError, Image};

pub(crate) use details::Details;
pub use format::Format;

/// What is made of encoded images: guards against files that would fill the memory, and the range of 16-bit samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest file, in bytes.
    pub max_bytes: usize,
    /// Largest image, in pixels. A worker holds up to about 12 bytes a pixel while it decodes.
    pub max_pixels: u64,
    /// The samples of a 16-bit image that become black and white, the lower one first; those between are spread evenly over
    /// the 256 levels, those outside cut off.
    pub levels: [u16; 2],
}

/// All that 16 bits hold.
pub const FULL_RANGE: [u16; 2] = [0, u16::MAX];

impl Default for Limits {
    /// 128 MiB and 100 million pixels: beyond any photograph, below what an ordinary machine minds.
    fn default() -> Self {
        Self { max_bytes: 128 << 20, max_pixels: 100_000_000, levels: FULL_RANGE }
    }
}

impl Limits {
    /// Limits in the units of a configuration: MiB and millions of pixels.
    pub fn of(max_file_mib: usize, max_megapixels: u64, levels: [u16; 2]) -> Self {
        Self {
            max_bytes: max_file_mib.saturating_mul(1 << 20),
            max_pixels: max_megapixels.saturating_mul(1_000_000),
            levels,
        }
    }

    fn check_pixels(&self, width: u32, height: u32) -> Result<(), DecodeError> {
        if u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(DecodeError::TooManyPixels { limit: self.max_pixels, width, height });
        }
        Ok(())
    }
}

/// Decodes JPEG, PNG, WebP, BMP, TIFF, GIF (first frame) or binary PPM and PGM data, told apart by content. EXIF orientation is applied,
/// transparency is composed on white, 16 bits a channel become 8 as [`Limits::levels`] says, CMYK is converted.
///
/// # Errors
/// If the data is of no such format, broken, truncated, or beyond the limits.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Image, DecodeError> {
    let mut image = Image::default();
    decode_into(bytes, limits, &mut image)?;
    Ok(image)
}

/// As [`decode`], into an image whose allocation is reused; after an error its content is arbitrary.
///
/// # Errors
/// As [`decode`].
pub fn decode_into(bytes: &[u8], limits: &Limits, image: &mut Image) -> Result<(), DecodeError> {
    if bytes.len() > limits.max_bytes {
        return Err(DecodeError::TooManyBytes { limit: limits.max_bytes, found: bytes.len() });
    }
    let format = Format::of(bytes)?;
    // A hostile file may meet a bug in a decoder: that costs this image, not the run.
    let decoded = catch_unwind(AssertUnwindSafe(|| match format {
        Format::Pnm => pnm::decode_into(bytes, limits, image),
        Format::Jpeg => jpeg::decode_into(bytes, limits, image),
        Format::Tiff => palette::decode_into(bytes, limits, image)
            .unwrap_or_else(|| common::decode_into(bytes, format, limits, image)),
        Format::WebP => {
            webp::check_chunks(bytes).and_then(|()| common::decode_into(bytes, format, limits, image))
        }
        other => common::decode_into(bytes, other, limits, image),
    }));
    decoded.unwrap_or_else(|panic| {
        *image = Image::default();
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        let reason = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(DecodeError::Panicked { format: format.name(), reason })
    })
}
