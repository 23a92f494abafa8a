//! Images that a source holds as bare pixels: handed on as PPM or PGM data, a short header before the same bytes, so
//! that every source gives encoded images.

/// Replaces the content of `bytes` by a header and the pixels, `[height, width, channels]`.
///
/// # Panics
/// If there are neither 1 nor 3 channels.
pub(super) fn encode(width: usize, height: usize, channels: usize, pixels: &[u8], bytes: &mut Vec<u8>) {
    let kind = match channels {
        1 => 5,
        3 => 6,
        _ => panic!("an image of {channels} channels"),
    };
    bytes.clear();
    bytes.extend_from_slice(format!("P{kind}\n{width} {height}\n255\n").as_bytes());
    bytes.extend_from_slice(pixels);
}
