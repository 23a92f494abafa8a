//! Single files.

use std::fs;
use std::io;

use msn_store::{StoreError, atomic};

use crate::support::names;

#[test]
fn a_file_is_replaced_and_nothing_stays_beside_it() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("file");
    atomic::write(&path, b"first").unwrap();
    atomic::write(&path, b"second").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"second");
    assert_eq!(names(scratch.path()), ["file"]);
}

#[test]
fn a_failed_write_leaves_the_old_file_and_nothing_beside_it() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("file");
    atomic::write(&path, b"old").unwrap();
    let err = atomic::write_with(&path, |out| {
        out.write_all(&[0; 100_000])?;
        Err(io::Error::other("out of ideas"))
    })
    .unwrap_err();
    assert_eq!(err.to_string(), format!("{}: cannot write: out of ideas", path.display()));
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(names(scratch.path()), ["file"]);
}

#[test]
fn a_missing_folder_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("nowhere/file");
    let err = atomic::write(&path, b"").unwrap_err();
    assert!(err.to_string().starts_with(&format!("{}: cannot ", path.display())), "{err}");
    assert!(matches!(err, StoreError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound));
}

#[test]
fn a_folder_is_not_replaced() {
    let scratch = tempfile::tempdir().unwrap();
    let err = atomic::write(scratch.path(), b"").unwrap_err();
    assert!(matches!(err, StoreError::Io { source, .. } if source.kind() == io::ErrorKind::IsADirectory));
    assert!(scratch.path().is_dir());
}

#[cfg(unix)]
#[test]
fn a_symbolic_link_stays_and_its_file_is_replaced() {
    let scratch = tempfile::tempdir().unwrap();
    let [file, link] = ["file", "link"].map(|name| scratch.path().join(name));
    fs::write(&file, "old").unwrap();
    std::os::unix::fs::symlink("file", &link).unwrap();
    atomic::write(&link, b"new").unwrap();
    assert!(link.is_symlink());
    assert_eq!(fs::read(&file).unwrap(), b"new");
}

#[cfg(unix)]
#[test]
fn a_symbolic_link_to_nowhere_stays() {
    let scratch = tempfile::tempdir().unwrap();
    let link = scratch.path().join("link");
    std::os::unix::fs::symlink("unmounted/file", &link).unwrap();
    let err = atomic::write(&link, b"new").unwrap_err();
    assert!(err.to_string().contains("where this symbolic link points to"), "{err}");
    assert_eq!(names(scratch.path()), ["link"]);
    assert!(link.is_symlink());
}

#[cfg(unix)]
#[test]
fn files_have_the_permissions_of_ordinary_files() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = tempfile::tempdir().unwrap();
    let [ours, ordinary] = ["ours", "ordinary"].map(|name| scratch.path().join(name));
    atomic::write(&ours, b"").unwrap();
    fs::write(&ordinary, b"").unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&ours), mode(&ordinary));
}

#[cfg(target_os = "linux")]
#[test]
fn a_device_is_written_to_and_stays_a_device() {
    use std::os::unix::fs::FileTypeExt;
    let err = atomic::write("/dev/full".as_ref(), b"bytes").unwrap_err();
    assert!(matches!(err, StoreError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull));
    assert!(fs::metadata("/dev/full").unwrap().file_type().is_char_device());
}
