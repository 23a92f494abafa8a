//! Folders that appear under their name when all that belongs in them is there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::{Result, StoreError};
use crate::{atomic, run};

/// A folder in the making: `.tmp-*` beside its destination, removed when `self` is dropped before it is finished.
#[derive(Debug)]
pub(crate) struct NewFolder {
    path: PathBuf,
    staging: TempDir,
}

impl NewFolder {
    /// Begins the folder `path`, which must not exist or be empty.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let parent = atomic::parent(path);
        fs::create_dir_all(parent).map_err(StoreError::io(parent, "create the folder"))?;
        check_free(path)?;
        Ok(Self { path: path.to_path_buf(), staging: atomic::staging_folder(parent)? })
    }

    /// Where its files go meanwhile.
    pub(crate) fn staging(&self) -> &Path {
        self.staging.path()
    }

    /// Gives the folder its name. Returns its path.
    pub(crate) fn finish(self) -> Result<PathBuf> {
        check_free(&self.path)?;
        // A rename over an empty folder works on Unix only.
        match fs::remove_dir(&self.path) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io(&self.path, "replace the empty folder")(err));
            }
            _ => {}
        }
        fs::rename(self.staging.path(), &self.path)
            .map_err(StoreError::io(&self.path, "rename into place"))?;
        atomic::sync_folder(atomic::parent(&self.path))?;
        Ok(self.path)
    }
}

fn check_free(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    match run::first_entry(path)? {
        None => Ok(()),
        Some(found) => Err(StoreError::NotEmpty { path: path.to_path_buf(), found }),
    }
}
