//! Tests that run once more in a process of their own, since what they set is the environment of a process.

use std::process::Command;

/// Runs the test of this name with some variables set, which tell it that it is the second time, and without others.
#[track_caller]
pub(crate) fn run_again(name: &str, variables: &[(&str, &str)], without: &[&str]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    for variable in without {
        command.env_remove(variable);
    }
    command.args(["--exact", name, "--nocapture"]).envs(variables.iter().copied());
    let run = command.output().unwrap();
    let [out, err] = [run.stdout, run.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(run.status.success(), "{out}\n{err}");
    assert!(out.contains("1 passed"), "{out}");
}
