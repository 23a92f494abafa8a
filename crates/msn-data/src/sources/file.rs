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

/// What is read along: a thousand small entries of an archive, at the price of one reading.
const READ_ALONG: usize = 256 << 10;
/// What is read along after a longer jump: the rest would most likely be jumped over as well.
const AFTER_A_JUMP: usize = 4 << 10;
/// Not worth a jump, which costs a disk or a network as much as reading on.
const NOT_WORTH_A_JUMP: u64 = 64 << 10;

/// Reads along what comes next, for a reader of short pieces that goes forward and skips, by little or by much. No byte is
/// read along twice.
pub(super) struct ReadAlong<R> {
    inner: R,
    position: u64,
    /// What lies at `start`.
    kept: Vec<u8>,
    start: u64,
}

impl<R: Read + Seek> ReadAlong<R> {
    /// `inner` stands at its start.
    pub(super) fn new(inner: R) -> Self {
        Self { inner, position: 0, kept: Vec::new(), start: 0 }
    }

    /// What is kept from the position on.
    fn at_hand(&self) -> &[u8] {
        let past = self.position.checked_sub(self.start).and_then(|past| usize::try_from(past).ok());
        past.and_then(|past| self.kept.get(past..)).unwrap_or_default()
    }

    /// Keeps up to `length` bytes from the position on.
    fn keep(&mut self, length: usize) -> io::Result<()> {
        self.start = self.position;
        self.kept.resize(length, 0);
        let mut count = 0;
        let read = loop {
            match self.inner.read(&mut self.kept[count..]) {
                Ok(0) => break Ok(()),
                Ok(more) => count += more,
                Err(e) => break Err(e),
            }
        };
        self.kept.truncate(count);
        read
    }
}

impl<R: Read + Seek> Read for ReadAlong<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at_hand().is_empty() {
            let end = self.start + self.kept.len() as u64;
            let is_near = self.position.checked_sub(end).is_some_and(|gap| gap <= NOT_WORTH_A_JUMP);
            self.inner.seek(SeekFrom::Start(self.position))?;
            // What fails may be what was not asked for.
            if self.keep(if is_near { READ_ALONG } else { AFTER_A_JUMP }).is_err() && self.kept.is_empty() {
                self.inner.seek(SeekFrom::Start(self.position))?;
                let count = self.inner.read(into)?;
                self.position += count as u64;
                return Ok(count);
            }
        }
        let at_hand = self.at_hand();
        let count = into.len().min(at_hand.len());
        into[..count].copy_from_slice(&at_hand[..count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl<R: Read + Seek> Seek for ReadAlong<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(_) => Some(self.inner.seek(to)?),
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

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// Notes what is read of it.
    struct Noting<'a> {
        bytes: Cursor<&'a [u8]>,
        /// Number of readings, and bytes.
        read: &'a Cell<(usize, usize)>,
    }

    impl Read for Noting<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.bytes.read(into)?;
            let (times, bytes) = self.read.get();
            self.read.set((times + 1, bytes + count));
            Ok(count)
        }
    }

    impl Seek for Noting<'_> {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.bytes.seek(to)
        }
    }

    #[test]
    fn reading_along_takes_few_readings_of_small_entries_and_few_bytes_of_large_ones() {
        let bytes: Vec<u8> = (0..4_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for (skipped, most_times, most_bytes) in [(1_000, 40, 4_000_000), (200_000, 60, 500_000)] {
            let read = Cell::new((0, 0));
            let mut reader = ReadAlong::new(Noting { bytes: Cursor::new(&bytes), read: &read });
            let (mut header, mut at) = ([0; 512], 0);
            while at + header.len() < bytes.len() {
                reader.read_exact(&mut header).unwrap();
                assert_eq!(header, bytes[at..][..512], "at {at}");
                at = usize::try_from(reader.seek(SeekFrom::Current(skipped)).unwrap()).unwrap();
            }
            let (times, length) = read.get();
            assert!(times <= most_times && length <= most_bytes, "{skipped}: {times} times, {length} bytes");
        }
    }

    #[test]
    fn reading_along_ends_where_the_file_does_and_goes_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut reader = ReadAlong::new(Cursor::new(&bytes));
        let mut found = Vec::new();
        reader.read_to_end(&mut found).unwrap();
        assert_eq!(found, bytes);
        for (to, expected) in [
            (SeekFrom::Start(300), &[][..]),
            (SeekFrom::End(-2), &[254, 255]),
            (SeekFrom::Start(253), &[253, 254, 255]),
        ] {
            reader.seek(to).unwrap();
            found.clear();
            reader.read_to_end(&mut found).unwrap();
            assert_eq!(found, expected, "{to:?}");
        }
    }
}
