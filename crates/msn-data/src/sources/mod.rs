//! Where images come from. A new source is a new file here and a line in [`SOURCES`].

mod bounds;
mod cifar;
mod file;
mod folder;
mod folder_index;
mod idx;
mod label_rows;
mod list;
mod names;
mod newlines;
mod parallel;
mod parquet;
mod pattern;
mod raw;
#[cfg(feature = "remote")]
mod remote;
mod shards;
mod tar;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use msn_store::{CacheFolder, ShardFolder};
use walkdir::{DirEntry, WalkDir};

use crate::{Error, PackRecord};

pub use file::read_file;
pub use label_rows::{LabelRow, LabelRows};

/// Endings, in any case, of the files that count as images. What they hold is decided by content.
pub const IMAGE_EXTENSIONS: [&str; 14] = [
    ".jpg", ".jpeg", ".jfif", ".jpe", ".jfi", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm",
    ".pgm", ".pnm",
];

/// Lists of folders that are kept: a million images take about 40 MB.
const MAX_LIST_BYTES: u64 = 4 << 30;

/// How the images of a source may be read, which decides what orders an epoch can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Any image at any time: all orders are equally likely.
    AtRandom,
    /// Shard after shard, since one has to come whole before its images can be read. An epoch takes the shards in a
    /// random order and shuffles together those that follow each other, until they hold `buffer` images.
    ByShard {
        /// The images of each shard.
        shards: Vec<Range<usize>>,
        /// Images that are shuffled together, at least: 1 or more.
        buffer: usize,
    },
}

impl Reading {
    /// Images ahead that are worth fetching: those that are shuffled together now, and the next ones.
    pub(crate) fn ahead(&self) -> usize {
        match self {
            Self::AtRandom => 0,
            Self::ByShard { buffer, .. } => ahead_of(*buffer),
        }
    }
}

/// [`Reading::ahead`] of images of which `buffer` are shuffled together.
fn ahead_of(buffer: usize) -> usize {
    buffer.saturating_mul(2)
}

/// A finite, ordered set of encoded images. The order is the same each time it is opened.
pub trait Dataset: Send + Sync {
    /// Where the images come from, as a person named it; for messages.
    fn path(&self) -> &Path;

    /// Number of images; at least 1 in what [`open`] gives.
    fn len(&self) -> usize;

    /// Whether there is no image: only in a shard that is opened by itself, to be left out. To open a source without any is
    /// an error.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Path of an image as seen from the root of the source, with `/` between folders; for images that are parts of a
    /// file, the file's name and theirs, or their number.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    fn name(&self, index: usize) -> &str;

    /// Class of an image. Where the source has no labels: the name of the folder that it lies in, or `None` if it lies
    /// at the root.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    fn label(&self, index: usize) -> Option<&str> {
        parent_folder(self.name(index))
    }

    /// Replaces the content of `bytes` by the encoded image. May be called from many threads at once.
    ///
    /// # Errors
    /// If the image cannot be read or has more than `max_bytes` bytes, which is found out before they are read.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    fn read_into(&self, index: usize, max_bytes: usize, bytes: &mut Vec<u8>) -> Result<(), Error>;

    /// Whether what the images are read from is still there as a whole, asked where one of them is not: if a disk is no longer
    /// mounted, none of them is broken.
    fn is_reachable(&self) -> bool {
        self.path().exists()
    }

    /// How the images may be read.
    fn reading(&self) -> Reading {
        Reading::AtRandom
    }

    /// A hint: these images are read next, in about this order. Sources that fetch theirs from afar begin to.
    fn will_read(&self, _images: &[usize]) {}

    /// The encoded image.
    ///
    /// # Errors
    /// As [`read_into`](Self::read_into).
    ///
    /// # Panics
    /// As [`read_into`](Self::read_into).
    fn read(&self, index: usize, max_bytes: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.read_into(index, max_bytes, &mut bytes)?;
        Ok(bytes)
    }
}

type Opened = Result<Arc<dyn Dataset>, Error>;

/// A kind of source: how to recognise it and how to open it.
struct Source {
    description: &'static str,
    accepts: fn(&Path) -> bool,
    open: fn(&Path, &Access) -> Opened,
}

