//! Going on where a run stopped, with the same bits.

use serde_json::Value;

use crate::support::{Finished, Scratch, names, pretrain_arguments, wait_until};

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

fn assert_same_run(scratch: &Scratch, last: u64, one: &str, other: &str) {
    let tensors = scratch.tensors(one, last);
    assert!(tensors.len() >= 5, "{:?}", tensors.keys());
    assert!(tensors == scratch.tensors(other, last), "the tensors of {one} and {other} differ");
    assert_eq!(timeless_metrics(scratch, one), timeless_metrics(scratch, other));
}

#[test]
fn the_same_run_twice_gives_the_same_bits_and_another_seed_others() {
    let scratch = Scratch::new();
    scratch.pretrain("one", &[EPOCHS]).success();
    scratch.pretrain("two", &[EPOCHS, "data.workers=1", "data.queue=5"]).success();
    scratch.pretrain("other", &[EPOCHS, "seed=1"]).success();
    assert_same_run(&scratch, STEPS, "one", "two");
    assert!(scratch.tensors("one", STEPS) != scratch.tensors("other", STEPS));
}

#[test]
fn a_run_killed_in_mid_epoch_loses_steps_and_resumed_gives_the_bits_of_one_that_never_stopped() {
    /// 60 steps, of which many are left when the kill comes, however busy the machine.
    const LONG: &str = "optim.epochs=10";
    const LAST: u64 = 60;
    /// In the middle of the second epoch; what comes after is lost.
    const LEFT: u64 = 9;
    let settings = [LONG, SAVE_ALWAYS, "train.keep_last=100"];
    let scratch = Scratch::new();
    scratch.pretrain("whole", &settings).success();

    let mut child = scratch.command(&pretrain_arguments("killed", &settings));
    let mut child = child.stderr(std::process::Stdio::null()).spawn().unwrap();
    wait_until(|| scratch.path(&format!("killed/checkpoints/step-{}", LEFT + 4)).exists());
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None, "killed, not ended by itself");
    // As if it had saved less often: the checkpoints after step 9 are gone, the log of those steps is not.
    let mut lost = 0;
    for name in names(&scratch.path("killed/checkpoints")) {
        let step = name.strip_prefix("step-").and_then(|step| step.parse::<u64>().ok());
        if step.is_none_or(|step| step > LEFT) {
            std::fs::remove_dir_all(scratch.path("killed/checkpoints").join(&name)).unwrap();
            lost += 1;
        }
    }
    assert!(lost >= 4, "{lost}");
    std::fs::write(scratch.path("killed/latest"), format!("step-{LEFT}\n")).unwrap();
    let last_logged = |run: &str| {
        let text = scratch.read(&format!("{run}/metrics.jsonl"));
        let steps =
            text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()?["step"].as_u64());
        steps.max().unwrap()
    };
    assert!((LEFT + 4..LAST).contains(&last_logged("killed")), "{}", last_logged("killed"));

    // The settings come from the run folder.
    let resumed = scratch.msn(&["pretrain", "--data", "images", "--out", "killed", "--resume"]).success();
    assert!(resumed.stderr.contains(&format!("going on after step {LEFT}\n")), "{}", resumed.stderr);
    assert!(!resumed.stderr.contains("passed over"), "{}", resumed.stderr);
    assert_same_run(&scratch, LAST, "whole", "killed");
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
fn notes_in_the_settings_of_a_run_stay_where_nothing_changes() {
    let scratch = Scratch::with_run();
    let noted = format!("# Of the first microscope.\n{}", scratch.read("run/config.toml"));
    std::fs::write(scratch.path("run/config.toml"), &noted).unwrap();
    scratch.msn(&["pretrain", "--data", "images", "--out", "run", "--resume"]).success();
    assert_eq!(scratch.read("run/config.toml"), noted);
}

