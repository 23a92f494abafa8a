//! Rows of numbers, kept by the digest of what each was computed from.
//!
//! One file: a header, then a block for each time that rows were added: their number and the CRC-32 of the table; the
//! table, which has a digest and the CRC-32 of the row for each; the rows. All little-endian. What a crash left at the end
//! is no whole block; it is passed over, and the next block takes its place.

use std::collections::HashMap;
use std::fs::{self, File, FileTimes, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::cache::CacheFolder;
use crate::error::{Result, StoreError};

/// What the file begins with, the last byte being the version of the format; the number of columns follows.
const MAGIC: [u8; 8] = *b"msnrows\x01";
const HEADER_BYTES: usize = MAGIC.len() + 4;
/// Number of rows and CRC-32 of the table.
const BLOCK_HEADER_BYTES: usize = 8;
/// Digest and CRC-32 of a row.
const ENTRY_BYTES: usize = 20;

/// Rows of equally many numbers in one file of a [`CacheFolder`], found by their digests.
///
/// Several processes may use one file: one of them adds rows, the others read those that were there when they opened it. May
/// be used by many threads at once.
#[derive(Debug)]
pub struct RowCache {
    folder: CacheFolder,
    name: String,
    columns: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    /// Where each row is.
    places: HashMap<u128, Place>,
    /// End of the last whole block.
    end: u64,
    /// Whether this process has the file's lock, and may add rows.
    adds: bool,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    offset: u64,
    crc: u32,
}

impl RowCache {
    /// Opens the file of this name, or makes it. `columns` is the length of a row; a file of other rows, or of a later
    /// version, is begun anew.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the file can be neither opened nor made.
    ///
    /// # Panics
    /// If `columns` is 0 or does not fit in 32 bits.
    pub fn open(folder: CacheFolder, name: &str, columns: usize) -> Result<Self> {
        let header = header(columns);
        let path = folder.path().join(name);
        let mut file = open_file(folder.path(), &path)?;
        // Not being the one that adds rows is no failure, nor is a file system without locks.
        let adds = match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
        };
        let mut found = Vec::new();
        (&mut file)
            .take(HEADER_BYTES as u64)
            .read_to_end(&mut found)
            .map_err(StoreError::io(&path, "read"))?;
        let mut inner = Inner { file, places: HashMap::new(), end: HEADER_BYTES as u64, adds };
        if found == header {
            inner.find_rows(columns).map_err(StoreError::io(&path, "read"))?;
        } else if adds {
            inner.begin(&header).map_err(StoreError::io(&path, "write"))?;
        }
        Ok(Self { folder, name: name.to_owned(), columns, inner: Mutex::new(inner) })
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
        let mut inner = self.inner();
        let place = *inner.places.get(&digest)?;
        let mut bytes = vec![0; self.columns * size_of::<f32>()];
        let read =
            inner.file.seek(SeekFrom::Start(place.offset)).and_then(|_| inner.file.read_exact(&mut bytes));
        if read.is_err() || crc32fast::hash(&bytes) != place.crc {
            tracing::warn!("{}: a row is damaged and is computed anew", self.path().display());
            inner.places.remove(&digest);
            return None;
        }
        let (numbers, _) = bytes.as_chunks::<{ size_of::<f32>() }>();
        Some(numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    /// Adds rows, one a digest, where this process may; else nothing happens.
    ///
    /// # Errors
    /// [`StoreError::CacheTooSmall`] if the folder has no room for a file of that size; [`StoreError::Io`] if it cannot be
    /// written. The rows that were there before are there still.
    ///
    /// # Panics
    /// If there are not as many rows as digests.
    pub fn add(&self, digests: &[u128], rows: &[f32]) -> Result<()> {
        assert!(rows.len() == digests.len() * self.columns, "RowCache: a row of {} a digest", self.columns);
        let mut inner = self.inner();
        if !inner.adds || digests.is_empty() {
            return Ok(());
        }
        let (block, crcs) = self.block(digests, rows);
        self.folder.make_room_for(&self.name, inner.end + block.len() as u64)?;
        let Inner { file, end, .. } = &mut *inner;
        let written = file.seek(SeekFrom::Start(*end)).and_then(|_| file.write_all(&block));
        written.map_err(StoreError::io(&self.path(), "write"))?;
        // In a folder on a system that refuses, the file merely looks older than it is.
        let _ = file.set_times(FileTimes::new().set_modified(SystemTime::now()));
        let first = *end + (BLOCK_HEADER_BYTES + digests.len() * ENTRY_BYTES) as u64;
        *end += block.len() as u64;
        for (row, (&digest, crc)) in digests.iter().zip(crcs).enumerate() {
            let offset = first + (row * self.columns * size_of::<f32>()) as u64;
            inner.places.insert(digest, Place { offset, crc });
        }
        Ok(())
    }

    /// The bytes of a block, and the CRC-32 of each row.
    fn block(&self, digests: &[u128], rows: &[f32]) -> (Vec<u8>, Vec<u32>) {
        let numbers: Vec<u8> = rows.iter().flat_map(|number| number.to_le_bytes()).collect();
        let crcs: Vec<u32> =
            numbers.chunks_exact(self.columns * size_of::<f32>()).map(crc32fast::hash).collect();
        let entry = |(digest, crc): (&u128, &u32)| [&digest.to_le_bytes()[..], &crc.to_le_bytes()].concat();
        let table: Vec<u8> = digests.iter().zip(&crcs).flat_map(entry).collect();
        let count = u32::try_from(digests.len()).expect("as many rows as fit in memory");
        let head = [count.to_le_bytes(), crc32fast::hash(&table).to_le_bytes()].concat();
        ([head, table, numbers].concat(), crcs)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A thread that panicked has at worst moved the file's position, which every use sets anew.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn begin(&mut self, header: &[u8]) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(header)
    }

    /// Reads the tables of all whole blocks.
    fn find_rows(&mut self, columns: usize) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        loop {
            let mut head = [0; BLOCK_HEADER_BYTES];
            if self.end + BLOCK_HEADER_BYTES as u64 > length {
                return Ok(());
            }
            self.file.seek(SeekFrom::Start(self.end))?;
            self.file.read_exact(&mut head)?;
            let ([count, crc], _) = head.as_chunks::<4>() else { unreachable!("eight bytes") };
            let (count, crc) = (u64::from(u32::from_le_bytes(*count)), u32::from_le_bytes(*crc));
            let row_bytes = (columns * size_of::<f32>()) as u64;
            let first = self.end + BLOCK_HEADER_BYTES as u64 + count * ENTRY_BYTES as u64;
            let end = first + count * row_bytes;
            if count == 0 || end > length {
                return Ok(());
            }
            let mut table = vec![0; count as usize * ENTRY_BYTES];
            self.file.read_exact(&mut table)?;
            if crc32fast::hash(&table) != crc {
                return Ok(());
            }
            for (row, entry) in (0..).zip(table.as_chunks::<ENTRY_BYTES>().0) {
                let (digest, crc) = entry.split_at(16);
                let digest = u128::from_le_bytes(digest.try_into().expect("16 bytes"));
                let crc = u32::from_le_bytes(crc.try_into().expect("4 bytes"));
                self.places.insert(digest, Place { offset: first + row * row_bytes, crc });
            }
            self.end = end;
        }
    }
}

fn header(columns: usize) -> Vec<u8> {
    assert!(columns > 0, "RowCache: rows of no number");
    let columns = u32::try_from(columns).expect("RowCache: columns that fit in 32 bits");
    [&MAGIC[..], &columns.to_le_bytes()].concat()
}

/// For reading and writing, or, in a folder that is for reading only, for reading.
fn open_file(folder: &Path, path: &Path) -> Result<File> {
    fs::create_dir_all(folder).map_err(StoreError::io(folder, "create the folder"))?;
    let writing = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    writing.or_else(|error| File::open(path).map_err(|_| error)).map_err(StoreError::io(path, "open"))
}
