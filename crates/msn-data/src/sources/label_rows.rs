//! CSV files of paths and labels, row by row.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use csv::{ErrorKind, Reader, ReaderBuilder, StringRecord};

use super::newlines::UnixLines;
use crate::Error;

/// The rows of a CSV file whose header has a column `path` and perhaps a column `label`, in any order, among others.
pub struct LabelRows {
    path: PathBuf,
    reader: Reader<UnixLines<BufReader<File>>>,
    /// Values in the header.
    columns: usize,
    paths: usize,
    labels: Option<usize>,
    /// Whether each row has to have a label.
    labelled: bool,
    record: StringRecord,
}

/// A row of a CSV file of paths and labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelRow<'a> {
    /// The line of the file that it begins in, from 1.
    pub line: u64,
    /// The path as it is written: not empty.
    pub path: &'a str,
    /// The label; `None` where it is empty or the file has none.
    pub label: Option<&'a str>,
}

impl LabelRows {
    /// Opens a file of paths, some of which or all may have labels.
    ///
    /// # Errors
    /// If the file cannot be read, or begins with another header.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::with_labels(path, false)
    }

    /// Opens a file in which each path has a label: where one is missing is an error.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_labelled(path: &Path) -> Result<Self, Error> {
        Self::with_labels(path, true)
    }

    fn with_labels(path: &Path, labelled: bool) -> Result<Self, Error> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        // How many values a row may have is for `next` to say.
        let lines = UnixLines::new(BufReader::new(file));
        let mut reader = ReaderBuilder::new().flexible(true).from_reader(lines);
        let header = reader.headers().map_err(|e| damaged(path, e, 1))?;
        // Spreadsheets begin a UTF-8 file with a byte-order mark.
        let column =
            |name| header.iter().position(|found| found.trim_start_matches('\u{feff}').trim() == name);
        let (paths, labels) = (column("path"), column("label"));
        let Some(paths) = paths.filter(|_| labels.is_some() || !labelled) else {
            let alone = if labelled { "" } else { " (or `path` alone)" };
            let found: Vec<&str> = header.iter().collect();
            return Err(Error::InLine {
                path: path.to_owned(),
                line: 1,
                expected: format!("a header with the columns `path,label`{alone}"),
                found: format!("`{}`", found.join(",")),
            });
        };
        let (path, columns, record) = (path.to_owned(), header.len(), StringRecord::new());
        Ok(Self { path, reader, columns, paths, labels, labelled, record })
    }

    /// Whether the file has a column of labels.
    pub fn has_labels(&self) -> bool {
        self.labels.is_some()
    }

    /// The next row; `None` after the last one.
    ///
    /// # Errors
    /// If the file cannot be read further, or a row has no path, no label where each has to have one, or more values than
    /// the header.
    #[expect(clippy::should_implement_trait, reason = "a row borrows what the one before it was read into")]
    pub fn next(&mut self) -> Result<Option<LabelRow<'_>>, Error> {
        let read = self.reader.read_record(&mut self.record);
        // After the end of the row, which is a line of its own by now.
        let after = self.reader.position().line();
        if !read.map_err(|e| damaged(&self.path, e, after - 1))? {
            return Ok(None);
        }
        // What the reader says of a record is where it began to look for it, before lines that are blank.
        let within: usize = self.record.iter().map(|value| value.matches('\n').count()).sum();
        let line = after - 1 - within as u64;
        let wrong = |expected: String, found: String| {
            Err(Error::InLine { path: self.path.clone(), line, expected, found })
        };
        let Some(path) = self.record.get(self.paths).map(str::trim).filter(|path| !path.is_empty()) else {
            return wrong("a path".to_owned(), "none".to_owned());
        };
        if self.record.iter().skip(self.columns).any(|value| !value.trim().is_empty()) {
            // Of a label with a comma in it, for example, only the beginning would count.
            let found = format!("{} (one with a comma in it needs quotes)", self.record.len());
            return wrong(format!("{} values, as the header has", self.columns), found);
        }
        let label = self.labels.and_then(|labels| self.record.get(labels)).map(str::trim);
        let label = label.filter(|label| !label.is_empty());
        if self.labelled && label.is_none() {
            return wrong(format!("a label for `{path}`, or no line for it"), "none".to_owned());
        }
        Ok(Some(LabelRow { line, path, label }))
    }
}

/// `line`: that of the end of the row.
fn damaged(path: &Path, error: csv::Error, line: u64) -> Error {
    match error.into_kind() {
        ErrorKind::Io(e) => Error::io(path, e),
        ErrorKind::Utf8 { .. } => Error::InLine {
            path: path.to_owned(),
            line,
            expected: "CSV text in UTF-8".to_owned(),
            found: "another encoding".to_owned(),
        },
        kind => Error::expected(path, "CSV text", format!("{kind:?}")),
    }
}
