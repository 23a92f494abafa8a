//! Files that appear whole or not at all.
//!
//! The bytes go to a file beside the destination, are synced to disk, and the file is renamed over the
//! destination; then the folder is synced, so that the rename itself survives a power cut. What a kill
//! leaves behind, by the moment it strikes:
//!
//! - before the rename: the old file (or none), and a leftover named `.msn-tmp-*` beside it. [`RunDir`] removes
//!   those of checkpoints when it takes a run's lock, and others once they are a day old: younger, they may be the work in
//!   progress of another process. [`ShardFolder`](crate::ShardFolder) and [`CacheFolder`](crate::CacheFolder) do likewise;
//!   elsewhere nobody does, and they can be deleted at any time.
//! - after the rename: the new file, whole.
//!
//! An error, unlike a kill, removes the file beside.
//!
//! [`RunDir`]: crate::RunDir

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::{Builder, TempDir};

use crate::error::{Result, StoreError};

/// First characters of the name of everything that is not in its final place yet.
const LEFTOVER_PREFIX: &str = ".msn-tmp-";

/// What an interrupted write left where other processes may write too is removed once it is this old: younger, it may be
/// the work of one of them.
pub(crate) const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// Replaces the file at `path` with `bytes`, as a whole and durably.
///
/// A symbolic link is followed and stays. A pipe or a device (`/dev/stdout`) is written to directly, since a
/// rename would put a file in its place.
///
/// # Errors
/// [`StoreError::Io`] names `path`, what was tried and the operating system's answer; the old file, if any,
/// is untouched. It names the folder instead where the rename cannot be synced: then the new file is in its place, and a power
/// cut may bring the old one back.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with(path, |out| out.write_all(bytes))
}

/// Like [`write`](fn@write), for content that `fill` writes piece by piece (buffered).
///
/// # Errors
/// As [`write`](fn@write); after an error of `fill` the old file is untouched.
pub fn write_with(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let Some(destination) = regular_destination(path)? else {
        let device =
            File::options().write(true).open(path).map_err(StoreError::io(path, "open for writing"))?;
        return fill_buffered(&device, fill).map_err(StoreError::io(path, "write"));
    };
    let folder = parent(&destination);
    let beside =
        file_builder().tempfile_in(folder).map_err(StoreError::io(path, "create a file beside it"))?;
    fill_buffered(beside.as_file(), fill).map_err(StoreError::io(path, "write"))?;
    where_possible(beside.as_file().sync_all()).map_err(StoreError::io(path, "sync to disk"))?;
    beside.persist(&destination).map_err(|err| StoreError::io(path, "rename into place")(err.error))?;
    sync_folder(folder)
}

/// Makes the names in `folder` (files created, renamed, removed) survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    // Only Unix opens a folder as a file; elsewhere the file system orders renames by itself.
    if !cfg!(unix) {
        return Ok(());
    }
    let synced = File::open(folder).and_then(|opened| opened.sync_all());
    where_possible(synced).map_err(StoreError::io(folder, "sync the folder to disk"))
}

/// Some file systems, network ones above all, cannot sync folders, or anything: there is nothing better to do.
pub(crate) fn where_possible(synced: io::Result<()>) -> io::Result<()> {
    match synced {
        Err(err) if matches!(err.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        result => result,
    }
}

/// An empty folder inside `parent` that is removed when dropped, unless it was renamed into place.
pub(crate) fn staging_folder(parent: &Path) -> Result<TempDir> {
    Builder::new()
        .prefix(LEFTOVER_PREFIX)
        .tempdir_in(parent)
        .map_err(StoreError::io(parent, "create a folder in it"))
}

/// Removes `folder` and its content so that a kill in between leaves a leftover, never half a folder.
pub(crate) fn remove_folder(folder: &Path) -> Result<()> {
    let staging = staging_folder(parent(folder))?;
    fs::rename(folder, staging.path().join("removed")).map_err(StoreError::io(folder, "remove"))?;
    staging.close().map_err(StoreError::io(folder, "remove"))
}

/// Removes what killed processes left in `folder` and what is older than `age`: 0 only for a folder that no other process
/// writes to.
pub(crate) fn remove_leftovers(folder: &Path, age: Duration) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(StoreError::io(folder, "list"))? {
        let entry = entry.map_err(StoreError::io(folder, "list"))?;
        let path = entry.path();
        // Another process may just have given it its name.
        let Ok(changed) = entry.metadata().and_then(|facts| facts.modified()) else { continue };
        if is_leftover(&path) && changed.elapsed().unwrap_or_default() >= age {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(StoreError::io(&path, "remove what an interrupted write left"))?;
            tracing::debug!(path = %path.display(), "removed what an interrupted write left");
        }
    }
    Ok(())
}

pub(crate) fn is_leftover(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(LEFTOVER_PREFIX))
}

/// The folder that holds `path`; `.` for a bare name.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The path to rename over, symbolic links resolved; `None` for what is neither file nor folder.
fn regular_destination(path: &Path) -> Result<Option<PathBuf>> {
    match fs::metadata(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound && !path.is_symlink() => {
            Ok(Some(path.to_path_buf()))
        }
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            Err(StoreError::io(path, "write where this symbolic link points to")(err))
        }
        Err(err) => Err(StoreError::io(path, "write")(err)),
        Ok(found) if found.is_dir() => Err(StoreError::io(path, "write")(io::ErrorKind::IsADirectory.into())),
        Ok(found) if found.is_file() => {
            fs::canonicalize(path).map(Some).map_err(StoreError::io(path, "resolve the path"))
        }
        Ok(_) => Ok(None),
    }
}

fn fill_buffered(file: &File, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(file);
    fill(&mut out)?;
    out.flush()
}

fn file_builder() -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder.prefix(LEFTOVER_PREFIX);
    // Temporary files are private by default; these become ordinary files, which the umask decides on.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
}

#[cfg(test)]
mod tests {
    use io::ErrorKind;

    use super::*;

    #[test]
    fn only_where_nothing_can_be_synced_is_that_no_error() {
        for kind in [ErrorKind::InvalidInput, ErrorKind::Unsupported] {
            where_possible(Err(kind.into())).unwrap();
        }
        for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::Other] {
            assert_eq!(where_possible(Err(kind.into())).unwrap_err().kind(), kind);
        }
    }
}
