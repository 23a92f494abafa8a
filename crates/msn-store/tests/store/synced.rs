//! What gets its name is on disk by then, so that a power cut cannot leave half of it under that name. The system counts the
//! bytes that were written and thrown away before they reached the disk: of a file that was synced, there are none.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use msn_store::{KeepPolicy, atomic};

use crate::support::{checkpoint_of, run_with, skip};

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
        skip("this system does not say what was never written to disk");
    }
    shows
}

/// Bytes of `files` that are not on disk at the moment when `name`, which `write` makes, appears.
fn late(name: &Path, files: impl Fn() -> Vec<PathBuf> + Sync, write: impl FnOnce()) -> u64 {
    thread::scope(|scope| {
        let seen = scope.spawn(|| {
            let deadline = Instant::now() + Duration::from_secs(60);
            while !name.exists() {
                assert!(Instant::now() < deadline, "{} does not appear", name.display());
            }
            files().iter().map(|file| not_on_disk(file)).sum()
        });
        write();
        seen.join().unwrap()
    })
}

#[test]
fn a_file_is_on_disk_when_it_gets_its_name() {
    let scratch = tempfile::tempdir().unwrap();
    if !shows_here(scratch.path()) {
        return;
    }
    let path = scratch.path().join("file");
    let files = || vec![path.clone()];
    assert_eq!(late(&path, files, || atomic::write(&path, &vec![1; 8 << 20]).unwrap()), 0);
}

#[test]
fn every_file_of_a_checkpoint_is_on_disk_when_it_gets_its_name() {
    let scratch = tempfile::tempdir().unwrap();
    if !shows_here(scratch.path()) {
        return;
    }
    let (run, checkpoints) = run_with(scratch.path(), &[]);
    let folder = run.path().join("checkpoints/step-1");
    let files = || -> Vec<PathBuf> {
        let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 4, "two parts, the state and the manifest: {files:?}");
        files
    };
    let save = || drop(checkpoints.save(&checkpoint_of(1, 1 << 18), &KeepPolicy::default()).unwrap());
    assert_eq!(late(&folder, files, save), 0);
}
