//! CRC-32 (IEEE 802.3) and length of everything that passes through a reader or writer.

use std::io::{self, Read, Write};

/// Counts and sums the bytes on their way to or from `inner`.
pub(crate) struct Summed<T> {
    inner: T,
    crc: crc32fast::Hasher,
    bytes: u64,
}

impl<T> Summed<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, crc: crc32fast::Hasher::new(), bytes: 0 }
    }

    /// (bytes, CRC-32) of what has passed.
    pub(crate) fn finish(self) -> (u64, u32) {
        (self.bytes, self.crc.finalize())
    }

    fn count(&mut self, passed: &[u8]) {
        self.crc.update(passed);
        self.bytes += passed.len() as u64;
    }
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.count(&buffer[..n]);
        Ok(n)
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buffer)?;
        self.count(&buffer[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
