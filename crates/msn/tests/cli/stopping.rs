//! Signals, and a disk that is full.

use std::fs;
use std::process::{Child, Command, Stdio};

use crate::support::{Finished, Scratch, names, pretrain_arguments, wait_until};

/// More epochs than a test waits for.
const ENDLESS: &str = "optim.epochs=100000";

fn signal(child: &Child, names: &[&str]) {
    for name in names {
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }
}

fn start(scratch: &Scratch, run: &str) -> Child {
    let arguments = pretrain_arguments(run, &[ENDLESS]);
    let child = scratch.command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    let metrics = scratch.path(&format!("{run}/metrics.jsonl"));
    wait_until(|| fs::metadata(&metrics).is_ok_and(|file| file.len() > 0));
    child
}

#[test]
fn a_first_signal_saves_and_tells_how_to_go_on() {
    let scratch = Scratch::new();
    for (name, run, code) in [("TERM", "terminated", 143), ("INT", "interrupted", 130)] {
        let child = start(&scratch, run);
        signal(&child, &[name]);
        let finished = Finished::of(child.wait_with_output().unwrap(), &["pretrain"]).exits_with(code);
        assert!(
            finished.stderr.contains("stopping after this step, with a checkpoint"),
            "{}",
            finished.stderr
        );
        let resume = format!("msn pretrain --data images --out {run} --resume");
        assert!(finished.stderr.contains(&resume), "{}", finished.stderr);
        let steps = scratch.lines_of_json(&format!("{run}/metrics.jsonl")).len();
        assert_eq!(
            scratch.read(&format!("{run}/latest")),
            format!("step-{steps}\n"),
            "the last step is saved"
        );
    }
}

#[test]
fn a_demo_that_was_stopped_goes_on_to_its_table() {
    let scratch = Scratch::new();
    let small = ["optim.warmup_epochs=0", "encoder.dim=24", "encoder.depth=1", "train.batch_size=20"];
    let common = ["demo", "--out", "demo", "--images-per-class", "6", "optim.epochs=40"];
    let arguments = [&common[..], &small].concat();
    let child = scratch.command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    wait_until(|| fs::metadata(scratch.path("demo/metrics.jsonl")).is_ok_and(|file| file.len() > 0));
    signal(&child, &["INT"]);
    let stopped = Finished::of(child.wait_with_output().unwrap(), &arguments).exits_with(130);
    let resume = ["demo", "--out", "demo", "--resume"];
    assert!(stopped.stderr.contains(&format!("msn {}", resume.join(" "))), "{}", stopped.stderr);
    assert!(!scratch.path("demo/demo.json").exists());

    let finished = scratch.msn(&resume).success();
    assert!(finished.stderr.contains("going on after step"), "{}", finished.stderr);
    assert!(finished.stdout.contains("encoder, pre-trained"), "{}", finished.stdout);
    let scores = scratch.read_json("demo/demo.json");
    assert!(scores["pretrained"]["5"]["mean"].is_number(), "{scores}");
    // Once more there is nothing to train, and the same to show.
    assert_eq!(scratch.msn(&resume).success().stdout, finished.stdout);
    // A run of something else, killed before its first checkpoint.
    scratch.pretrain("other", &[]).success();
    fs::remove_file(scratch.path("other/latest")).unwrap();
    let before = scratch.read("other/config.toml");
    scratch.msn(&["demo", "--out", "other", "--resume"]).fails_with(&["other", "the run of a demo"]);
    assert_eq!(scratch.read("other/config.toml"), before);
    scratch.msn(&["demo", "--out", "nowhere", "--resume"]).fails_with(&["nowhere", "not a run folder"]);
}

#[test]
fn a_second_signal_ends_at_once() {
    let scratch = Scratch::new();
    let child = start(&scratch, "run");
    // Both are waiting when the process goes on, so that it cannot save in between.
    signal(&child, &["STOP", "INT", "TERM", "CONT"]);
    let finished = Finished::of(child.wait_with_output().unwrap(), &["pretrain"]);
    assert!(matches!(finished.code, Some(130 | 143)), "{:?}: {}", finished.code, finished.stderr);
}

