//! JPEG straight into the reused buffer: the format of nearly every large dataset.

use image::metadata::Orientation;
use memchr::memmem;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::{Limits, common};
use crate::{DecodeError, Image};

const START_OF_SCAN: u8 = 0xDA;
const END_OF_IMAGE: [u8; 2] = [0xFF, 0xD9];

pub(super) fn decode_into(bytes: &[u8], limits: &Limits, image: &mut Image) -> Result<(), DecodeError> {
    let malformed = |reason: String| DecodeError::Malformed { format: "JPEG", reason };
    // Not strict: like libjpeg, tolerate what real cameras write. Truncation is told apart below.
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let headers = decoder.decode_headers();
    if headers.is_err() && !has_end(bytes) {
        return Err(DecodeError::Truncated { found: bytes.len() });
    }
    headers.map_err(|e| malformed(e.to_string()))?;
    let (width, height) = decoder.dimensions().ok_or_else(|| malformed("no image size".to_owned()))?;
    let (width, height) = (width as u32, height as u32);
    if width == 0 || height == 0 {
        return Err(malformed(format!("size {width} x {height}")));
    }
    limits.check_pixels(width, height)?;
    if !has_end(bytes) {
        return Err(DecodeError::Truncated { found: bytes.len() });
    }
    decoder.decode_into(image.reset(width, height)).map_err(|e| malformed(e.to_string()))?;
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    common::orient(image, orientation.unwrap_or(Orientation::NoTransforms));
    Ok(())
}

/// True if the end-of-image marker comes after the first scan of the picture itself. The marker cannot occur in
/// entropy-coded data; it does occur in the thumbnails of EXIF headers, hence the walk over the segments.
fn has_end(bytes: &[u8]) -> bool {
    bytes.ends_with(&END_OF_IMAGE)
        || scan_start(bytes).is_some_and(|start| memmem::find(&bytes[start..], &END_OF_IMAGE).is_some())
}

/// Where the first start-of-scan segment begins.
fn scan_start(bytes: &[u8]) -> Option<usize> {
    let mut at = 2;
    loop {
        at += bytes.get(at..)?.iter().position(|&b| b == 0xFF)?;
        let marker = *bytes.get(at + 1)?;
        match marker {
            START_OF_SCAN => return Some(at),
            // Fill bytes, stuffing, restart markers and the start of the image have no length.
            0x00 | 0x01 | 0xD0..=0xD8 => at += 2,
            0xFF => at += 1,
            _ => {
                let length = [*bytes.get(at + 2)?, *bytes.get(at + 3)?];
                at += 2 + usize::from(u16::from_be_bytes(length));
            }
        }
    }
}
