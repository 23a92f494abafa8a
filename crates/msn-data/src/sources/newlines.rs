//! Lines that end as on any system.

use std::io::{self, Read};

/// Makes `\n` of `\r\n` and of `\r` alone, and ends the last line, so that whoever counts `\n` counts lines.
pub(super) struct UnixLines<R> {
    inner: R,
    after_return: bool,
    /// The last byte handed on; `None` before the first.
    last: Option<u8>,
}

impl<R> UnixLines<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, after_return: false, last: None }
    }
}

impl<R: Read> Read for UnixLines<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut length = self.inner.read(out)?;
            if length == 0 && !out.is_empty() && self.last.is_some_and(|last| last != b'\n') {
                out[0] = b'\n';
                length = 1;
            }
            if length == 0 {
                return Ok(0);
            }
            let mut kept = 0;
            for at in 0..length {
                let byte = out[at];
                let is_told = self.after_return && byte == b'\n';
                self.after_return = byte == b'\r';
                if !is_told {
                    out[kept] = if self.after_return { b'\n' } else { byte };
                    kept += 1;
                }
            }
            if kept > 0 {
                self.last = Some(out[kept - 1]);
                return Ok(kept);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands on so many bytes at a time.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(out.len());
            self.0.read(&mut out[..length])
        }
    }

    #[test]
    fn lines_end_alike_wherever_they_are_cut() {
        for (text, expected) in [
            ("a\r\nb\r\n", "a\nb\n"),
            ("a\nb", "a\nb\n"),
            ("a\rb\r", "a\nb\n"),
            ("\r\n\r\n\n\ra", "\n\n\n\na\n"),
            ("a\r\n", "a\n"),
            ("", ""),
        ] {
            for piece in 1..4 {
                let mut read = String::new();
                UnixLines::new(Pieces(text.as_bytes(), piece)).read_to_string(&mut read).expect("memory");
                assert_eq!(read, expected, "{text:?} in pieces of {piece}");
            }
        }
    }
}
