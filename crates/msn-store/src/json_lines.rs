//! Logs of one JSON value a line.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::atomic;
use crate::error::{Result, StoreError};

/// A log that is appended to, one JSON value a line.
///
/// Each line reaches the operating system in one write, so a killed process loses at most the line it was
/// writing; a power cut may lose those since the last [`sync`](Self::sync).
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl JsonLines {
    /// Opens the log at `path`, or makes it, keeping only those lines that are whole and that `stays` accepts.
    /// The file is replaced (atomically) only where that changes it.
    pub(crate) fn open_keeping(path: &Path, stays: impl FnMut(&Value) -> bool) -> Result<Self> {
        retain_lines(path, stays)?;
        let file =
            File::options().append(true).create(true).open(path).map_err(StoreError::io(path, "open"))?;
        let bytes = file.metadata().map_err(StoreError::io(path, "read the length"))?.len();
        Ok(Self { path: path.to_path_buf(), file, bytes })
    }

    /// Appends `value` as one line.
    ///
    /// # Errors
    /// [`StoreError::Json`] if `value` has no JSON form (a map with keys that are not strings).
    /// [`StoreError::Io`], on a full disk for example: what was written of the line is taken back.
    pub fn append(&mut self, value: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(value).map_err(|source| StoreError::Json {
            path: self.path.clone(),
            expected: "a value with a JSON form",
            source,
        })?;
        line.push(b'\n');
        if let Err(err) = self.file.write_all(&line) {
            // Should this fail as well, the next to open the log drops the torn line.
            let _ = self.file.set_len(self.bytes);
            return Err(StoreError::io(&self.path, "append a line")(err));
        }
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Makes all lines so far survive a power cut; to be called before a checkpoint is saved, so that a resumed
    /// run has the lines of all steps that it will not do again.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn sync(&self) -> Result<()> {
        atomic::where_possible(self.file.sync_data()).map_err(StoreError::io(&self.path, "sync to disk"))
    }
}

/// An image that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Path, or the name inside an archive.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// `skipped.jsonl`: each image that could not be used, once, however often it comes up and the run resumes.
#[derive(Debug)]
pub struct SkippedLog {
    lines: JsonLines,
    paths: HashSet<String>,
}

impl SkippedLog {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut paths = HashSet::new();
        let lines = JsonLines::open_keeping(path, |line| {
            Skipped::deserialize(line).is_ok_and(|skipped| paths.insert(skipped.path))
        })?;
        Ok(Self { lines, paths })
    }

    /// Adds an image, unless its path is listed already. Returns whether it was new.
    ///
    /// # Errors
    /// As [`JsonLines::append`]; the image is then not listed.
    pub fn record(&mut self, skipped: &Skipped) -> Result<bool> {
        if self.paths.contains(&skipped.path) {
            return Ok(false);
        }
        self.lines.append(skipped)?;
        Ok(self.paths.insert(skipped.path.clone()))
    }

    /// Number of images listed.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether every image was usable.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }
}

fn retain_lines(path: &Path, mut stays: impl FnMut(&Value) -> bool) -> Result<()> {
    let bytes = match fs::read(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result.map_err(StoreError::io(path, "read"))?,
    };
    let mut kept = Vec::with_capacity(bytes.len());
    for (index, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
        match serde_json::from_slice(line) {
            Ok(value) if stays(&value) => {
                kept.extend_from_slice(line.trim_ascii_end());
                kept.push(b'\n');
            }
            Ok(_) => {}
            Err(err) => {
                let line = index + 1;
                tracing::warn!("{}:{line}: torn line dropped: {err}", path.display());
            }
        }
    }
    if kept != bytes { atomic::write(path, &kept) } else { Ok(()) }
}
