//! An uncompressed tar archive of images, indexed once and then read at random.
//!
//! By itself or as a shard: in the WebDataset convention entries that share a key (the name up to the first dot of its
//! last part) belong together, `key.jpg` with its class in `key.cls` or `key.json`.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::{ReadAlong, SharedFile, Watched, check_length};
use super::names::{Labels, Names};
use super::shards::Shards;
use super::{Dataset, file_name, is_image_name, parent_folder};
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

/// Fields of `key.json` that may hold the class, the first that is there.
const LABEL_FIELDS: [&str; 3] = ["label", "cls", "class"];
/// A longer `.cls` or `.json` entry is no label.
const MAX_LABEL_BYTES: u64 = 64 << 10;

/// True for names of tar archives, compressed ones too: those are told apart, with advice, when they are opened.
pub(super) fn accepts(path: &Path) -> bool {
    let name = file_name(path).to_lowercase();
    TAR_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// The images of a tar archive, ordered by name.
pub(super) struct Tar {
    file: SharedFile,
    names: Names,
    labels: Labels,
    places: Vec<Place>,
    /// Where a shard is damaged: the last "image" stands for those that are lost, and this is what there is to say.
    damage: Option<String>,
}

impl Tar {
    /// A whole archive: a damaged one is an error, since a person who gives one file should know that it is cut.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let file = SharedFile::open(path)?;
        refuse_compressed(&file)?;
        let (contents, damage) = Contents::of(&file)?;
        if let Some(damage) = damage {
            return Err(damage);
        }
        if contents.images.is_empty() {
            return Err(Error::no_files(path));
        }
        Ok(contents.into_tar(file, "", None))
    }

    /// One archive of many; `name` stands before those of its images. Of a damaged one the whole images remain, and one more
    /// that cannot be read: so the damage is listed with the other broken images and stops the run if it is large.
    pub(super) fn of_shard(file: SharedFile, name: &str) -> Result<Self, Error> {
        refuse_compressed(&file)?;
        let (contents, damage) = Contents::of(&file)?;
        let damage = damage.map(|e| e.to_string());
        if let Some(damage) = &damage {
            tracing::warn!("{damage}");
        }
        Ok(contents.into_tar(file, &format!("{name}/"), damage))
    }
}

/// Offset and length in bytes of an image in its archive.
pub(super) type Place = (u64, usize);

impl Tar {
    /// Where the images are; those that are lost have no place and come last.
    #[cfg(feature = "remote")]
    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    /// Why images are lost, if any are.
    #[cfg(feature = "remote")]
    pub(super) fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }
}

impl Dataset for Tar {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn len(&self) -> usize {
        self.names.len()
    }

    fn name(&self, index: usize) -> &str {
        self.names.get(index)
    }

    fn label(&self, index: usize) -> Option<&str> {
        self.labels.get(index)
    }

    fn read_into(&self, index: usize, max_bytes: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let name = self.names.get(index);
        let Some(&(offset, length)) = self.places.get(index) else {
            let reason = self.damage.clone().expect("only damage has no place");
            return Err(Error::LostImages { shard: self.path().to_owned(), reason });
        };
        check_length(Path::new(name), length as u64, max_bytes)?;
        bytes.resize(length, 0);
        self.file.read_exact_at(bytes, offset).map_err(|e| Error::io(self.path().join(name), e))
    }
}

fn refuse_compressed(file: &SharedFile) -> Result<(), Error> {
    let path = file.path();
    let mut first = vec![0; file.length().min(6) as usize];
    file.read_exact_at(&mut first, 0).map_err(|e| Error::io(path, e))?;
    match COMPRESSIONS.iter().find(|(magic, ..)| first.starts_with(magic)) {
        Some(&(_, format, command)) => Err(Error::CompressedTar { path: path.to_owned(), format, command }),
        None => Ok(()),
    }
}

/// What the headers of an archive tell.
#[derive(Default)]
struct Contents {
    images: Vec<Entry>,
    /// Classes by their keys, or what is wrong with the entries that should tell them.
    classes: HashMap<String, Result<String, String>>,
}

struct Entry {
    name: String,
    offset: u64,
    length: usize,
}

impl Contents {
    fn of(file: &SharedFile) -> Result<(Self, Option<Error>), Error> {
        Self::read(file.path(), file.length(), file.reader())
    }