#[test]
fn a_resume_with_other_images_is_refused_and_leaves_the_settings_alone() {
    let scratch = Scratch::with_run();
    let before = scratch.read("run/config.toml");
    scratch.msn(&["synth", "--out", "others", "--classes", "2", "--images-per-class", "9"]).success();
    let resume = ["pretrain", "--data", "others", "--out", "run", "--resume", "train.log_every=3"];
    scratch.msn(&resume).fails_with(&["others", "--data"]);
    assert_eq!(scratch.read("run/config.toml"), before);
}

#[test]
fn a_run_that_the_machine_cannot_hold_is_refused_when_it_is_resumed_too() {
    let scratch = Scratch::with_run();
    std::fs::remove_dir_all(scratch.path("run/checkpoints")).unwrap();
    let before = scratch.read("run/config.toml");
    let finished = scratch.pretrain("run", &["--resume", "encoder.dim=65536", "encoder.depth=1024"]);
    if cfg!(target_os = "linux") {
        finished.fails_with(&["GB of memory", "encoder.dim = 65536", "encoder.depth = 1024"]);
    }
    assert_eq!(scratch.read("run/config.toml"), before);
}

#[test]
fn a_run_without_a_checkpoint_may_change_any_setting() {
    let scratch = Scratch::with_run();
    std::fs::remove_dir_all(scratch.path("run/checkpoints")).unwrap();
    std::fs::remove_file(scratch.path("run/latest")).unwrap();
    scratch.pretrain("run", &["--resume", "optim.lr=1e-4", "train.batch_size=6"]).success();
    let steps: Vec<Value> = scratch.lines_of_json("run/metrics.jsonl");
    assert_eq!(steps.len(), 8, "the steps of before are no part of the log: {steps:?}");
    assert!(scratch.read("run/config.toml").contains("lr = 0.0001"));
}

#[test]
fn what_the_run_picked_for_its_processor_stays_when_another_goes_on() {
    let scratch = Scratch::new();
    for precision in ["bf16", "f32"] {
        let setting = format!("train.precision={precision}");
        scratch.pretrain(precision, &[&setting, "optim.epochs=1"]).success();
        // One of the two is not what this processor would pick.
        scratch.pretrain(precision, &["--resume", "optim.epochs=1"]).success();
    }
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
fn the_checkpoint_of_another_run_is_told_by_its_settings() {
    let scratch = Scratch::with_run();
    scratch.pretrain("wide", &["encoder.dim=48"]).success();
    // The weights of one run under the configuration of another.
    let copy = |from: &str, to: &str| std::fs::rename(scratch.path(from), scratch.path(to)).unwrap();
    copy("run/checkpoints", "aside");
    copy("wide/checkpoints", "run/checkpoints");
    let parts = ["started with encoder.dim = 48, found 32", "config.toml"];
    scratch.pretrain("run", &["--resume"]).fails_with(&parts);
}

#[test]
fn settings_that_were_changed_in_the_run_folder_are_refused() {
    let scratch = Scratch::with_run();
    let own = scratch.read("run/config.toml");
    let changed = own.replacen("seed = 0", "seed = 5", 1);
    assert_ne!(own, changed);
    std::fs::write(scratch.path("run/config.toml"), changed).unwrap();
    let refused = ["run was started with seed = 0", "found 5", "config.toml", "--init run"];
    let resume = ["pretrain", "--data", "images", "--out", "run", "--resume"];
    scratch.msn(&resume).fails_with(&refused);
    std::fs::write(scratch.path("run/config.toml"), own.replacen("log_every = ", "log_every = 1", 1))
        .unwrap();
    scratch.msn(&resume).success();
}

#[test]
fn data_that_grew_or_was_renamed_since_is_refused() {
    let scratch = Scratch::with_run();
    let class = names(&scratch.path("images")).remove(0);
    let image = scratch.path(&format!("images/{class}/0001.png"));
    let another = image.with_file_name("0009.png");
    std::fs::copy(&image, &another).unwrap();
    scratch.pretrain("run", &["--resume"]).fails_with(&["run: ", "24 images", "25 in images"]);
    std::fs::remove_file(&image).unwrap();
    scratch.pretrain("run", &["--resume"]).fails_with(&["run: ", "24 in images", "other names"]);
}
