//! Folders of shards, written one after the other.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Result, StoreError};
use crate::lock::{self, RunLock};
use crate::{atomic, export, run};

/// The record of what is done, beside the shards.
const RECORD: &str = "shards.json";

/// A folder of shards and a record of what is done, locked for this process.
///
/// Every file appears whole or not at all. A kill leaves the finished shards, a record that is at most one shard behind
/// them, and a leftover that [`resume`](Self::resume) removes.
#[derive(Debug)]
pub struct ShardFolder {
    path: PathBuf,
    _lock: RunLock,
}

impl ShardFolder {
    /// Begins the folder `path`, which must not exist or be empty. It can be resumed once it has a record.
    ///
    /// # Errors
    /// [`StoreError::NotEmpty`], [`StoreError::Locked`], [`StoreError::Io`].
    pub fn create(path: &Path) -> Result<Self> {
        lock::begin(path, run::check_empty, Self::locked)
    }

    /// Opens a folder that was begun, and removes what a killed process left half-written.
    ///
    /// # Errors
    /// [`StoreError::NoShards`] if there is no record, [`StoreError::Locked`], [`StoreError::Io`].
    pub fn resume(path: &Path) -> Result<Self> {
        if !path.join(RECORD).is_file() {
            return Err(StoreError::NoShards { path: path.to_path_buf(), expected: RECORD });
        }
        Self::locked(path)
    }

    fn locked(path: &Path) -> Result<Self> {
        let folder = Self { path: path.to_path_buf(), _lock: RunLock::acquire(path)? };
        atomic::remove_leftovers(path, Duration::ZERO)?;
        Ok(folder)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The record in the folder `path`, which may be one that another process writes to; `None` where there is none that can
    /// be read.
    pub fn record_in<T: DeserializeOwned>(path: &Path) -> Option<T> {
        serde_json::from_slice(&fs::read(path.join(RECORD)).ok()?).ok()
    }

    /// Reads the record.
    ///
    /// # Errors
    /// [`StoreError::Io`], or [`StoreError::Json`] if it holds something else.
    pub fn record<T: DeserializeOwned>(&self) -> Result<T> {
        let path = self.path.join(RECORD);
        let text = fs::read(&path).map_err(StoreError::io(&path, "read"))?;
        let expected = "the record of a folder of shards";
        serde_json::from_slice(&text).map_err(|source| StoreError::Json { path, expected, source })
    }

    /// Writes the record over the one before.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn write_record(&self, record: &impl Serialize) -> Result<()> {
        export::write_json(&self.path.join(RECORD), record)
    }

    /// Writes the shard `name`, whose content `fill` writes piece by piece (buffered).
    ///
    /// # Errors
    /// [`StoreError::Io`]; after an error, of `fill` too, there is no such shard.
    ///
    /// # Panics
    /// If `name` is no file name.
    pub fn write_shard(&self, name: &str, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        assert!(!name.is_empty() && !name.contains(['/', '\\']), "`{name}` is no file name");
        atomic::write_with(&self.path.join(name), fill)
    }
}
