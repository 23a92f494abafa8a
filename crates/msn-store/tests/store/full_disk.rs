//! A full disk while saving: a small file system where this process may mount one, and a limit on the size of
//! files, which any process may set for its children.
#![cfg(target_os = "linux")]

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use msn_store::{KeepPolicy, RunDir, StoreError};

use crate::support::{CHILD, as_child, checkpoint, checkpoint_of, names, run_with};

/// 4 * 65,536 values, a MiB: more than either limit.
const TOO_MANY: usize = 1 << 16;

/// Saves a checkpoint that does not fit into the run at `path`, whose newest is of step 1.
fn assert_failure_leaves_the_last_one(path: &Path, expected: io::ErrorKind) {
    let run = RunDir::resume(path).unwrap();
    let checkpoints = run.checkpoints();
    let err = checkpoints.save(&checkpoint_of(2, TOO_MANY), &KeepPolicy::default()).unwrap_err();
    let message = err.to_string();
    assert!(message.contains("encoder.safetensors: cannot write: "), "{message}");
    assert!(matches!(err, StoreError::Io { source, .. } if source.kind() == expected), "{message}");

    assert_eq!(names(&path.join("checkpoints")), ["step-1"]);
    assert_eq!(fs::read_to_string(path.join("latest")).unwrap(), "step-1\n");
    let loaded = checkpoints.load_newest().unwrap();
    assert_eq!(loaded.checkpoint, checkpoint(1));
    assert!(loaded.rejected.is_empty());

    // And the run goes on when there is room again.
    checkpoints.save(&checkpoint(2), &KeepPolicy::default()).unwrap();
    assert_eq!(checkpoints.load_newest().unwrap().checkpoint, checkpoint(2));

    assert_failure_leaves_whole_lines(&run);
}

/// Appends metrics until they do not fit any more.
fn assert_failure_leaves_whole_lines(run: &RunDir) {
    let mut metrics = run.metrics_after(2).unwrap();
    // 1,021 bytes a line with its line feed: not a divisor of the limits, so that the last one is cut.
    let line = "x".repeat(1018);
    let written = (0..1 << 10).take_while(|_| metrics.append(&line).is_ok()).count();
    assert!((1..1 << 10).contains(&written), "{written} lines");
    let text = fs::read_to_string(run.metrics_path()).unwrap();
    assert_eq!(text.len(), written * 1021);
    assert!(text.ends_with("x\"\n"));
}

#[test]
fn a_write_that_fails_leaves_the_last_checkpoint_whole() {
    if let Some(folder) = std::env::var_os(CHILD) {
        return assert_failure_leaves_the_last_one(Path::new(&folder), io::ErrorKind::FileTooLarge);
    }
    let scratch = tempfile::tempdir().unwrap();
    let (run, _) = run_with(scratch.path(), &[1]);
    let path = run.path().to_path_buf();
    drop(run);
    // 512 blocks of 512 or 1024 bytes. With the signal ignored, a write over the limit fails instead of killing.
    let mut limited = Command::new("sh");
    limited.args(["-c", r#"trap "" XFSZ && ulimit -f 512 && exec "$0" "$@""#]);
    limited.arg(std::env::current_exe().unwrap());
    let test = "full_disk::a_write_that_fails_leaves_the_last_checkpoint_whole";
    let output = as_child(limited, test, &path).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains("1 passed"), "{stdout}");
    // What the child saved in the end is there.
    assert_eq!(RunDir::open(&path).unwrap().checkpoints().steps().unwrap(), [1, 2]);
}

/// Where mounting is not allowed, `/dev/full` and the test above stand in for it.
#[test]
fn a_full_disk_leaves_the_last_checkpoint_whole() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(scratch.path()) else {
        msn_golden::skip("no small file system, since mounting is not allowed: /dev/full instead");
        let err = msn_store::atomic::write("/dev/full".as_ref(), &[0; 100_000]).unwrap_err();
        assert!(matches!(err, StoreError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull));
        return;
    };
    let (run, _) = run_with(disk.0, &[1]);
    let path = run.path().to_path_buf();
    drop(run);
    assert_failure_leaves_the_last_one(&path, io::ErrorKind::StorageFull);
}

/// A file system of 512 KiB, unmounted on drop.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(at: &'a Path) -> Option<Self> {
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(at))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}
