//! What gets its name is on disk by then, so that a power cut cannot leave half of it under that name. The system counts the
//! bytes that were written and thrown away before they reached the disk: of a file that was synced, there are none.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::path::Path;

use msn_store::atomic;

use crate::support::{names, run_with};

/// Bytes that this thread has thrown away before they reached the disk; `None` where the system does not say.
fn thrown_away() -> Option<u64> {
    let counts = fs::read_to_string("/proc/thread-self/io").ok()?;
    counts.lines().find_map(|line| line.strip_prefix("cancelled_write_bytes: ")?.parse().ok())
}

/// Bytes of a file that are not on disk. Empties it.
fn not_on_disk(file: &Path) -> u64 {
    let before = thrown_away().unwrap();
    File::options().write(true).open(file).unwrap().set_len(0).unwrap();
    thrown_away().unwrap() - before
}

/// False with a message where what is not synced does not show, as in memory.
fn shows_here(scratch: &Path) -> bool {
    let file = scratch.join("not-synced");
    fs::write(&file, [1; 1 << 16]).unwrap();
    let shows = thrown_away().is_some() && not_on_disk(&file) == 1 << 16;
    if !shows {
        msn_golden::skip("this system does not say what was never written to disk");
    }
    shows
}

#[test]
fn a_file_is_on_disk_before_it_gets_its_name() {
    let scratch = tempfile::tempdir().unwrap();
    if !shows_here(scratch.path()) {
        return;
    }
    let path = scratch.path().join("file");
    let before = thrown_away().unwrap();
    // The name is taken meanwhile, so that the file is thrown away in the moment in which it would get it.
    let written = atomic::write_with(&path, |out| {
        fs::create_dir(&path)?;
        out.write_all(&[1; 1 << 20])
    });
    assert!(written.unwrap_err().to_string().contains("cannot rename into place"));
    assert_eq!(thrown_away().unwrap() - before, 0);
}

#[test]
fn every_file_of_a_saved_checkpoint_is_on_disk() {
    let scratch = tempfile::tempdir().unwrap();
    if !shows_here(scratch.path()) {
        return;
    }
    let (run, _) = run_with(scratch.path(), &[1]);
    let folder = run.path().join("checkpoints/step-1");
    assert_eq!(names(&folder).len(), 4, "two parts, the state and the manifest");
    for name in names(&folder) {
        assert_eq!(not_on_disk(&folder.join(&name)), 0, "{name}");
    }
}
