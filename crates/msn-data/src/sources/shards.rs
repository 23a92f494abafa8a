//! Several sources one after the other: the shards of an archive, the files of a table.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bounds::Bounds;
use super::parallel::in_parallel;
use super::{Dataset, Witnesses, display_name, file_name};
use crate::Error;

/// Files opened at a time: each waits for its disk, which may be another machine's, more often than for a processor.
const OPENED_AT_A_TIME: usize = 16;

/// The images of all parts, in their order.
pub(super) struct Shards {
    path: PathBuf,
    parts: Vec<Arc<dyn Dataset>>,
    bounds: Bounds,
    /// By the files of the parts: the path may be a pattern, which is no file, or a folder, which an unmounted disk leaves.
    witnesses: Witnesses,
}

impl Shards {
    /// # Panics
    /// If there is no part.
    pub(super) fn new(path: &Path, parts: Vec<Arc<dyn Dataset>>) -> Self {
        assert!(!parts.is_empty(), "a source of no parts");
        let bounds = parts.iter().map(|part| part.len()).collect();
        let witnesses = Witnesses::of(parts.len(), |part| parts[part].path().to_owned());
        Self { path: path.to_owned(), parts, bounds, witnesses }
    }

    /// Opens every file, by its number and under the name that stands before those of its images; those without an image are
    /// left out, and it is for the caller to see whether any are left.
    pub(super) fn open<D: Dataset + 'static>(
        path: &Path,
        files: &[PathBuf],
        open: impl Fn(usize, &Path, &str) -> Result<D, Error> + Sync,
    ) -> Result<Option<Self>, Error> {
        let named: Vec<_> = files.iter().zip(shard_names(files)).enumerate().collect();
        let opened =
            in_parallel(OPENED_AT_A_TIME, &named, |(number, (file, name))| open(*number, file, name))?;
        let mut parts: Vec<Arc<dyn Dataset>> = Vec::new();
        for part in opened {
            if part.is_empty() {
                tracing::warn!("{}: no image found: left out", part.path().display());
            } else {
                parts.push(Arc::new(part));
            }
        }
        Ok((!parts.is_empty()).then(|| Self::new(path, parts)))
    }
}

/// What stands before the names of the images of each file: the file's name, or, where files in several folders are called
/// the same, what the paths of all files do not have in common. So each image has a name of its own.
pub(super) fn shard_names(files: &[impl AsRef<Path>]) -> Vec<String> {
    let names: Vec<String> = files.iter().map(|file| file_name(file.as_ref())).collect();
    let distinct: HashSet<&String> = names.iter().collect();
    if distinct.len() == names.len() {
        return names;
    }
    let folder = files[0].as_ref().parent().unwrap_or(Path::new(""));
    let common = |file: &Path| folder.components().zip(file.components()).take_while(|(a, b)| a == b).count();
    let shared = files.iter().map(|file| common(file.as_ref())).min().unwrap_or(0);
    let rest = |file: &Path| file.components().skip(shared).collect::<PathBuf>();
    files.iter().map(|file| display_name(&rest(file.as_ref()))).collect()
}

impl Dataset for Shards {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> usize {
        self.bounds.len()
    }

    fn name(&self, index: usize) -> &str {
        let (part, index) = self.bounds.locate(index);
        self.parts[part].name(index)
    }

    fn label(&self, index: usize) -> Option<&str> {
        let (part, index) = self.bounds.locate(index);
        self.parts[part].label(index)
    }

    fn read_into(&self, index: usize, max_bytes: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let (part, index) = self.bounds.locate(index);
        self.parts[part].read_into(index, max_bytes, bytes)
    }

    fn is_reachable(&self) -> bool {
        self.witnesses.is_any_left()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_called_by_their_files_or_by_what_tells_them_apart() {
        assert_eq!(shard_names(&["/d/train/0.tar", "/d/test/1.tar"]), ["0.tar", "1.tar"]);
        assert_eq!(shard_names(&["/d/train/0.tar", "/d/test/0.tar"]), ["train/0.tar", "test/0.tar"]);
        assert_eq!(shard_names(&["a/0.tar", "a/b/0.tar", "a/b/1.tar"]), ["0.tar", "b/0.tar", "b/1.tar"]);
        let addresses = ["https://host/x/train/0.parquet", "https://host/x/test/0.parquet"];
        assert_eq!(shard_names(&addresses), ["train/0.parquet", "test/0.parquet"]);
    }
}
