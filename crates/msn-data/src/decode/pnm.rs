//! Binary PGM and PPM with 8 bits a channel: what sources of bare pixels give, straight into the reused buffer.

use super::Limits;
use crate::{DecodeError, Image};

/// True for what begins like binary PGM (P5) or PPM (P6).
pub(super) fn accepts(bytes: &[u8]) -> bool {
    matches!(bytes, [b'P', b'5' | b'6', space, ..] if space.is_ascii_whitespace() || *space == b'#')
}

/// Decodes `P5` or `P6`, width, height and 255 as text, one white-space byte, and the pixels.
pub(super) fn decode_into(bytes: &[u8], limits: &Limits, image: &mut Image) -> Result<(), DecodeError> {
    let malformed = |reason: String| DecodeError::Malformed { format: "PNM", reason };
    let mut at = 2;
    let mut number = |what: &str| {
        number(bytes, &mut at).ok_or_else(|| malformed(format!("expected {what} in the header, found none")))
    };
    let (width, height, levels) = (number("a width")?, number("a height")?, number("a largest value")?);
    if width == 0 || height == 0 {
        return Err(malformed(format!("size {width} x {height}")));
    }
    if levels != 255 {
        return Err(malformed(format!("expected values up to 255, found {levels}")));
    }
    limits.check_pixels(width, height)?;
    let channels = if bytes[1] == b'5' { 1 } else { 3 };
    let needed = u64::from(width) * u64::from(height) * channels;
    // One white-space byte ends the header.
    let pixels = bytes.get(at + 1..).unwrap_or_default();
    let Some(pixels) = usize::try_from(needed).ok().and_then(|needed| pixels.get(..needed)) else {
        return Err(malformed(format!("expected {needed} bytes of pixels, found {}", pixels.len())));
    };
    let target = image.reset(width, height);
    if channels == 3 {
        target.copy_from_slice(pixels);
    } else {
        target.as_chunks_mut().0.iter_mut().zip(pixels).for_each(|(rgb, &grey)| *rgb = [grey; 3]);
    }
    Ok(())
}

/// The next decimal number after white space and comments, which go from `#` to the end of the line.
fn number(bytes: &[u8], at: &mut usize) -> Option<u32> {
    loop {
        match bytes.get(*at)? {
            b'#' => *at += bytes[*at..].iter().position(|&byte| byte == b'\n')?,
            byte if byte.is_ascii_whitespace() => *at += 1,
            _ => break,
        }
    }
    let digits = bytes[*at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = std::str::from_utf8(&bytes[*at..*at + digits]).ok()?;
    *at += digits;
    text.parse().ok()
}