#[test]
fn the_last_checkpoint_waits_for_a_disk_that_comes_back() {
    let scratch = Scratch::with_run();
    fs::remove_dir_all(scratch.path("run/checkpoints")).unwrap();
    fs::remove_file(scratch.path("run/latest")).unwrap();
    // A disk that is not there.
    std::os::unix::fs::symlink("../away/checkpoints", scratch.path("run/checkpoints")).unwrap();
    let arguments = pretrain_arguments("run", &["--resume"]);
    let said = fs::File::create(scratch.path("said")).unwrap();
    let mut child = scratch.command(&arguments).stderr(said).spawn().unwrap();
    wait_until(|| scratch.read("said").contains("no checkpoint of step 12"));
    fs::create_dir_all(scratch.path("away/checkpoints")).unwrap();
    assert!(child.wait().unwrap().success(), "{}", scratch.read("said"));
    assert_eq!(names(&scratch.path("away/checkpoints")), ["step-12"]);
    assert_eq!(scratch.read("run/latest"), "step-12\n");
}

#[cfg(target_os = "linux")]
#[test]
fn a_closed_terminal_ends_a_run_after_a_checkpoint_unless_it_was_started_with_nohup() {
    let scratch = Scratch::new();
    let arguments = |run| pretrain_arguments(run, &[ENDLESS]);
    let start = |run, trap: &str| {
        let mut shell = scratch.shell(&format!(r#"{trap}exec "$0" "$@""#), &arguments(run));
        let child = shell.stderr(Stdio::null()).spawn().unwrap();
        let metrics = scratch.path(&format!("{run}/metrics.jsonl"));
        wait_until(|| fs::metadata(&metrics).is_ok_and(|file| file.len() > 0));
        child
    };
    let is_ignored_here = {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim().to_owned();
        u64::from_str_radix(&mask, 16).unwrap() & 1 == 1
    };
    if is_ignored_here {
        // No shell may listen again to what was ignored when it started.
        msn_golden::skip("a closed terminal: these tests run under nohup");
    } else {
        let mut child = start("closed", "");
        // As the shell and the system send it, one after the other.
        signal(&child, &["HUP", "HUP"]);
        assert_eq!(child.wait().unwrap().code(), Some(129));
        assert!(scratch.path("closed/latest").exists());
    }
    let mut child = start("ignoring", r#"trap "" HUP && "#);
    signal(&child, &["HUP"]);
    let steps = || scratch.lines_of_json("ignoring/metrics.jsonl").len();
    let before = steps();
    wait_until(|| steps() > before + 2);
    signal(&child, &["TERM"]);
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn a_full_disk_while_saving_leaves_the_last_checkpoint_whole() {
    let scratch = Scratch::with_run();
    // A limit on the size of files, in blocks of 512 or 1024 bytes, is below that of the encoder (some 140 kB); with
    // the signal ignored, a write over it fails as on a full disk.
    let larger = fs::metadata(scratch.path("run/checkpoints/step-12/encoder.safetensors")).unwrap().len();
    assert!(larger > 64 * 1024, "{larger} bytes are within the limit");
    fs::remove_dir_all(scratch.path("run/checkpoints/step-12")).unwrap();
    fs::write(scratch.path("run/latest"), "step-6\n").unwrap();
    let arguments = pretrain_arguments("run", &["--resume"]);
    let mut limited = scratch.shell(r#"trap "" XFSZ && ulimit -f 64 && exec "$0" "$@""#, &arguments);
    let said = fs::File::create(scratch.path("said")).unwrap();
    let child = limited.stderr(said).spawn().unwrap();
    wait_until(|| scratch.read("said").contains("waits here"));
    assert!(scratch.read("said").contains("no checkpoint of step 12"), "{}", scratch.read("said"));
    signal(&child, &["INT"]);
    let mut finished = Finished::of(child.wait_with_output().unwrap(), &arguments);
    finished.stderr = scratch.read("said");
    finished.fails_with(&["error: ", "safetensors", "cannot write"]);
    assert_eq!(names(&scratch.path("run/checkpoints")), ["step-6"]);
    // And with room again the run goes on from there.
    let resumed = scratch.pretrain("run", &["--resume"]).success();
    assert!(resumed.stderr.contains("going on after step 6"), "{}", resumed.stderr);
}
