//! Reading whole files and parts of files, bounded and from many threads.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use msn_store::read_exact_at;

use crate::Error;

/// Replaces the content of `bytes` by the file's.
///
/// # Errors
/// If it cannot be read, is no file (a pipe would wait for ever) or is longer than `max_bytes`.
pub fn read_file(path: &Path, max_bytes: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
    bytes.clear();
    let io_error = |e| Error::io(path, e);
    let facts = fs::metadata(path).map_err(io_error)?;
    // Opening a pipe waits for someone to write into it.
    if !facts.is_file() {
        return Err(Error::expected(path, "a file", "a folder, a pipe or a device"));
    }
    check_length(path, facts.len(), max_bytes)?;
    // The length was looked up before: a file that grows meanwhile is cut off, which the decoder notices.
    let length = facts.len() as usize;
    bytes.reserve_exact(length);
    let file = File::open(path).map_err(io_error)?;
    file.take(length as u64).read_to_end(bytes).map_err(io_error)?;
    Ok(())
}

/// Refuses what is longer than `max_bytes`, before any memory is taken for it.
pub(super) fn check_length(path: &Path, found: u64, max_bytes: usize) -> Result<(), Error> {
    if found > max_bytes as u64 {
        return Err(Error::TooManyBytes { path: path.to_owned(), limit: max_bytes, found });
    }
    Ok(())
}

/// Files held open at a time; systems commonly allow a process 1,024.
const MAX_HELD: usize = 512;
static HELD: AtomicUsize = AtomicUsize::new(0);

/// A file that many threads read parts of. It stays open, unless very many are: then each reading opens it anew.
#[derive(Debug)]
pub(super) struct SharedFile {
    path: PathBuf,
    file: Option<File>,
    length: u64,
}

impl SharedFile {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let io_error = |e| Error::io(path, e);
        if !fs::metadata(path).map_err(io_error)?.is_file() {
            return Err(Error::expected(path, "a file", "a folder, a pipe or a device"));
        }
        let mut shared = Self::from_file(path, File::open(path).map_err(io_error)?)?;
        if HELD.load(Ordering::Relaxed) > MAX_HELD {
            shared.close();
        }
        Ok(shared)
    }

    /// A file that is open already and stays so: one that may have no name any more. `path` is for messages.
    pub(super) fn from_file(path: &Path, file: File) -> Result<Self, Error> {
        let length = file.metadata().map_err(|e| Error::io(path, e))?.len();
        HELD.fetch_add(1, Ordering::Relaxed);
        Ok(Self { path: path.to_owned(), file: Some(file), length })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Length in bytes when it was opened.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Fills `bytes` with what stands at `offset`.
    pub(super) fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        match &self.file {
            Some(file) => read_exact_at(file, bytes, offset),
            None => read_exact_at(&File::open(&self.path)?, bytes, offset),
        }
    }

    /// A reader with a position of its own, at the start.
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader { file: self, position: 0 }
    }

    fn close(&mut self) {
        if self.file.take().is_some() {
            HELD.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for SharedFile {
    fn drop(&mut self) {
        self.close();
    }
}

/// Reads a shared file from a position that no one shares.
pub(super) struct Reader<'a> {
    file: &'a SharedFile,
    position: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.file.length.saturating_sub(self.position);
        let count = into.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.file.read_exact_at(&mut into[..count], self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.file.length.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// Reads, and keeps why that failed: who reads through another reader is told only what that one makes of it.
pub(super) struct Watched<'a, R> {
    inner: R,
    failure: &'a Cell<Option<io::Error>>,
}

impl<'a, R> Watched<'a, R> {
    pub(super) fn new(inner: R, failure: &'a Cell<Option<io::Error>>) -> Self {
        Self { inner, failure }
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.inner.read(into).map_err(|e| {
            let kind = e.kind();
            self.failure.set(Some(e));
            kind.into()
        })
    }
}

impl<R: Seek> Seek for Watched<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        // A damaged archive may ask for any position, which says nothing of the disk.
        self.inner.seek(to)
    }
}
