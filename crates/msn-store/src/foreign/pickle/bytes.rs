//! The bytes of a pickle, front to back.

use super::PickleError;

/// Reads a pickle; keeps the position of the instruction for messages.
pub(super) struct Bytes<'a> {
    all: &'a [u8],
    next: usize,
    /// Position of the current instruction.
    pub(super) at: usize,
}

impl<'a> Bytes<'a> {
    pub(super) fn new(all: &'a [u8]) -> Self {
        Self { all, next: 0, at: 0 }
    }

    /// The byte of the next instruction.
    pub(super) fn instruction(&mut self) -> Result<u8, PickleError> {
        self.at = self.next;
        Ok(self.take(1)?[0])
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> usize {
        self.next
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], PickleError> {
        let rest = &self.all[self.next..];
        let taken = rest.get(..count).ok_or(PickleError::Truncated { at: self.at })?;
        self.next += count;
        Ok(taken)
    }

    /// Up to the next line feed, which is left out.
    pub(super) fn line(&mut self) -> Result<&'a [u8], PickleError> {
        let rest = &self.all[self.next..];
        let end = rest.iter().position(|&byte| byte == b'\n');
        let line = &rest[..end.ok_or(PickleError::Truncated { at: self.at })?];
        self.next += line.len() + 1;
        Ok(line)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        Ok(self.take(N)?.try_into().expect("as many bytes as were taken"))
    }

    /// Bytes led by their number in 1, 4 or 8 bytes.
    pub(super) fn counted(&mut self, width: usize) -> Result<&'a [u8], PickleError> {
        let mut count = [0; 8];
        count[..width].copy_from_slice(self.take(width)?);
        // What does not fit a usize is longer than any slice.
        self.take(usize::try_from(u64::from_le_bytes(count)).unwrap_or(usize::MAX))
    }
}