/// The sources there are; the first that accepts a path opens it.
const SOURCES: &[Source] = &[
    #[cfg(feature = "remote")]
    Source {
        description: "an http(s)://, s3:// or gs:// address of .tar or .parquet files",
        accepts: remote::accepts,
        open: |path, access| Ok(Arc::new(remote::Remote::open(path, access)?)),
    },
    Source { description: "CIFAR .bin files", accepts: cifar::accepts, open: |path, _| cifar::open(path) },
    Source { description: "a folder of images or shards", accepts: Path::is_dir, open: open_folder },
    Source {
        description: "an image",
        accepts: |path| path.is_file() && is_image_name(&file_name(path)),
        open: |path, _| Ok(Arc::new(list::List::of_one(path)?)),
    },
    Source {
        description: "a .tar of images",
        accepts: |path| tar::accepts(path) && path.exists(),
        open: |path, _| Ok(Arc::new(tar::Tar::open(path)?)),
    },
    Source {
        description: "tar shards (shards-{000..099}.tar)",
        accepts: tar::accepts,
        open: |path, _| tar::open_all(path, &expand(path)?),
    },
    Source {
        description: "Parquet files",
        accepts: |path| has_extension(path, "parquet"),
        open: |path, _| parquet::open_all(path, &expand(path)?),
    },
    Source {
        description: "an IDX file (train-images-idx3-ubyte)",
        accepts: idx::accepts,
        open: |path, _| Ok(Arc::new(idx::Idx::open(path)?)),
    },
    Source {
        description: "a .csv of path,label",
        accepts: |path| has_extension(path, "csv"),
        open: |path, _| Ok(Arc::new(list::List::open_csv(path)?)),
    },
    Source {
        description: "a .txt list of paths",
        accepts: |path| has_extension(path, "txt"),
        open: |path, _| Ok(Arc::new(list::List::open_text(path)?)),
    },
];

/// What sources need besides a path.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Where the lists of large folders and of remote shards are kept; `None`: each opening makes them anew.
    pub lists: Option<CacheFolder>,
    /// Where remote shards are kept, which cannot be read without it. Twice the shards that hold `shuffle_buffer` images
    /// should fit.
    #[cfg(feature = "remote")]
    pub shards: Option<CacheFolder>,
    /// Images that are shuffled together, at least, where they come shard by shard.
    #[cfg(feature = "remote")]
    pub shuffle_buffer: usize,
    /// How long to wait for servers.
    #[cfg(feature = "remote")]
    pub patience: msn_remote::Patience,
}

impl Access {
    /// The cache folder of the user: `MSN_CACHE`, or `msn` in the system's place for caches. Remote shards take up to 50
    /// GiB of it, or `MSN_CACHE_GIB`; at least 10,000 images are shuffled together.
    pub fn of_user() -> Self {
        Self {
            lists: CacheFolder::of_user("lists", MAX_LIST_BYTES),
            #[cfg(feature = "remote")]
            shards: remote::cache_of_user(),
            #[cfg(feature = "remote")]
            shuffle_buffer: 10_000,
            #[cfg(feature = "remote")]
            patience: msn_remote::Patience::default(),
        }
    }
}

/// Opens what people have of images: see [`open_with`], with the caches of the user.
///
/// # Errors
/// As [`open_with`].
pub fn open(path: &Path) -> Result<Arc<dyn Dataset>, Error> {
    open_with(path, &Access::of_user())
}

/// Opens an image folder of any depth, a single image, a `.tar` of images, tar shards or Parquet files (one, several by a
/// pattern such as `shards-{000000..000099}.tar`, or a folder of them), CIFAR binary files or their folder, an IDX file, a `.csv` of
/// `path,label` or a `.txt` list of paths. Tar shards and Parquet files may stand at `http(s)://`, `s3://` and `gs://`
/// addresses.
///
/// # Errors
/// If the path does not exist or is of no such kind, cannot be read, or holds no image.
pub fn open_with(path: &Path, access: &Access) -> Result<Arc<dyn Dataset>, Error> {
    let pattern = path.to_str().is_some_and(|path| path.contains('{'));
    let remote = path.to_str().is_some_and(|path| path.contains("://"));
    if !remote && (!pattern || path.exists()) {
        std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
    }
    let Some(source) = SOURCES.iter().find(|source| (source.accepts)(path)) else {
        let descriptions: Vec<&str> = SOURCES.iter().map(|source| source.description).collect();
        let expected = descriptions.join(" or ");
        return Err(Error::UnknownSource {
            path: path.to_owned(),
            expected,
            found: "another file".to_owned(),
        });
    };
    (source.open)(path, access)
}

/// A folder of images, or, where there is none, of shards: the Parquet files or tar archives at any depth.
fn open_folder(path: &Path, access: &Access) -> Opened {
    let no_images = match folder::Folder::open(path, access.lists.as_ref()) {
        Ok(images) => return Ok(Arc::new(images)),
        Err(e @ Error::NoImages { .. }) => e,
        Err(e) => return Err(e),
    };
    let files = files_below(path)?;
    let of_kind = |accepts: fn(&Path) -> bool| -> Vec<PathBuf> {
        files.iter().filter(|file| accepts(file)).cloned().collect()
    };
    match (of_kind(|file| has_extension(file, "parquet")), of_kind(tar::accepts)) {
        (tables, archives) if tables.is_empty() && archives.is_empty() => Err(no_images),
        (tables, archives) if archives.is_empty() => parquet::open_all(path, &tables),
        (tables, archives) if tables.is_empty() => {
            warn_if_unfinished(path);
            tar::open_all(path, &archives)
        }
        _ => Err(Error::expected(path, "tar archives or Parquet files", "both")),
    }
}

