//! `msn eval finetune`, and what other commands make of its result.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use image::{Rgb, RgbImage};

use crate::support::{Finished, Scratch, names, wait_until};

/// Images of 16 px that their colour classifies: `a` is red, `b` is green, each a little different.
fn coloured(scratch: &Scratch, folder: &str, images: u32) {
    for (class, red) in [("a", true), ("b", false)] {
        fs::create_dir_all(scratch.path(folder).join(class)).unwrap();
        for index in 0..images {
            let image = RgbImage::from_fn(16, 16, |x, y| {
                let noise = ((x * 7 + y * 13 + index * 31) % 60) as u8;
                let [r, g] = if red { [160, 60] } else { [60, 160] };
                Rgb([r + noise, g + noise, 90])
            });
            image.save(scratch.path(folder).join(format!("{class}/{index}.png"))).unwrap();
        }
    }
}

/// A pre-trained run, coloured images, and others like them.
fn scratch() -> Scratch {
    let scratch = Scratch::with_run();
    coloured(&scratch, "easy", 12);
    coloured(&scratch, "test", 10);
    scratch
}

fn finetune(scratch: &Scratch, more: &[&str]) -> Finished {
    let common = ["eval", "finetune", "--checkpoint", "run", "--train", "easy", "--test", "test"];
    scratch.msn(&[&common[..], more].concat())
}

/// Settings under which a few steps suffice: colours stay as they are.
const QUICK: [&str; 12] = [
    "--epochs",
    "20",
    "--lr",
    "0.05",
    "--layer-decay",
    "1",
    "--batch-size",
    "8",
    "--rand-augment",
    "0",
    "--mixup",
    "0",
];

#[test]
fn the_result_predicts_what_was_tested_and_is_taken_by_other_commands() {
    let scratch = scratch();
    let finished = finetune(&scratch, &[&QUICK[..], &["--out", "tuned"]].concat()).success();
    let results = scratch.read_json("tuned/eval/finetune.json");
    let top1 = results["top1"].as_f64().unwrap();
    assert!(top1 > 75.0, "chance is 50: {results}");
    assert!(finished.stdout.contains(&format!("{top1:.1}")), "{}", finished.stdout);
    assert_eq!(
        (&results["train_images"], &results["test_images"], &results["steps"]),
        (&24.into(), &20.into(), &60.into())
    );
    assert_eq!(results["losses"].as_array().map(Vec::len), Some(20));
    assert!(finished.stderr.contains("epoch 20/20"), "{}", finished.stderr);

    let predict = ["predict", "--checkpoint", "tuned", "--images", "test", "--out", "predicted.csv"];
    // As it was tested.
    let predicted = scratch.msn(&[&predict[..], &["--precision", "f32"]].concat()).success();
    assert!(predicted.stderr.contains("by the classifier in tuned"), "{}", predicted.stderr);
    let rows = scratch.read("predicted.csv");
    fs::remove_file(scratch.path("predicted.csv")).unwrap();
    let again = scratch.msn(&[&predict[..], &["--precision", "f32"]].concat()).success();
    assert!(again.stderr.contains("20 of 20 were known already"), "{}", again.stderr);
    assert_eq!(scratch.read("predicted.csv"), rows);
    fs::remove_file(scratch.path("predicted.csv")).unwrap();
    scratch
        .msn(&[&predict[..], &["--features", "after-norm"]].concat())
        .refused_with(&["--features", "--labels"]);
    let hits = rows.lines().skip(1).filter(|row| row.split(',').nth(1) == row.split('/').next()).count();
    assert_eq!(100.0 * hits as f64 / 20.0, top1, "{rows}");

    scratch.msn(&["export", "--checkpoint", "tuned", "--format", "hf", "--out", "hf"]).success();
    let described = scratch.read_json("hf/config.json");
    assert_eq!(described["architectures"][0], "ViTMSNForImageClassification");
    assert_eq!((&described["id2label"]["0"], &described["id2label"]["1"]), (&"a".into(), &"b".into()));
    let knn = ["eval", "knn", "--checkpoint", "tuned", "--train", "easy", "--test", "test", "--k", "5"];
    scratch.msn(&knn).success();
    // It is a run like another, and never written over.
    let before = scratch.tensors("tuned", 60);
    finetune(&scratch, &["--out", "tuned"]).fails_with(&["tuned", "found a run"]);
    assert_eq!(scratch.tensors("tuned", 60), before);
    let resume = ["pretrain", "--data", "easy", "--out", "tuned", "--resume"];
    scratch.msn(&resume).fails_with(&["tuned", "expected a pre-training to go on with", "fine-tuned"]);
    assert_eq!(before.keys().collect::<Vec<_>>(), ["classifier.safetensors", "target.safetensors"]);
}

#[test]
fn a_part_of_the_images_and_of_the_blocks_and_another_size() {
    let scratch = scratch();
    let more = ["--shots", "3", "--partial", "1", "--epochs", "1", "--image-size", "24", "--json", "-"];
    let finished = finetune(&scratch, &more).success();
    let results: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!((&results["train_images"], &results["image_size"]), (&6.into(), &24.into()));
    assert_eq!(results["settings"]["partial"], 1);
    assert!(results["trained_parameters"].as_u64() < results["parameters"].as_u64(), "{results}");
    assert!(finished.stderr.contains("last 1 block"), "{}", finished.stderr);
    assert!(
        finished.stderr.contains("picked for 6 images of 24 px: --batch-size 16 --least-area 0.35"),
        "{}",
        finished.stderr
    );

    let untrained = ["--checkpoint", "untrained:run", "--train", "easy", "--test", "test", "--epochs", "1"];
    scratch.msn(&[&["eval", "finetune"], &untrained[..]].concat()).success();
    assert!(scratch.path("run/eval/finetune-untrained.json").is_file());
}

