//! TIFF with a palette (TIFF 6.0, section 5). The decoder knows none: it is handed a copy that calls the indices grey
//! levels, and the colours are looked up here.

use std::io::Cursor;

use image::metadata::Orientation;
use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult};
use tiff::tags::Tag;

use super::{Limits, common};
use crate::{DecodeError, Image};

const INTERPRETATION: u16 = 262;
const SHORT: u16 = 3;
const PALETTE: u16 = 3;
const GREY: u16 = 1;

/// `None` for what is no TIFF with a palette.
pub(super) fn decode_into(
    bytes: &[u8],
    limits: &Limits,
    image: &mut Image,
) -> Option<Result<(), DecodeError>> {
    let grey = as_grey(bytes)?;
    Some(decode_indices(grey, limits, image).unwrap_or_else(|e| Err(malformed(e.to_string()))))
}

fn malformed(reason: String) -> DecodeError {
    DecodeError::Malformed { format: "TIFF", reason }
}

/// A copy whose first directory speaks of grey levels where it spoke of a palette.
fn as_grey(bytes: &[u8]) -> Option<Vec<u8>> {
    let little = match bytes.first_chunk()? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let order = |value: u16| if little { value.to_le_bytes() } else { value.to_be_bytes() };
    let is = |at: usize, value: u16| bytes.get(at..)?.starts_with(&order(value)).then_some(());
    let at: [u8; 4] = *bytes.get(4..)?.first_chunk()?;
    let directory = if little { u32::from_le_bytes(at) } else { u32::from_be_bytes(at) } as usize;
    let count: [u8; 2] = *bytes.get(directory..)?.first_chunk()?;
    let count = if little { u16::from_le_bytes(count) } else { u16::from_be_bytes(count) };
    // A tag, a type, a count of values and the value, in 12 bytes.
    let mut entries = (0..usize::from(count)).map(|i| directory + 2 + 12 * i);
    let entry = entries.find(|&entry| is(entry, INTERPRETATION).is_some())?;
    is(entry + 2, SHORT)?;
    is(entry + 8, PALETTE)?;
    let mut grey = bytes.to_vec();
    grey[entry + 8..entry + 10].copy_from_slice(&order(GREY));
    Some(grey)
}

type Decoded = Result<Result<(), DecodeError>, tiff::TiffError>;

fn decode_indices(grey: Vec<u8>, limits: &Limits, image: &mut Image) -> Decoded {
    let mut bounds = tiff::decoder::Limits::default();
    bounds.decoding_buffer_size = usize::try_from(limits.max_pixels).unwrap_or(usize::MAX);
    bounds.intermediate_buffer_size = bounds.decoding_buffer_size.saturating_add(common::WORKSPACE as usize);
    let mut decoder = Decoder::new(Cursor::new(grey))?.with_limits(bounds);
    let (width, height) = decoder.dimensions()?;
    if width == 0 || height == 0 {
        return Ok(Err(malformed(format!("size {width} x {height}"))));
    }
    if let Err(too_many) = limits.check_pixels(width, height) {
        return Ok(Err(too_many));
    }
    let bits = match decoder.colortype()? {
        ColorType::Gray(bits @ (1 | 2 | 4 | 8)) => u32::from(bits),
        other => {
            return Ok(Err(malformed(format!("expected a palette of 1, 2, 4 or 8 bits, found {other:?}"))));
        }
    };
    let map = decoder.get_tag_u16_vec(Tag::ColorMap)?;
    let colors = 1 << bits;
    if map.len() != 3 * colors {
        return Ok(Err(malformed(format!(
            "expected a palette of {colors} colours, found {} values",
            map.len()
        ))));
    }
    let orientation = decoder.find_tag_unsigned::<u8>(Tag::Orientation)?.and_then(Orientation::from_exif);
    let row_bytes = (width as usize * bits as usize).div_ceil(8);
    let packed = match decoder.read_image()? {
        DecodingResult::U8(packed) if packed.len() == row_bytes * height as usize => packed,
        _ => return Ok(Err(malformed(format!("indices of another length than {width} x {height}")))),
    };
    // 16 bits each by the standard; some programs write 8, which libtiff tells apart in this way too.
    let shift = if map.iter().any(|&level| level > 255) { 8 } else { 0 };
    let color = |index: usize| [0, 1, 2].map(|channel| (map[channel * colors + index] >> shift) as u8);
    let pixels = image.reset(width, height).chunks_exact_mut(3 * width as usize);
    for (row, pixels) in packed.chunks_exact(row_bytes).zip(pixels) {
        for (x, pixel) in pixels.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            // The first pixel of a byte stands in its highest bits.
            let bit = x * bits as usize;
            let index = usize::from(row[bit / 8]) >> (8 - bits as usize - bit % 8) & (colors - 1);
            *pixel = color(index);
        }
    }
    common::orient(image, orientation.unwrap_or(Orientation::NoTransforms));
    Ok(Ok(()))
}
