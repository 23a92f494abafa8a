//! Several sources one after the other: the shards of an archive, the files of a table.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Dataset;
use crate::Error;

/// The images of all parts, in their order.
pub(super) struct Shards {
    path: PathBuf,
    parts: Vec<Arc<dyn Dataset>>,
    /// Where each part begins, and the end of the last.
    bounds: Vec<usize>,
}

impl Shards {
    /// # Panics
    /// If there is no part.
    pub(super) fn new(path: &Path, parts: Vec<Arc<dyn Dataset>>) -> Self {
        assert!(!parts.is_empty(), "a source of no parts");
        let mut bounds = vec![0];
        bounds.extend(parts.iter().scan(0, |end, part| {
            *end += part.len();
            Some(*end)
        }));
        Self { path: path.to_owned(), parts, bounds }
    }

    /// Opens every file; those without an image are left out.
    pub(super) fn open<D: Dataset + 'static>(
        path: &Path,
        files: &[PathBuf],
        mut open: impl FnMut(&Path) -> Result<D, Error>,
    ) -> Result<Self, Error> {
        let mut parts: Vec<Arc<dyn Dataset>> = Vec::new();
        for file in files {
            let part = open(file)?;
            if part.is_empty() {
                tracing::warn!("{}: no image found: left out", file.display());
            } else {
                parts.push(Arc::new(part));
            }
        }
        if parts.is_empty() {
            return Err(Error::NoImages { path: path.to_owned() });
        }
        Ok(Self::new(path, parts))
    }

    /// The part that holds an image, and its index there.
    fn locate(&self, index: usize) -> (usize, usize) {
        let part = self.bounds.partition_point(|&start| start <= index) - 1;
        (part, index - self.bounds[part])
    }
}

impl Dataset for Shards {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> usize {
        *self.bounds.last().expect("one more than there are parts")
    }

    fn name(&self, index: usize) -> &str {
        let (part, index) = self.locate(index);
        self.parts[part].name(index)
    }

    fn label(&self, index: usize) -> Option<&str> {
        let (part, index) = self.locate(index);
        self.parts[part].label(index)
    }

    fn read_into(&self, index: usize, max_bytes: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let (part, index) = self.locate(index);
        self.parts[part].read_into(index, max_bytes, bytes)
    }
}