    /// Reads the headers and the labels alone, skipping the rest; up to the damage where there is any.
    ///
    /// # Errors
    /// If the system cannot read: that is no damage, and may be over the next time.
    fn read(path: &Path, length: u64, reader: impl Read + Seek) -> Result<(Self, Option<Error>), Error> {
        let (mut contents, failure) = (Self::default(), Cell::new(None));
        let end = contents.fill(path, length, Watched::new(ReadAlong::new(reader), &failure));
        match failure.take() {
            Some(e) => Err(Error::io(path, e)),
            None => Ok((contents, end.err())),
        }
    }

    /// The error is the damage, unless the reader failed.
    fn fill(&mut self, path: &Path, found: u64, reader: impl Read + Seek) -> Result<(), Error> {
        let mut last = String::new();
        let mut end = 0;
        // Of the images by their names, where there are links; as many as there were images at the last one.
        let mut places = HashMap::new();
        let mut archive = tar::Archive::new(reader);
        for entry in archive.entries_with_seek().map_err(|e| Error::io(path, e))? {
            let complete = self.images.len();
            let mut entry = entry.map_err(|e| broken(path, e, &last, end, found, complete))?;
            let name = entry_name(&entry.path_bytes());
            let (offset, size) = (entry.raw_file_position(), entry.size());
            end = offset.saturating_add(size);
            if end > found {
                let path = path.to_owned();
                return Err(Error::TruncatedTar { path, entry: name, needed: end, found, complete });
            }
            if entry.header().entry_type().is_hard_link() && is_image_name(&name) {
                // A second name of an entry before it, which has the bytes.
                let target = entry.link_name_bytes().unwrap_or_default();
                let target = entry_name(&target);
                let unseen = self.images.iter().enumerate().skip(places.len());
                places.extend(unseen.map(|(place, image)| (image.name.clone(), place)));
                match places.get(&target) {
                    Some(&place) => {
                        let Entry { offset, length, .. } = self.images[place];
                        self.images.push(Entry { name: name.clone(), offset, length });
                    }
                    None => tracing::warn!(
                        "{}: {name} is left out: a link to `{target}`, which is no image before it",
                        path.display()
                    ),
                }
            } else if entry.header().entry_type().is_file() {
                if is_image_name(&name) {
                    let length = usize::try_from(size).expect("shorter than the file, which was opened");
                    self.images.push(Entry { name: name.clone(), offset, length });
                } else if size <= MAX_LABEL_BYTES && matches!(key(&name).1, "cls" | "json") {
                    let mut bytes = Vec::new();
                    entry.read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
                    let key = key(&name).0.to_owned();
                    match class_of(&name, &bytes) {
                        Ok(Some(class)) => drop(self.classes.insert(key, Ok(class))),
                        Ok(None) => {}
                        // Another entry of the sample may tell its class.
                        Err(reason) => drop(self.classes.entry(key).or_insert(Err(reason))),
                    }
                }
            }
            last = name;
        }
        // Where the file ends within what fills up the last block, the reader finds no header and takes that for the end.
        let needed = end.next_multiple_of(512);
        if found < needed {
            let (path, complete) = (path.to_owned(), self.images.len());
            return Err(Error::TruncatedTar { path, entry: last, needed, found, complete });
        }
        Ok(())
    }

    /// Sorts, and puts `prefix` before the names.
    fn into_tar(mut self, file: SharedFile, prefix: &str, damage: Option<String>) -> Tar {
        let plain: HashSet<String> = self
            .images
            .iter()
            .map(|image| key(&image.name))
            .filter(|(key, ending)| !ending.contains('.') && self.classes.contains_key(*key))
            .map(|(key, _)| key.to_owned())
            .collect();
        // `key.seg.png` beside `key.jpg` and `key.cls` is a part of that sample, not a picture of its own.
        self.images.retain(|image| {
            let (key, ending) = key(&image.name);
            !(ending.contains('.') && plain.contains(key))
        });
        self.images.sort_unstable_by(|a, b| (&a.name, a.offset).cmp(&(&b.name, b.offset)));
        let (mut names, mut labels) = (Names::default(), Labels::default());
        let mut unknown = Vec::new();
        for image in &self.images {
            names.push(&format!("{prefix}{}", image.name));
            labels.push(match self.classes.get(key(&image.name).0) {
                Some(Ok(class)) => Some(class),
                // Not the folder's name, which stands for the class only where nothing else does.
                Some(Err(reason)) => {
                    unknown.push(reason);
                    None
                }
                None => parent_folder(&image.name),
            });
        }
        if let Some(first) = unknown.first() {
            // No error, since most work needs no classes, and what does refuses images without one.
            let (path, count) = (file.path().display(), unknown.len());
            tracing::warn!("{path}: the classes of {count} images cannot be read, the first from {first}");
        }
        if damage.is_some() {
            names.push(&format!("{prefix}(lost images)"));
            labels.push(None);
        }
        let places = self.images.iter().map(|image| (image.offset, image.length)).collect();
        Tar { file, names, labels, places, damage }
    }
}