#[cfg(unix)]
#[test]
fn a_signal_saves_and_the_same_command_goes_on_to_the_same_result() {
    let scratch = scratch();
    let arguments = |out| {
        let common = ["eval", "finetune", "--checkpoint", "run", "--train", "easy", "--test", "test"];
        [&common[..], &["--batch-size", "4", "--epochs", "40", "--json", "-", "--out", out]].concat()
    };
    let whole = scratch.msn(&arguments("whole")).success().stdout;
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let arguments = arguments(name);
        let mut child =
            scratch.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The first line of an epoch says that steps are being done.
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut told = String::new();
        while !told.contains("epoch 1/40") {
            assert_ne!(stderr.read_line(&mut told).unwrap(), 0, "{told}");
        }
        let signal = Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap();
        assert!(signal.success());
        stderr.read_to_string(&mut told).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{told}");
        assert!(told.contains("with --resume"), "{told}");
        let predict = ["predict", "--checkpoint", name, "--images", "test", "--out", "predicted.csv"];
        let unfinished = scratch.msn(&predict).success().stderr;
        fs::remove_file(scratch.path("predicted.csv")).unwrap();
        assert!(unfinished.contains("has epochs left"), "{unfinished}");
        let resumed = scratch.msn(&[&arguments[..], &["--resume"]].concat()).success();
        assert!(resumed.stderr.contains("going on after step"), "{}", resumed.stderr);
        assert_eq!(resumed.stdout, whole);
        let finished = scratch.msn(&predict).success().stderr;
        fs::remove_file(scratch.path("predicted.csv")).unwrap();
        assert!(!finished.contains("has epochs left"), "{finished}");
    }
    scratch.msn(&[&arguments("none")[..], &["--resume"]].concat()).fails_with(&[
        "none",
        "not a run folder",
        "without --resume",
    ]);
}

#[cfg(unix)]
#[test]
fn the_result_waits_for_a_disk_that_comes_back() {
    let scratch = scratch();
    let tuned =
        finetune(&scratch, &[&QUICK[..], &["--out", "tuned", "--json", "-"]].concat()).success().stdout;
    fs::remove_dir_all(scratch.path("tuned/checkpoints")).unwrap();
    fs::remove_file(scratch.path("tuned/latest")).unwrap();
    // A disk that is not there.
    std::os::unix::fs::symlink("../away/checkpoints", scratch.path("tuned/checkpoints")).unwrap();
    let common = ["eval", "finetune", "--checkpoint", "run", "--train", "easy", "--test", "test", "--resume"];
    let arguments = [&common[..], &QUICK, &["--out", "tuned", "--json", "-"]].concat();
    let said = fs::File::create(scratch.path("said")).unwrap();
    let child = scratch.command(&arguments).stdout(Stdio::piped()).stderr(said).spawn().unwrap();
    wait_until(|| scratch.read("said").contains("waits here"));
    fs::create_dir_all(scratch.path("away/checkpoints")).unwrap();
    let finished = Finished::of(child.wait_with_output().unwrap(), &arguments).success();
    assert_eq!(finished.stdout, tuned);
    assert_eq!(names(&scratch.path("away/checkpoints")).len(), 1);
}

#[test]
fn broken_images_are_left_out_and_named_once() {
    let scratch = scratch();
    fs::write(scratch.path("easy/a/3.png"), "no image").unwrap();
    let finished = finetune(&scratch, &["--epochs", "2", "--batch-size", "24"]).success();
    assert_eq!(finished.stderr.matches("warning: left out").count(), 1, "{}", finished.stderr);
    assert_eq!(scratch.read_json("run/eval/finetune.json")["train_images"], 23);
}

#[test]
fn broken_images_that_are_drawn_give_way_to_others_and_are_named() {
    let scratch = scratch();
    for broken in 0..6 {
        fs::write(scratch.path(&format!("easy/a/{broken}.png")), "no image").unwrap();
    }
    // Six of twelve: only a draw of all whole ones first, one of 924, would pass the broken ones by.
    let finished = finetune(&scratch, &["--shots", "6", "--epochs", "1", "--partial", "0"]).success();
    assert!(finished.stderr.contains("warning: not labelled: a/"), "{}", finished.stderr);
    assert_eq!(scratch.read_json("run/eval/finetune.json")["train_images"], 12);
}

#[test]
fn what_cannot_be_done_is_refused_before_any_work() {
    let scratch = scratch();
    finetune(&scratch, &["--partial", "3"]).refused_with(&[
        "partial",
        "at most 2, the blocks of the encoder",
        "3",
    ]);
    finetune(&scratch, &["--image-size", "18"]).refused_with(&["encoder.image_size", "18"]);
    finetune(&scratch, &["--smoothing", "1"]).refused_with(&["smoothing", "[0, 1)"]);
    let pixels = ["eval", "finetune", "--checkpoint", "raw-pixels", "--train", "easy", "--test", "test"];
    scratch.msn(&pixels).refused_with(&["--checkpoint", "raw-pixels"]);
    let predict = ["predict", "--checkpoint", "run", "--images", "test", "--out", "predicted.csv"];
    scratch.msn(&predict).refused_with(&["--labels", "msn eval finetune --out"]);
    assert!(!scratch.path("predicted.csv").exists());
}

#[test]
fn a_training_that_diverges_says_what_helps_and_leaves_the_folder_free() {
    let scratch = scratch();
    let diverges = finetune(&scratch, &["--lr", "1e30", "--epochs", "3", "--out", "tuned"]);
    diverges.fails_with(&["expected finite numbers", "A lower --lr"]);
    finetune(&scratch, &["--epochs", "1", "--out", "tuned"]).success();
}
