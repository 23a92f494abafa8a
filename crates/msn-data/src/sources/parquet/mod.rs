//! Parquet tables with a column of encoded images, as Hugging Face keeps them, read at random page by page.

mod chunks;
mod claims;
mod pages;
mod schema;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::Dataset;
use super::bounds::Bounds;
use super::file::{SharedFile, check_length};
use super::names::{Labels, Names};
use super::shards::Shards;
use crate::Error;
use chunks::Chunks;
use pages::Pages;
pub(super) use pages::SharedCache;
use schema::Columns;

/// A row takes at least this many bytes of its file: the smallest image has more. Without such a bound the rows that a
/// few hostile bytes claim would fill the memory with their names.
const MIN_BYTES_A_ROW: u64 = 16;

/// What a table should hold.
pub(super) const ROWS: &str = "a row for each image";

/// The images of one file, in the order of its rows.
pub(super) struct Parquet {
    path: PathBuf,
    pages: Pages,
    /// Of the row groups.
    bounds: Bounds,
    names: Names,
    labels: Option<Labels>,
}

impl Parquet {
    /// `name` stands before those of the images; `number` tells the file's pages from those of others in `cache`.
    pub(super) fn open(
        file: SharedFile,
        name: &str,
        number: usize,
        cache: &SharedCache,
    ) -> Result<Self, Error> {
        let path = &file.path().to_owned();
        let length = file.length();
        let chunks = Chunks::new(file);
        let reader = guarded(path, || SerializedFileReader::new(chunks.clone()))?;
        let metadata = reader.metadata();
        let columns = Columns::find(path, metadata)?;
        let mut bounds = Bounds::default();
        for group in metadata.row_groups() {
            let rows = u64::try_from(group.num_rows()).unwrap_or(u64::MAX);
            let end = (bounds.len() as u64).saturating_add(rows);
            if end > length / MIN_BYTES_A_ROW {
                let expected = format!("at most {} rows in {length} bytes", length / MIN_BYTES_A_ROW);
                return Err(Error::expected(path, expected, end));
            }
            bounds.push(rows as usize);
        }
        let mut names = Names::default();
        (0..bounds.len()).for_each(|row| names.push(&format!("{name}/{row:06}")));
        let labels = guarded(path, || columns.labels(&reader, &chunks))?;
        let pages = Pages::new(reader, chunks, columns.image, number, Arc::clone(cache));
        Ok(Self { path: path.to_owned(), pages, bounds, names, labels })
    }
}

impl Dataset for Parquet {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> usize {
        self.names.len()
    }

    fn name(&self, index: usize) -> &str {
        self.names.get(index)
    }

    fn label(&self, index: usize) -> Option<&str> {
        self.labels.as_ref().and_then(|labels| labels.get(index))
    }

    fn read_into(&self, index: usize, max_bytes: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let (group, row) = self.bounds.locate(index);
        let value = guarded(&self.path, || self.pages.value(group, row))?;
        let Some(value) = value else {
            return Err(Error::expected(&self.path, format!("an image in row {index}"), "null"));
        };
        check_length(Path::new(self.name(index)), value.len() as u64, max_bytes)?;
        bytes.clear();
        bytes.extend_from_slice(value.data());
        Ok(())
    }
}

/// Calls the Parquet reader. A damaged file may meet a bug in it: that costs this image or this file, not the run.
fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, Error> {
    let damaged = |reason: String| Error::MalformedParquet { path: path.to_owned(), reason };
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(result) => result.map_err(|e| match of_system(&e) {
            Some(e) => Error::io(path, e),
            None => damaged(e.to_string()),
        }),
        Err(_) => Err(damaged("its reader failed on it".to_owned())),
    }
}

/// The system's answer, if that is what the reader stumbled on: then a disk is at fault, not the file.
fn of_system(error: &ParquetError) -> Option<io::Error> {
    let ParquetError::External(error) = error else { return None };
    let code = error.downcast_ref::<io::Error>()?.raw_os_error()?;
    Some(io::Error::from_raw_os_error(code))
}

/// The files that a path, a pattern or a folder names, one after the other.
pub(super) fn open_all(path: &Path, files: &[PathBuf]) -> Result<Arc<dyn Dataset>, Error> {
    let cache = SharedCache::default();
    let open = |number, file: &Path, name: &str| Parquet::open(SharedFile::open(file)?, name, number, &cache);
    Ok(Arc::new(Shards::open(path, files, open)?.ok_or_else(|| Error::no_images(path, ROWS))?))
}