fn entry_name(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_start_matches("./").to_owned()
}

/// A name's key and ending: what stands before and after the first dot of its last part.
fn key(name: &str) -> (&str, &str) {
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[start..].find('.') {
        Some(dot) => (&name[..start + dot], &name[start + dot + 1..]),
        None => (name, ""),
    }
}

/// The class that a `.cls` or `.json` entry holds, if it does; or what is wrong with the entry.
fn class_of(name: &str, bytes: &[u8]) -> Result<Option<String>, String> {
    let text = str::from_utf8(bytes)
        .map_err(|_| format!("`{name}`: expected text in UTF-8, found another encoding"))?
        .trim_start_matches('\u{feff}');
    if key(name).1 == "cls" {
        return Ok(Some(text.trim().to_owned()).filter(|class| !class.is_empty()));
    }
    let fields: serde_json::Value = serde_json::from_str(text)
        .map_err(|e| format!("`{name}`: expected JSON, found something else ({e})"))?;
    Ok(match LABEL_FIELDS.iter().find_map(|field| fields.get(field)) {
        Some(serde_json::Value::String(class)) => Some(class.clone()),
        Some(serde_json::Value::Number(class)) => Some(class.to_string()),
        _ => None,
    })
}

/// A failure to read the header after the entry `last`, which ends at byte `end`: a file that stops right there, in
/// the middle of a 512-byte header, is truncated; anything else is damaged.
fn broken(path: &Path, e: io::Error, last: &str, end: u64, found: u64, complete: usize) -> Error {
    let header = end.next_multiple_of(512);
    if found < header + 512 {
        let (path, entry) = (path.to_owned(), last.to_owned());
        return Error::TruncatedTar { path, entry, needed: header + 512, found, complete };
    }
    // What the reader quotes after a colon is the damage itself, which no terminal should get.
    let reason = e.to_string().split(": ").next().unwrap_or_default().to_owned();
    Error::MalformedTar { path: path.to_owned(), complete, reason }
}

/// The archives that a pattern or a folder names, one after the other.
pub(super) fn open_all(path: &Path, files: &[PathBuf]) -> Result<Arc<dyn Dataset>, Error> {
    let open = |_, file: &Path, name: &str| Tar::of_shard(SharedFile::open(file)?, name);
    Ok(Arc::new(Shards::open(path, files, open)?.ok_or_else(|| Error::no_files(path))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_end_at_the_first_dot_of_the_last_part() {
        assert_eq!(key("a.b/c.seg.png"), ("a.b/c", "seg.png"));
        assert_eq!(key("c.jpg"), ("c", "jpg"));
        assert_eq!(key("x/c"), ("x/c", ""));
    }

    /// A disk that cannot read what lies at byte `bad`.
    struct Failing {
        bytes: io::Cursor<&'static [u8]>,
        bad: u64,
    }

    /// EIO on Linux; elsewhere an error of the system as well.
    const EIO: i32 = 5;

    impl Read for Failing {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let start = self.bytes.position();
            if (start..start + into.len() as u64).contains(&self.bad) {
                return Err(io::Error::from_raw_os_error(EIO));
            }
            self.bytes.read(into)
        }
    }

    impl Seek for Failing {
        fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
            self.bytes.seek(to)
        }
    }

    #[test]
    fn a_disk_that_fails_is_no_damage_of_the_archive() {
        // Three samples: the header of an image, the image, the header of its class, the class.
        let whole: &'static [u8] = include_bytes!("../../tests/fixtures/shards-000.tar");
        let path = Path::new("x.tar");
        for block in 0..12 {
            let read = |bad| {
                Contents::read(path, whole.len() as u64, Failing { bytes: io::Cursor::new(whole), bad })
            };
            let is_skipped = block % 4 == 1;
            match read(512 * block) {
                Ok((contents, None)) => assert!(is_skipped && contents.images.len() == 3, "block {block}"),
                Ok((_, Some(damage))) => panic!("block {block}: {damage}"),
                Err(Error::Io { source, .. }) => {
                    assert!(!is_skipped && source.raw_os_error() == Some(EIO), "block {block}: {source}");
                }
                Err(other) => panic!("block {block}: {other}"),
            }
        }
    }
}
