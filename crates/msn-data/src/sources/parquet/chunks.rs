//! The parts of a file, as the `parquet` crate asks for them.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use super::super::file::SharedFile;

/// Bytes read at once for a page header, which has 30 or, with statistics, some hundred bytes.
const READ_AHEAD: usize = 512;

#[derive(Clone)]
pub(super) struct Chunks(Arc<SharedFile>);

impl Chunks {
    pub(super) fn new(file: SharedFile) -> Self {
        Self(Arc::new(file))
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.0.length()
    }
}

impl ChunkReader for Chunks {
    type T = From;

    fn get_read(&self, start: u64) -> Result<From> {
        Ok(From { file: Arc::clone(&self.0), offset: start, buffer: [0; READ_AHEAD], filled: 0, taken: 0 })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        // Checked before memory is taken: a damaged header may claim any length.
        if start.checked_add(length as u64).is_none_or(|end| end > self.0.length()) {
            return Err(ParquetError::EOF(format!(
                "expected {length} bytes at {start}, found a file of {}",
                self.0.length()
            )));
        }
        let mut bytes = vec![0; length];
        self.0.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// Reads a file from an offset on, without a position that readers share.
pub(super) struct From {
    file: Arc<SharedFile>,
    /// Where the next bytes are read from the file.
    offset: u64,
    buffer: [u8; READ_AHEAD],
    filled: usize,
    taken: usize,
}

impl Read for From {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.filled {
            let left = self.file.length().saturating_sub(self.offset).min(READ_AHEAD as u64) as usize;
            self.file.read_exact_at(&mut self.buffer[..left], self.offset)?;
            (self.filled, self.taken) = (left, 0);
            self.offset += left as u64;
        }
        let count = into.len().min(self.filled - self.taken);
        into[..count].copy_from_slice(&self.buffer[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}
