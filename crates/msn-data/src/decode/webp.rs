//! What has to hold of a WebP file before its decoder may see it.

use crate::DecodeError;

/// Refuses a file with a chunk that ends beyond it: the decoder takes as much memory as a chunk of metadata claims to
/// need, up to 4 GiB, before it reads a byte of it.
pub(super) fn check_chunks(bytes: &[u8]) -> Result<(), DecodeError> {
    // `RIFF`, the length of what follows, `WEBP`; then chunks of a name, a length and so many bytes, padded to be even.
    let length_at = |at: usize| -> Option<usize> {
        bytes.get(at..)?.first_chunk().map(|length| u32::from_le_bytes(*length) as usize)
    };
    let end = length_at(4).map_or(0, |length| 8 + length);
    let mut at = 12;
    while let Some(length) = length_at(at + 4).filter(|_| at < end) {
        let begin = at + 8;
        if length > bytes.len() - begin {
            let reason = format!("expected a chunk of {length} bytes, found {}", bytes.len() - begin);
            return Err(DecodeError::Malformed { format: "WebP", reason });
        }
        at = begin + length.next_multiple_of(2);
    }
    Ok(())
}
