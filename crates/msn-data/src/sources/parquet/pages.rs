//! Single values of a column, by way of the page that holds them.
//!
//! A page (commonly 1 MiB) is the least that can be decoded. The last ones stay decoded, so that the pages of a table
//! of small images are decoded once, not once an image.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::chunks::Chunks;
use super::claims;

/// Bytes of values held decoded, for all files of a source together.
const HELD_BYTES: usize = 256 << 20;

/// The values of one page; `None` for null.
type Page = Arc<[Option<ByteArray>]>;

/// A column of byte arrays.
pub(super) struct Pages {
    reader: SerializedFileReader<Chunks>,
    chunks: Chunks,
    column: usize,
    /// For each row group, once it is asked for: the first row of each page, and the end of the last.
    bounds: Vec<OnceLock<Vec<usize>>>,
    /// Which file of the source this is.
    number: usize,
    cache: SharedCache,
}

impl Pages {
    pub(super) fn new(
        reader: SerializedFileReader<Chunks>,
        chunks: Chunks,
        column: usize,
        number: usize,
        cache: SharedCache,
    ) -> Self {
        let bounds = (0..reader.num_row_groups()).map(|_| OnceLock::new()).collect();
        Self { reader, chunks, column, bounds, number, cache }
    }

    /// The value in a row of a row group, `None` for null.
    pub(super) fn value(&self, group: usize, row: usize) -> Result<Option<ByteArray>> {
        let bounds = self.page_bounds(group)?;
        let page = bounds.partition_point(|&start| start <= row) - 1;
        let (Some(&start), Some(&end)) = (bounds.get(page), bounds.get(page + 1)) else {
            let rows = bounds.last().copied().unwrap_or(0);
            return Err(ParquetError::General(format!(
                "expected row {row} of row group {group}, found {rows} rows"
            )));
        };
        let held = self.cache().get((self.number, group, page));
        let values = match held {
            Some(values) => values,
            None => {
                let values = self.decode(group, start, end - start)?;
                self.cache().put((self.number, group, page), &values);
                values
            }
        };
        Ok(values.get(row - start).cloned().flatten())
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Found from the headers of the pages, which are read without the pages.
    fn page_bounds(&self, group: usize) -> Result<&[usize]> {
        if let Some(bounds) = self.bounds[group].get() {
            return Ok(bounds);
        }
        let rows = self.reader.metadata().row_group(group).num_rows() as usize;
        claims::check(&self.chunks, self.reader.metadata().row_group(group).column(self.column))?;
        let row_group = self.reader.get_row_group(group)?;
        let mut pages = row_group.get_column_page_reader(self.column)?;
        let mut bounds = vec![0];
        let mut end: usize = 0;
        while let Some(page) = pages.peek_next_page()? {
            if !page.is_dict {
                // Every row has one value or null, so that levels are rows.
                let levels = page.num_rows.or(page.num_levels).unwrap_or(0);
                end = end.saturating_add(levels).min(rows);
                bounds.push(end);
            }
            pages.skip_next_page()?;
        }
        Ok(self.bounds[group].get_or_init(|| bounds))
    }

    fn decode(&self, group: usize, start: usize, rows: usize) -> Result<Page> {
        let row_group = self.reader.get_row_group(group)?;
        let mut column = get_typed_column_reader::<ByteArrayType>(row_group.get_column_reader(self.column)?);
        let skipped = column.skip_records(start)?;
        let (mut levels, mut values) = (Vec::new(), Vec::new());
        let (read, ..) = column.read_records(rows, Some(&mut levels), None, &mut values)?;
        if skipped != start || read != rows {
            return Err(ParquetError::EOF(format!(
                "expected rows {start} to {} of row group {group}, found {skipped} and {read} more",
                start + rows
            )));
        }
        let description = self.reader.metadata().file_metadata().schema_descr().column(self.column);
        let present = description.max_def_level();
        let mut values = values.into_iter();
        if present == 0 {
            return Ok(values.map(Some).collect());
        }
        Ok(levels.iter().map(|&level| if level == present { values.next() } else { None }).collect())
    }
}

/// File of the source, row group, page.
type Key = (usize, usize, usize);

/// The decoded pages of all files of a source.
pub(in super::super) type SharedCache = Arc<Mutex<Cache>>;

/// Decoded pages, the least recently used ones dropped first.
#[derive(Default)]
pub(in super::super) struct Cache {
    pages: HashMap<Key, Held>,
    by_use: BTreeMap<u64, Key>,
    uses: u64,
    bytes: usize,
}

struct Held {
    page: Page,
    bytes: usize,
    used: u64,
}

impl Cache {
    fn get(&mut self, key: Key) -> Option<Page> {
        let held = self.pages.get_mut(&key)?;
        self.by_use.remove(&held.used);
        self.uses += 1;
        held.used = self.uses;
        self.by_use.insert(self.uses, key);
        Some(Arc::clone(&held.page))
    }

    fn put(&mut self, key: Key, page: &Page) {
        let bytes =
            page.iter().flatten().map(ByteArray::len).sum::<usize>() + page.len() * size_of::<ByteArray>();
        // Two threads may have decoded the same page.
        if bytes > HELD_BYTES || self.pages.contains_key(&key) {
            return;
        }
        self.uses += 1;
        self.by_use.insert(self.uses, key);
        self.pages.insert(key, Held { page: Arc::clone(page), bytes, used: self.uses });
        self.bytes += bytes;
        while self.bytes > HELD_BYTES {
            let (_, oldest) = self.by_use.pop_first().expect("what is held has a last use");
            self.bytes -= self.pages.remove(&oldest).expect("listed by its use").bytes;
        }
    }
}
