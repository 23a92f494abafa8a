//! Where images come from. A new source is a new file here and a line in [`SOURCES`].

mod folder;
mod list;
mod tar;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Error;

/// Endings, in any case, of the files that count as images. What they hold is decided by content.
pub const IMAGE_EXTENSIONS: [&str; 8] = [".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"];

/// A finite, ordered set of encoded images. The order is the same each time it is opened.
pub trait Dataset: Send + Sync {
    /// Where the images come from, as a person named it; for messages.
    fn path(&self) -> &Path;

    /// Number of images, at least 1.
    fn len(&self) -> usize;

    /// Always false: an empty source is an error when it is opened.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Path of an image as seen from the root of the source, with `/` between folders.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    fn name(&self, index: usize) -> &str;

    /// Class of an image: the name of the folder that it lies in, or `None` if it lies at the root.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    fn label(&self, index: usize) -> Option<&str> {
        parent_folder(self.name(index))
    }

    /// Replaces the content of `bytes` by the encoded image. May be called from many threads at once.
    ///
    /// # Errors
    /// If the image cannot be read.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    fn read_into(&self, index: usize, bytes: &mut Vec<u8>) -> Result<(), Error>;

    /// The encoded image.
    ///
    /// # Errors
    /// As [`read_into`](Self::read_into).
    ///
    /// # Panics
    /// As [`read_into`](Self::read_into).
    fn read(&self, index: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.read_into(index, &mut bytes)?;
        Ok(bytes)
    }
}

/// A kind of source: how to recognise it and how to open it.
struct Source {
    description: &'static str,
    accepts: fn(&Path) -> bool,
    open: fn(&Path) -> Result<Arc<dyn Dataset>, Error>,
}

/// The sources there are; the first that accepts a path opens it.
const SOURCES: [Source; 3] = [
    Source {
        description: "a folder of images",
        accepts: Path::is_dir,
        open: |path| Ok(Arc::new(folder::Folder::open(path)?)),
    },
    Source {
        description: "a .tar of images",
        accepts: tar::accepts,
        open: |path| Ok(Arc::new(tar::Tar::open(path)?)),
    },
    Source {
        description: "a .txt list of paths",
        accepts: |path| has_extension(path, "txt"),
        open: |path| Ok(Arc::new(list::List::open(path)?)),
    },
];

/// Opens an image folder of any depth, a `.tar` of images, or a `.txt` list of paths.
///
/// # Errors
/// If the path does not exist or is of no such kind, cannot be read, or holds no image.
pub fn open(path: &Path) -> Result<Arc<dyn Dataset>, Error> {
    std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
    let Some(source) = SOURCES.iter().find(|source| (source.accepts)(path)) else {
        let expected = SOURCES.map(|source| source.description).join(" or ");
        return Err(Error::UnknownSource {
            path: path.to_owned(),
            expected,
            found: "another file".to_owned(),
        });
    };
    (source.open)(path)
}

fn has_extension(path: &Path, expected: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(expected))
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

fn read_file(path: &Path, bytes: &mut Vec<u8>) -> Result<(), Error> {
    let read = |bytes: &mut Vec<u8>| -> io::Result<()> {
        bytes.clear();
        File::open(path)?.read_to_end(bytes)?;
        Ok(())
    };
    read(bytes).map_err(|e| Error::io(path, e))
}

/// `path` with `/` between its parts, for people and for comparing names across systems.
fn display_name(path: &Path) -> String {
    let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}

/// A file and the name that it goes by.
struct NamedFile {
    name: Box<str>,
    path: PathBuf,
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
