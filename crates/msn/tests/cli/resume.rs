//! Going on where a run stopped, with the same bits.

use serde_json::Value;

use crate::support::{Finished, Scratch, pretrain_arguments, wait_until};

/// Saves after every step, so that a kill falls within an epoch.
const SAVE_ALWAYS: &str = "train.checkpoint_minutes=1e-9";
/// 6 steps an epoch.
const EPOCHS: &str = "optim.epochs=4";
const STEPS: u64 = 24;

/// The log without what time does to it.
fn timeless_metrics(scratch: &Scratch, run: &str) -> Vec<Value> {
    let mut lines = scratch.lines_of_json(&format!("{run}/metrics.jsonl"));
    for line in &mut lines {
        let line = line.as_object_mut().unwrap();
        for field in ["images_per_second", "data_wait", "seconds"] {
            assert!(line.remove(field).is_some(), "{field}");
        }
    }
    lines
}

fn assert_same_run(scratch: &Scratch, one: &str, other: &str) {
    let tensors = scratch.tensors(one, STEPS);
    assert!(tensors.len() >= 5, "{:?}", tensors.keys());
    assert!(tensors == scratch.tensors(other, STEPS), "the tensors of {one} and {other} differ");
    assert_eq!(timeless_metrics(scratch, one), timeless_metrics(scratch, other));
}

#[test]
fn the_same_run_twice_gives_the_same_bits_and_another_seed_others() {
    let scratch = Scratch::new();
    scratch.pretrain("one", &[EPOCHS]).success();
    scratch.pretrain("two", &[EPOCHS, "data.workers=1", "data.queue=5"]).success();
    scratch.pretrain("other", &[EPOCHS, "seed=1"]).success();
    assert_same_run(&scratch, "one", "two");
    assert!(scratch.tensors("one", STEPS) != scratch.tensors("other", STEPS));
}

#[test]
fn a_run_killed_in_mid_epoch_and_resumed_gives_the_bits_of_one_that_never_stopped() {
    let scratch = Scratch::new();
    scratch.pretrain("whole", &[EPOCHS, SAVE_ALWAYS]).success();

    let arguments = pretrain_arguments("killed", &[EPOCHS, SAVE_ALWAYS]);
    let mut child = scratch.command(&arguments).stderr(std::process::Stdio::null()).spawn().unwrap();
    // 6 steps are an epoch: 9 is in the middle of the second.
    wait_until(|| scratch.path("killed/checkpoints/step-9").exists());
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None, "killed, not ended by itself");
    assert!(!scratch.path(&format!("killed/checkpoints/step-{STEPS}")).exists());

    // The settings come from the run folder.
    let resumed = scratch.msn(&["pretrain", "--data", "images", "--out", "killed", "--resume"]).success();
    assert!(resumed.stderr.contains("going on after step"), "{}", resumed.stderr);
    assert_same_run(&scratch, "whole", "killed");
}

#[test]
fn a_run_resumed_after_its_end_has_nothing_left_to_do() {
    let scratch = Scratch::with_run();
    let before = scratch.tensors("run", 12);
    let resumed = scratch.pretrain("run", &["--resume"]).success();
    assert!(resumed.stderr.contains("nothing left to do"), "{}", resumed.stderr);
    assert!(scratch.tensors("run", 12) == before);
}

#[test]
fn a_run_is_neither_overwritten_nor_resumed_where_there_is_none() {
    let scratch = Scratch::with_run();
    let metrics = scratch.read("run/metrics.jsonl");
    scratch.pretrain("run", &[]).fails_with(&["run", "--resume", "--out"]);
    assert_eq!(scratch.read("run/metrics.jsonl"), metrics);
    scratch.pretrain("nothing", &["--resume"]).fails_with(&["nothing", "not a run folder"]);
    assert!(!scratch.path("nothing").exists());
    scratch.pretrain("images", &["--resume"]).fails_with(&["images", "not a run folder"]);
}

#[test]
fn a_resumed_run_keeps_the_settings_that_its_result_depends_on() {
    let scratch = Scratch::with_run();
    scratch.pretrain("run", &["--resume", "optim.lr=1e-4"]).fails_with(&[
        "optim.lr",
        "0.001",
        "0.0001",
        "resumed run",
    ]);
    scratch.pretrain("run", &["--resume", "data.workers=1", "train.keep_last=1"]).success();
    assert!(scratch.read("run/config.toml").contains("keep_last = 1"));
}

#[test]
fn a_corrupt_newest_checkpoint_falls_back_on_the_one_before_and_says_so() {
    let scratch = Scratch::with_run();
    let whole = scratch.tensors("run", 12);
    scratch.corrupt("run/checkpoints/step-12/target.safetensors");
    let says_so = |finished: Finished| {
        let stderr = finished.success().stderr;
        let warning = stderr.lines().find(|line| line.starts_with("warning: ")).expect("a warning");
        assert!(warning.contains("step-12") && warning.contains("passed over"), "{warning}");
        assert!(stderr.contains("CRC-32"), "{stderr}");
    };
    says_so(scratch.msn(&["embed", "--checkpoint", "run", "--data", "images", "--out", "rows.npy"]));
    let from_6 = ["embed", "--checkpoint", "run/checkpoints/step-6", "--data", "images", "--out", "6.npy"];
    scratch.msn(&from_6).success();
    let read = |name: &str| std::fs::read(scratch.path(name)).unwrap();
    assert!(read("rows.npy") == read("6.npy"), "the features are those of step 6");
    // The run goes on from there and replaces the corrupt one.
    says_so(scratch.pretrain("run", &["--resume"]));
    assert!(scratch.tensors("run", 12) == whole);
}

#[test]
fn a_run_with_corrupt_checkpoints_alone_is_an_explained_failure() {
    let scratch = Scratch::with_run();
    scratch.corrupt("run/checkpoints/step-12/target.safetensors");
    scratch.corrupt("run/checkpoints/step-6/target.safetensors");
    let parts = ["no checkpoint can be read", "step-12", "step-6"];
    scratch.pretrain("run", &["--resume"]).fails_with(&parts);
    scratch
        .msn(&["embed", "--checkpoint", "run", "--data", "images", "--out", "rows.npy"])
        .fails_with(&parts);
    assert!(!scratch.path("rows.npy").exists());
}

#[test]
fn a_checkpoint_of_another_architecture_is_named() {
    let scratch = Scratch::with_run();
    scratch.pretrain("wide", &["encoder.dim=48"]).success();
    // The weights of one run under the configuration of another.
    let copy = |from: &str, to: &str| std::fs::rename(scratch.path(from), scratch.path(to)).unwrap();
    copy("run/checkpoints", "aside");
    copy("wide/checkpoints", "run/checkpoints");
    let parts = ["another architecture", "cls_token", "[1, 1, 32]", "[1, 1, 48]"];
    scratch.pretrain("run", &["--resume"]).fails_with(&parts);
}

#[test]
fn data_that_grew_since_is_refused() {
    let scratch = Scratch::with_run();
    let class = crate::support::names(&scratch.path("images")).remove(0);
    let image = scratch.path(&format!("images/{class}/0001.png"));
    std::fs::copy(&image, image.with_file_name("0009.png")).unwrap();
    scratch.pretrain("run", &["--resume"]).fails_with(&["24 images", "25"]);
}
