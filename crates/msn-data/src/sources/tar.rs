//! An uncompressed tar archive of images, indexed once and then read at random.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Dataset, is_image_name};
use crate::Error;

/// How compressed files begin, what they are called, and what to do about them.
const COMPRESSIONS: [(&[u8], &str, &str); 4] = [
    (&[0x1F, 0x8B], "gzip", "gunzip"),
    (&[0x28, 0xB5, 0x2F, 0xFD], "zstd", "zstd -d"),
    (&[0xFD, b'7', b'z', b'X', b'Z'], "xz", "unxz"),
    (b"BZh", "bzip2", "bunzip2"),
];

const TAR_ENDINGS: [&str; 9] =
    [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tar.lz4"];

/// True for names of tar archives, compressed ones too: those are told apart, with advice, when they are opened.
pub(super) fn accepts(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    TAR_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

struct Entry {
    name: Box<str>,
    offset: u64,
    length: usize,
}

/// The images of a tar archive, ordered by name.
pub(super) struct Tar {
    path: PathBuf,
    file: File,
    entries: Vec<Entry>,
}

impl Tar {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let mut file = File::open(path).map_err(|e| Error::io(path, e))?;
        refuse_compressed(path, &mut file)?;
        let mut entries = index(path, &file)?;
        if entries.is_empty() {
            return Err(Error::NoImages { path: path.to_owned() });
        }
        entries.sort_unstable_by(|a, b| (&a.name, a.offset).cmp(&(&b.name, b.offset)));
        Ok(Self { path: path.to_owned(), file, entries })
    }
}

impl Dataset for Tar {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> usize {
        self.entries.len()
    }

    fn name(&self, index: usize) -> &str {
        &self.entries[index].name
    }

    fn read_into(&self, index: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let entry = &self.entries[index];
        bytes.resize(entry.length, 0);
        read_exact_at(&self.file, bytes, entry.offset).map_err(|e| Error::io(self.path.join(&*entry.name), e))
    }
}

fn refuse_compressed(path: &Path, file: &mut File) -> Result<(), Error> {
    let mut first = Vec::new();
    file.by_ref().take(6).read_to_end(&mut first).map_err(|e| Error::io(path, e))?;
    match COMPRESSIONS.iter().find(|(magic, ..)| first.starts_with(magic)) {
        Some(&(_, format, command)) => Err(Error::CompressedTar { path: path.to_owned(), format, command }),
        None => Ok(()),
    }
}

/// Reads the headers alone, skipping from one to the next.
fn index(path: &Path, mut file: &File) -> Result<Vec<Entry>, Error> {
    use io::Seek;
    let found = file.metadata().map_err(|e| Error::io(path, e))?.len();
    file.rewind().map_err(|e| Error::io(path, e))?;
    let mut entries: Vec<Entry> = Vec::new();
    let mut last = String::new();
    let mut end = 0;
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries_with_seek().map_err(|e| Error::io(path, e))? {
        let complete = entries.len();
        let entry = entry.map_err(|e| broken(path, e, &last, end, found, complete))?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_owned();
        let (offset, size) = (entry.raw_file_position(), entry.size());
        end = offset.saturating_add(size);
        if end > found {
            return Err(Error::TruncatedTar {
                path: path.to_owned(),
                entry: name,
                needed: end,
                found,
                complete,
            });
        }
        if entry.header().entry_type().is_file() && is_image_name(&name) {
            let length = usize::try_from(size).expect("shorter than the file, which was opened");
            entries.push(Entry { name: name.as_str().into(), offset, length });
        }
        last = name;
    }
    Ok(entries)
}

/// A failure to read the header after the entry `last`, which ends at byte `end`: a file that stops right there, in
/// the middle of a 512-byte header, is truncated; anything else is damaged.
fn broken(path: &Path, e: io::Error, last: &str, end: u64, found: u64, complete: usize) -> Error {
    let header = end.next_multiple_of(512);
    if found < header + 512 {
        let (path, entry) = (path.to_owned(), last.to_owned());
        return Error::TruncatedTar { path, entry, needed: header + 512, found, complete };
    }
    Error::MalformedTar { path: path.to_owned(), complete, reason: e.to_string() }
}

/// Reads at an offset without moving the file's position, so that threads do not disturb each other.
#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

/// Reads at an offset; no one depends on the file's position, which moves.
#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
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
