//! Where the output goes: pipes that nobody reads, devices without room.

use std::fs::File;
use std::io::Read;
use std::process::{Child, Output, Stdio};

use crate::support::{Finished, Scratch};

const KNN: [&str; 8] = ["eval", "knn", "--checkpoint", "raw-pixels", "--train", "images", "--test", "images"];

/// Everything that prints results or help.
fn printing() -> [Vec<&'static str>; 4] {
    [vec!["--help"], vec!["eval", "lowshot", "--help"], KNN.to_vec(), [&KNN[..], &["--json", "-"]].concat()]
}

#[test]
#[cfg(target_os = "linux")]
fn a_standard_output_without_room_is_an_explained_failure() {
    let scratch = Scratch::new();
    for arguments in printing() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = scratch.command(&arguments).stdout(full).output().unwrap();
        Finished::of(output, &arguments).fails_with(&["standard output: cannot write", "No space left"]);
    }
}

/// Runs the program with a standard output whose reader is gone before the first byte.
fn without_reader(mut child: Child) -> Output {
    drop(child.stdout.take());
    child.wait_with_output().unwrap()
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let scratch = Scratch::new();
    for arguments in printing() {
        let mut command = scratch.command(&arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let finished = Finished::of(without_reader(child), &arguments).success();
        assert!(
            !finished.stderr.contains("error") && !finished.stderr.contains("panicked"),
            "{}",
            finished.stderr
        );
    }
}

#[test]
fn training_goes_on_where_nobody_reads_its_progress() {
    let scratch = Scratch::new();
    let arguments = crate::support::pretrain_arguments("run", &[]);
    let mut child = scratch.command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    stderr.read_exact(&mut [0]).unwrap();
    drop(stderr);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(scratch.read("run/latest"), "step-12\n");
}