/// Says that a folder of shards is still being packed, or was left so.
fn warn_if_unfinished(folder: &Path) {
    let record = ShardFolder::record_in::<PackRecord>(folder);
    if let Some(PackRecord { complete: false, next, images, .. }) = record {
        tracing::warn!(
            "{}: packing is not finished: {next} of {images} images; `msn data pack` with --resume goes on",
            folder.display()
        );
    }
}

/// Whether a folder or a file of this name is hidden.
fn is_hidden(name: &str) -> bool {
    name.starts_with('.')
}

/// The files below a folder, ordered by their paths.
fn files_below(root: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    let is_looked_into = |entry: &DirEntry| {
        entry.depth() == 0 || !(entry.file_type().is_dir() && is_hidden(&entry.file_name().to_string_lossy()))
    };
    for entry in WalkDir::new(root).follow_links(true).into_iter().filter_entry(is_looked_into) {
        match entry {
            Ok(entry) if entry.file_type().is_file() => files.push(entry.into_path()),
            Ok(_) => {}
            // Whoever looked for images has said so.
            Err(e) if e.loop_ancestor().is_some() => {}
            // A link to nowhere: if it is called a shard, that one is missing, which opening it tells.
            Err(e) if leads_nowhere(&e) => {
                files.push(e.path().expect("just seen").to_owned());
            }
            Err(e) => return Err(walk_error(root, e)),
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Whether a walk came to a symbolic link to what is not there; one to a folder that cannot be read is another matter.
fn leads_nowhere(error: &walkdir::Error) -> bool {
    let is_absent = error.io_error().is_some_and(|e| e.kind() == std::io::ErrorKind::NotFound);
    is_absent && error.path().is_some_and(Path::is_symlink)
}

/// What kept a walk below `root` from going on, which is no loop of links.
fn walk_error(root: &Path, error: walkdir::Error) -> Error {
    let path = error.path().unwrap_or(root).to_owned();
    Error::io(path, error.into_io_error().expect("what is no loop is an I/O error"))
}

/// The files that a pattern names, or the one file.
fn expand(path: &Path) -> Result<Vec<PathBuf>, Error> {
    match path.to_str().filter(|_| !path.exists()) {
        Some(text) => Ok(pattern::expand(text)?.into_iter().map(PathBuf::from).collect()),
        None => Ok(vec![path.to_owned()]),
    }
}

fn has_extension(path: &Path, expected: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(expected))
}

/// Some files of a source that were there when it was opened, by which to tell whether its disk still is.
struct Witnesses(Vec<PathBuf>);

impl Witnesses {
    /// Of the files whose paths `file` gives, below `count`: the first, the one in the middle and the last.
    fn of(count: usize, file: impl Fn(usize) -> PathBuf) -> Self {
        let places = BTreeSet::from([0, count / 2, count.saturating_sub(1)]);
        Self(
            places
                .into_iter()
                .filter(|&place| place < count)
                .map(file)
                .filter(|file| file.exists())
                .collect(),
        )
    }

    /// Whether one of them is still there, or none ever was.
    fn is_any_left(&self) -> bool {
        self.0.is_empty() || self.0.iter().any(|file| file.exists())
    }
}

/// True if a file of this name counts as an image. `._x.jpg` files, which macOS adds to archives, do not.
fn is_image_name(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let ends_with = |ending: &str| {
        let start = file.len().wrapping_sub(ending.len());
        file.get(start..).is_some_and(|found| found.eq_ignore_ascii_case(ending))
    };
    !file.starts_with("._") && IMAGE_EXTENSIONS.iter().any(|ending| ends_with(ending))
}

fn parent_folder(name: &str) -> Option<&str> {
    let (folders, _) = name.rsplit_once('/')?;
    let parent = folders.rsplit('/').next().unwrap_or(folders);
    (!matches!(parent, "" | "." | "..")).then_some(parent)
}

/// `path` with `/` between its parts, for people and for comparing names across systems.
fn display_name(path: &Path) -> String {
    let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}

/// The last part of a path.
fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// FNV-1a, to tell names and lists apart: the same on every machine, and no proof against forgery.
pub fn fingerprint(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let absorb = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, absorb)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_names_are_told_by_their_ending_in_any_case() {
        for name in ["a.jpg", "b/c.JPEG", "x.Png", "y.tif", ".jpg/z.webp"] {
            assert!(is_image_name(name), "{name}");
        }
        for name in ["a.txt", "jpg", "b/._c.jpg", "x.jpg/readme", "y.jpgx", "é.md", ""] {
            assert!(!is_image_name(name), "{name}");
        }
    }

    #[test]
    fn the_class_is_the_folder_that_holds_the_image() {
        assert_eq!(parent_folder("train/cat/1.jpg"), Some("cat"));
        assert_eq!(parent_folder("cat/1.jpg"), Some("cat"));
        assert_eq!(parent_folder("1.jpg"), None);
        assert_eq!(parent_folder("../1.jpg"), None);
        assert_eq!(parent_folder("/1.jpg"), None);
    }
}
