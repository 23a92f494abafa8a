//! A text file that lists paths.

use std::path::{Path, PathBuf};

use super::{Dataset, NamedFile, read_file};
use crate::Error;

/// The images that a list names, in the order of the list: one path a line, absolute or relative to the folder of
/// the list; blank lines and lines that start with `#` are left out.
pub(super) struct List {
    path: PathBuf,
    files: Vec<NamedFile>,
}

impl List {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let named =
            lines.map(|line| NamedFile { name: line.replace('\\', "/").into(), path: folder.join(line) });
        let files: Vec<NamedFile> = named.collect();
        if files.is_empty() {
            return Err(Error::NoImages { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), files })
    }
}

impl Dataset for List {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> usize {
        self.files.len()
    }

    fn name(&self, index: usize) -> &str {
        &self.files[index].name
    }

    fn read_into(&self, index: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
        read_file(&self.files[index].path, bytes)
    }
}
