//! Folders that appear under their name when all that belongs in them is there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::atomic;
use crate::error::{Result, StoreError};

/// A folder in the making: `.msn-tmp-*` beside its destination, removed when `self` is dropped before it is finished.
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
    ///
    /// # Errors
    /// [`StoreError::NotPlaced`], which says where the folder is then.
    pub(crate) fn finish(self) -> Result<PathBuf> {
        if let Err(source) = self.place() {
            let kept = self.staging.keep();
            // Under a name that is not taken for a leftover.
            let mut name = self.path.file_name().unwrap_or_default().to_owned();
            name.push(format!("-{}", std::process::id()));
            let found = self.path.with_file_name(name);
            let found = if !found.exists() && fs::rename(&kept, &found).is_ok() { found } else { kept };
            return Err(StoreError::NotPlaced { path: self.path, found, source });
        }
        atomic::sync_folder(atomic::parent(&self.path))?;
        Ok(self.path)
    }

    fn place(&self) -> io::Result<()> {
        // A rename over an empty folder works on Unix only.
        match fs::remove_dir(&self.path) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => {}
        }
        fs::rename(self.staging.path(), &self.path)
    }
}

/// Unlike a run, a folder that a rename puts in place cannot take over a lock file, nor what a killed process left.
fn check_free(path: &Path) -> Result<()> {
    let mut entries = match fs::read_dir(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result.map_err(StoreError::io(path, "list"))?,
    };
    let Some(first) = entries.next() else { return Ok(()) };
    let found = first.map_err(StoreError::io(path, "list"))?.file_name().to_string_lossy().into_owned();
    Err(StoreError::NotEmpty { path: path.to_path_buf(), found })
}
