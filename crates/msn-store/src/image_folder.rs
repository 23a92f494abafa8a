//! Image sets written by the program.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Component, Path, PathBuf};

use crate::atomic;
use crate::error::{Result, StoreError};
use crate::new_folder::NewFolder;

/// An image folder (`CLASS/NAME.png`) that appears under its name when all images are in it.
///
/// Images are not synced to disk one by one, which would take longer than drawing them: a kill leaves no half
/// set behind, but a power cut shortly after [`finish`](Self::finish) may leave images empty. The set is drawn
/// again from its seed.
#[derive(Debug)]
pub struct ImageFolder {
    folder: NewFolder,
}

impl ImageFolder {
    /// Begins the image folder `path`, which must not exist or be empty. Until it is finished the images are in
    /// a folder `.msn-tmp-*` beside it, removed when `self` is dropped.
    ///
    /// # Errors
    /// [`StoreError::NotEmpty`], [`StoreError::Io`].
    pub fn create(path: &Path) -> Result<Self> {
        Ok(Self { folder: NewFolder::create(path)? })
    }

    /// Writes one encoded image; may be called from several threads at once.
    ///
    /// # Errors
    /// [`StoreError::Io`], also if the image exists already.
    ///
    /// # Panics
    /// If `name` (such as `circle/0001.png`) is not a path below the folder.
    pub fn write(&self, name: &Path, encoded: &[u8]) -> Result<()> {
        let below = name.components().all(|part| matches!(part, Component::Normal(_)));
        assert!(below && name.file_name().is_some(), "{} is not a path below the folder", name.display());
        let path = self.folder.staging().join(name);
        let class = atomic::parent(&path);
        fs::create_dir_all(class).map_err(StoreError::io(class, "create the folder"))?;
        File::create_new(&path)
            .and_then(|mut file| file.write_all(encoded))
            .map_err(StoreError::io(&path, "write the image"))
    }

    /// Gives the folder its name. Returns its path.
    ///
    /// # Errors
    /// [`StoreError::NotPlaced`] if something was put there meanwhile, which says where the images are; [`StoreError::Io`].
    pub fn finish(self) -> Result<PathBuf> {
        self.folder.finish()
    }
}
