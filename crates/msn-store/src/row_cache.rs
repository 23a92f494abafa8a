//! Rows of numbers, kept by the digest of what each was computed from.
//!
//! One file: a header, then a block for each time that rows were added: their number and the CRC-32 of the table; the
//! table, which has a digest and the CRC-32 of the row for each; the rows. All little-endian. What a crash left at the end
//! is no whole block; it is passed over, and the next block takes its place.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cache::{CacheFolder, mark_as_used};
use crate::error::{Result, StoreError};
use crate::lock;
use crate::positional::read_exact_at;

/// What the file begins with, the last byte being the version of the format; the number of columns follows.
const MAGIC: [u8; 8] = *b"msnrows\x01";
const HEADER_BYTES: usize = MAGIC.len() + 4;
/// Number of rows and CRC-32 of the table.
const BLOCK_HEADER_BYTES: usize = 8;
/// Digest and CRC-32 of a row.
const ENTRY_BYTES: usize = 20;

/// Rows of equally many numbers in one file of a [`CacheFolder`], found by their digests.
///
/// Several processes may use one file: the one that has its lock adds rows, and another one may once the lock is free. May be
/// used by many threads at once.
#[derive(Debug)]
pub struct RowCache {
    folder: CacheFolder,
    name: String,
    columns: usize,
    file: File,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Where each row is.
    places: HashMap<u128, Place>,
    /// End of the last whole block.
    end: u64,
    /// What has to be done before rows are added.
    access: Access,
    /// Whether a damaged row has been met.
    damaged: bool,
}

/// Whether this process may add rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// It has the lock, and knows all rows.
    Adds,
    /// Another process has the lock.
    Waits,
    /// The file is for reading only, or on a file system without locks.
    Reads,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    offset: u64,
    crc: u32,
}

impl RowCache {
    /// Opens the file of this name, or makes it, and marks it as just used. `columns` is the length of a row; a file of
    /// other rows, or of a later version, is begun anew.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the file can be neither opened nor made, or not be read.
    ///
    /// # Panics
    /// If `columns` is 0 or does not fit in 32 bits.
    pub fn open(folder: CacheFolder, name: &str, columns: usize) -> Result<Self> {
        let header = header(columns);
        let path = folder.path().join(name);
        let (file, writable) = open_file(folder.path(), &path)?;
        let access = if writable { take_lock(&file, &path) } else { Access::Reads };
        mark_as_used(&file);
        let end = HEADER_BYTES as u64;
        let mut inner = Inner { places: HashMap::new(), end, access, damaged: false };
        let mut found = vec![0; HEADER_BYTES];
        let read = read_exact_at(&file, &mut found, 0);
        if read.is_ok() && found == header {
            inner.find_rows(&file, columns).map_err(StoreError::io(&path, "read"))?;
        } else if access == Access::Adds {
            file.set_len(0)
                .and_then(|()| (&file).write_all(&header))
                .map_err(StoreError::io(&path, "write"))?;
        } else {
            // Another process is just making it.
            inner.access = Access::Reads;
        }
        Ok(Self { folder, name: name.to_owned(), columns, file, inner: Mutex::new(inner) })
    }

