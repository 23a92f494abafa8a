//! Reading files from where no one else reads.

use std::fs::File;
use std::io;

/// Reads at an offset without moving the file's position, so that threads do not disturb each other.
///
/// # Errors
/// If it cannot be read, or ends before `bytes` are full.
#[cfg(unix)]
pub fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

/// Reads at an offset; no one depends on the file's position, which moves.
///
/// # Errors
/// If it cannot be read, or ends before `bytes` are full.
#[cfg(windows)]
pub fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !bytes.is_empty() {
        let read = file.seek_read(bytes, offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes = &mut bytes[read..];
        offset += read as u64;
    }
    Ok(())
}