    /// Where the file is.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.inner().places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row of this digest; `None` if there is none, or it is damaged.
    pub fn read(&self, digest: u128) -> Option<Vec<f32>> {
        let place = *self.inner().places.get(&digest)?;
        let mut bytes = vec![0; self.columns * size_of::<f32>()];
        let read = read_exact_at(&self.file, &mut bytes, place.offset);
        if read.is_err() || crc32fast::hash(&bytes) != place.crc {
            let mut inner = self.inner();
            if !std::mem::replace(&mut inner.damaged, true) {
                tracing::warn!("{}: rows are damaged and computed anew", self.path().display());
            }
            inner.places.remove(&digest);
            return None;
        }
        let (numbers, _) = bytes.as_chunks::<{ size_of::<f32>() }>();
        Some(numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    /// Adds rows, one a digest; gives whether it could: not while another process does, nor to a file for reading only.
    ///
    /// # Errors
    /// [`StoreError::CacheTooSmall`] if the folder has no room for a file of that size; [`StoreError::Io`] if it cannot be
    /// written. The rows that were there before are there still.
    ///
    /// # Panics
    /// If there are not as many rows as digests.
    pub fn add(&self, digests: &[u128], rows: &[f32]) -> Result<bool> {
        assert!(rows.len() == digests.len() * self.columns, "RowCache: a row of {} a digest", self.columns);
        if digests.is_empty() {
            return Ok(true);
        }
        let path = self.path();
        let mut inner = self.inner();
        if inner.access == Access::Waits && self.file.try_lock().is_ok() {
            // The other process has added rows.
            inner.find_rows(&self.file, self.columns).map_err(StoreError::io(&path, "read"))?;
            inner.access = Access::Adds;
        }
        if inner.access != Access::Adds {
            return Ok(false);
        }
        let (block, crcs) = self.block(digests, rows);
        self.folder.make_room_for(&self.name, inner.end + block.len() as u64)?;
        let mut file = &self.file;
        let written = file.seek(SeekFrom::Start(inner.end)).and_then(|_| file.write_all(&block));
        written.map_err(|error| {
            // A full disk is not to stay full for a part of a block.
            let _ = file.set_len(inner.end);
            StoreError::io(&path, "write")(error)
        })?;
        let first = inner.end + (BLOCK_HEADER_BYTES + digests.len() * ENTRY_BYTES) as u64;
        inner.end += block.len() as u64;
        for (row, (&digest, crc)) in digests.iter().zip(crcs).enumerate() {
            let offset = first + (row * self.columns * size_of::<f32>()) as u64;
            inner.places.insert(digest, Place { offset, crc });
        }
        Ok(true)
    }

    /// The bytes of a block, and the CRC-32 of each row.
    fn block(&self, digests: &[u128], rows: &[f32]) -> (Vec<u8>, Vec<u32>) {
        let numbers: Vec<[u8; size_of::<f32>()]> = rows.iter().map(|number| number.to_le_bytes()).collect();
        let crc = |row: &[[u8; size_of::<f32>()]]| crc32fast::hash(row.as_flattened());
        let crcs: Vec<u32> = numbers.chunks_exact(self.columns).map(crc).collect();
        let entry = |(digest, crc): (&u128, &u32)| [&digest.to_le_bytes()[..], &crc.to_le_bytes()].concat();
        let table: Vec<u8> = digests.iter().zip(&crcs).flat_map(entry).collect();
        let count = u32::try_from(digests.len()).expect("as many rows as fit in memory");
        let head = [count.to_le_bytes(), crc32fast::hash(&table).to_le_bytes()].concat();
        ([&head[..], &table, numbers.as_flattened()].concat(), crcs)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // What a thread that panicked has left is whole: places are added after their rows.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RowCache {
    /// As that of a run's lock: a child that is just being started may have a copy of the file.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

impl Inner {
    /// Reads the tables of all whole blocks from `end` on.
    fn find_rows(&mut self, file: &File, columns: usize) -> io::Result<()> {
        let length = file.metadata()?.len();
        let row_bytes = (columns * size_of::<f32>()) as u64;
        while self.end + BLOCK_HEADER_BYTES as u64 <= length {
            let mut head = [0; BLOCK_HEADER_BYTES];
            read_exact_at(file, &mut head, self.end)?;
            let [count, crc] = [&head[..4], &head[4..]]
                .map(|bytes| u32::from_le_bytes(bytes.try_into().expect("four bytes")));
            let table_at = self.end + BLOCK_HEADER_BYTES as u64;
            let first = table_at + u64::from(count) * ENTRY_BYTES as u64;
            let end = first + u64::from(count) * row_bytes;
            if count == 0 || end > length {
                break;
            }
            let mut table = vec![0; count as usize * ENTRY_BYTES];
            read_exact_at(file, &mut table, table_at)?;
            if crc32fast::hash(&table) != crc {
                break;
            }
            for (row, entry) in (0..).zip(table.as_chunks::<ENTRY_BYTES>().0) {
                let (digest, crc) = entry.split_at(16);
                let digest = u128::from_le_bytes(digest.try_into().expect("16 bytes"));
                let crc = u32::from_le_bytes(crc.try_into().expect("four bytes"));
                self.places.insert(digest, Place { offset: first + row * row_bytes, crc });
            }
            self.end = end;
        }
        Ok(())
    }
}

/// Takes the lock of the file, or says why not.
fn take_lock(file: &File, path: &Path) -> Access {
    match lock::try_lock(file) {
        Ok(()) => Access::Adds,
        Err(TryLockError::WouldBlock) => {
            tracing::warn!(
                "{}: others are adding to it; what is computed here is not kept meanwhile",
                path.display()
            );
            Access::Waits
        }
        Err(TryLockError::Error(error)) => {
            tracing::warn!("{}: nothing is added to it, since it cannot be locked: {error}", path.display());
            Access::Reads
        }
    }
}

fn header(columns: usize) -> Vec<u8> {
    assert!(columns > 0, "RowCache: rows of no number");
    let columns = u32::try_from(columns).expect("RowCache: columns that fit in 32 bits");
    [&MAGIC[..], &columns.to_le_bytes()].concat()
}

/// For reading and writing, which is told, or, in a folder that is for reading only, for reading.
fn open_file(folder: &Path, path: &Path) -> Result<(File, bool)> {
    fs::create_dir_all(folder).map_err(StoreError::io(folder, "create the folder"))?;
    match OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path) {
        Ok(file) => Ok((file, true)),
        Err(error) => match File::open(path) {
            Ok(file) => Ok((file, false)),
            Err(_) => Err(StoreError::io(path, "open")(error)),
        },
    }
}
