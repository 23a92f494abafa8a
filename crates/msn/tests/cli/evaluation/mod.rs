//! `msn eval` and what belongs to it: scores that can be checked by hand, files, and what is refused. Here what all
//! protocols have in common, and beside it a file each.

mod compare;
mod kept;
mod knn;
mod linear;
mod lowshot;
mod precision;
mod predict;
mod report;
mod robust;
mod select;

use std::fs;

use image::{Rgb, RgbImage};
use serde_json::Value;

use crate::support::Scratch;

/// Images that pixels alone classify: `a` is red on the left, `b` on the right, each a little different.
fn easy_images(scratch: &Scratch, folder: &str, images: u32) {
    for (class, left) in [("a", true), ("b", false)] {
        fs::create_dir_all(scratch.path(folder).join(class)).unwrap();
        for index in 0..images {
            let image = RgbImage::from_fn(16, 16, |x, y| {
                let noise = ((x * 7 + y * 13 + index * 31) % 40) as u8;
                Rgb([if (x < 8) == left { 200 } else { 20 } + noise, 60 + noise, 90])
            });
            image.save(scratch.path(folder).join(format!("{class}/{index}.png"))).unwrap();
        }
    }
}

fn lowshot(more: &[&str]) -> Vec<String> {
    let common = ["eval", "lowshot", "--checkpoint", "raw-pixels", "--train", "easy", "--test", "test"];
    common.iter().chain(more).map(|argument| (*argument).to_owned()).collect()
}

fn run(scratch: &Scratch, arguments: &[String]) -> crate::support::Finished {
    scratch.msn(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn easy() -> Scratch {
    let scratch = Scratch::new();
    easy_images(&scratch, "easy", 6);
    easy_images(&scratch, "test", 10);
    scratch
}

#[test]
fn an_encoder_is_evaluated_like_its_baselines() {
    let scratch = Scratch::with_run();
    scratch.synth("test", 1);
    for (checkpoint, json) in [
        ("run", "run/eval/{}.json"),
        ("untrained:run", "run/eval/{}-untrained.json"),
        ("raw-pixels", "--json FILE"),
        ("run/checkpoints/step-6", "run/eval/{}-step-6.json"),
    ] {
        let arguments = |command: &'static str| {
            ["eval", command, "--checkpoint", checkpoint, "--train", "images", "--test", "test"]
        };
        let lowshot = scratch.msn(&arguments("lowshot")).success();
        assert_eq!(lowshot.stdout.matches(" +- ").count(), 3, "1, 2 and 5 shots: {}", lowshot.stdout);
        let knn = scratch.msn(&[&arguments("knn")[..], &["--k", "1,10"]].concat()).success();
        assert_eq!(knn.stdout.lines().count(), 3, "a header and two rows: {}", knn.stdout);

        // Without a flag the same results are there as JSON, and the file is named.
        for (command, finished, results) in [("lowshot", &lowshot, "shots"), ("knn", &knn, "k")] {
            let json = json.replace("{}", command);
            assert!(finished.stderr.contains(&json), "expected `{json}` in: {}", finished.stderr);
            if checkpoint != "raw-pixels" {
                let scores = scratch.read_json(&json);
                assert_eq!(scores["checkpoint"], checkpoint, "{scores}");
                let step = if checkpoint.contains("step-6") { 6 } else { 12 };
                assert_eq!(
                    (&scores["step"], &scores["features"]),
                    (&step.into(), &"before-norm".into()),
                    "{scores}"
                );
                assert!(
                    scores["checkpoint_folder"].as_str().unwrap().ends_with(&format!("step-{step}")),
                    "{scores}"
                );
                let table = &scores[results];
                let rows = table.as_object().map(serde_json::Map::len);
                assert_eq!(rows, Some(finished.stdout.lines().count() - 1), "{table}");
            }
        }
        let scores = scratch.msn(&[&arguments("lowshot")[..], &["--json", "-"]].concat()).success().stdout;
        let scores: Value = serde_json::from_str(&scores).unwrap();
        for (shots, score) in scores["shots"].as_object().unwrap() {
            let shown =
                format!("{:.1} +- {:.1}", score["mean"].as_f64().unwrap(), score["sd"].as_f64().unwrap());
            let row = lowshot.stdout.lines().find(|line| line.starts_with(shots.as_str())).unwrap();
            assert!(row.contains(&shown), "expected `{shown}` in: {row}");
        }
    }
}

#[test]
fn a_checkpoint_in_place_of_a_broken_one_is_named() {
    let scratch = Scratch::with_run();
    scratch.corrupt("run/checkpoints/step-12/target.safetensors");
    let knn = ["eval", "knn", "--checkpoint", "run", "--train", "images", "--test", "images"];
    let finished = scratch.msn(&knn).success();
    for part in ["step-12 passed over", "using run/checkpoints/step-6 instead"] {
        assert!(finished.stderr.contains(part), "expected `{part}` in: {}", finished.stderr);
    }
    let embed = |checkpoint: &str| {
        scratch.msn(&["embed", "--checkpoint", checkpoint, "--data", "images", "--out", "rows.npy"])
    };
    embed("run/checkpoints/step-7")
        .fails_with(&["step-7: expected a checkpoint", "there is step-6, step-12"]);
    embed("nowhere/checkpoints/step-7")
        .fails_with(&["step-7: expected a checkpoint", "there is no run there"]);
    fs::remove_dir_all(scratch.path("run/checkpoints")).unwrap();
    fs::remove_file(scratch.path("run/latest")).unwrap();
    scratch.msn(&knn).fails_with(&["run/checkpoints: no checkpoint", "step-N", "has not saved one yet"]);
}

#[test]
fn a_run_that_cannot_be_written_to_is_evaluated_all_the_same() {
    let scratch = Scratch::with_run();
    fs::write(scratch.path("run/eval"), "a file where the folder should be").unwrap();
    let finished = scratch
        .msn(&["eval", "knn", "--checkpoint", "run", "--train", "images", "--test", "images"])
        .success();
    assert_eq!(finished.stdout.lines().count(), 5, "a header and four rows: {}", finished.stdout);
    assert!(finished.stderr.contains("100 neighbours: there are 24 training images"), "{}", finished.stderr);
    assert!(finished.stderr.contains("warning: no JSON: run/eval"), "{}", finished.stderr);
}

#[test]
fn a_class_with_too_few_images_or_without_any_is_named() {
    let scratch = easy();
    run(&scratch, &lowshot(&["--shots", "7"])).fails_with(&["easy: class `a`", "at least 7", "found 6"]);
    fs::create_dir(scratch.path("test/c")).unwrap();
    fs::rename(scratch.path("test/b/0.png"), scratch.path("test/c/0.png")).unwrap();
    let parts = ["test: c/0.png: ", "one of the 2 classes that are labelled in easy", "`c`"];
    run(&scratch, &lowshot(&[])).fails_with(&parts);
    let knn = ["eval", "knn", "--checkpoint", "raw-pixels", "--train", "easy", "--test", "test"];
    scratch.msn(&knn).fails_with(&parts);
}

#[test]
fn a_list_with_labels_must_name_files() {
    let scratch = easy();
    fs::write(scratch.path("list.csv"), "path,label\neasy/a/0.png,a\neasy/b/0.png,b\neasy/b/77.png,b\n")
        .unwrap();
    for command in ["lowshot", "knn", "linear", "report", "robust", "select"] {
        let arguments =
            ["eval", command, "--checkpoint", "raw-pixels", "--train", "list.csv", "--test", "test"];
        scratch.msn(&arguments).fails_with(&["list.csv", "easy/b/77.png", "names no file"]);
    }
    fs::write(scratch.path("list.csv"), "path,label\neasy/a/0.png,a\neasy/b/0.png,b, dark\n").unwrap();
    let lowshot = ["eval", "lowshot", "--checkpoint", "raw-pixels", "--train", "list.csv", "--test", "test"];
    scratch.msn(&lowshot).fails_with(&["list.csv, line 3", "2 values", "found 3"]);
    fs::write(scratch.path("list.csv"), "path,label\neasy/a/0.png,a\neasy/b/0.png,\n").unwrap();
    scratch.msn(&lowshot).fails_with(&["list.csv", "easy/b/0.png", "with a label in the file"]);
    fs::write(scratch.path("list.csv"), "path,label\neasy/a/0.png,a\neasy/b/0.png,b\n").unwrap();
    let knn = ["eval", "knn", "--checkpoint", "raw-pixels", "--train", "list.csv", "--test", "test"];
    assert!(scratch.msn(&knn).success().stdout.contains("100.0"));
}

#[cfg(unix)]
#[test]
fn results_are_written_to_a_pipe_and_to_a_file_that_is_empty() {
    let scratch = easy();
    fs::write(scratch.path("empty.json"), "").unwrap();
    for json in ["/dev/stdout", "/dev/null", "empty.json"] {
        run(&scratch, &lowshot(&["--json", json])).success();
    }
    let printed = run(&scratch, &lowshot(&["--json", "/dev/stdout"])).success().stdout;
    assert!(printed.contains("{\n  \"msn\": \"lowshot\""), "{printed}");
    assert_eq!(scratch.read_json("empty.json")["msn"], "lowshot");
}

#[test]
fn a_list_labels_images_of_an_archive() {
    let scratch = easy();
    let mut archive = tar::Builder::new(fs::File::create(scratch.path("images.tar")).unwrap());
    archive.append_dir_all("", scratch.path("easy")).unwrap();
    archive.finish().unwrap();
    let list = "path,label\na/0.png,left\na/1.png,left\nb/0.png,right\nb/1.png,right\n";
    fs::write(scratch.path("few.csv"), list).unwrap();
    fs::write(scratch.path("one.csv"), "path,label\na/5.png,left\n").unwrap();
    let with = |train: &str, test: &str, images: &[&str]| {
        let knn = ["eval", "knn", "--checkpoint", "raw-pixels", "--train", train, "--test", test, "--k", "1"];
        scratch.msn(&[&knn[..], images].concat())
    };
    let images = ["--images", "images.tar"];
    with("few.csv", "few.csv", &[]).fails_with(&["few.csv", "`a/0.png`", "names no file", "--images"]);
    assert!(with("few.csv", "few.csv", &images).success().stdout.contains("100.0"));
    assert!(with("few.csv", "one.csv", &["--images", "easy"]).success().stdout.contains("100.0"));
    with("one.csv", "few.csv", &images).fails_with(&["one.csv", "two classes or more", "`left` alone"]);
    fs::write(scratch.path("up.csv"), "path,label\na/5.png,left\nb/5.png,up\n").unwrap();
    with("few.csv", "up.csv", &images).fails_with(&["up.csv", "one of the 2 classes", "few.csv", "`up`"]);
    with("easy", "test", &images).refused_with(&["--images", ".csv", "easy and test"]);
    fs::write(scratch.path("one.csv"), "path,label\na/9.png,left\n").unwrap();
    with("few.csv", "one.csv", &images).fails_with(&["one.csv, line 2", "images.tar", "`a/9.png`"]);
}

#[test]
fn features_that_are_no_numbers_are_an_explained_failure() {
    let scratch = Scratch::with_run();
    // Weights that have diverged, in a checkpoint that is whole: the training itself would have stopped.
    scratch.spoil_weights("run");
    for command in ["lowshot", "knn", "linear", "report", "robust", "select"] {
        let budgets: &[&str] = if command == "select" { &["--budgets", "3"] } else { &[] };
        let arguments = ["eval", command, "--checkpoint", "run", "--train", "images", "--test", "images"];
        scratch.msn(&[&arguments[..], budgets].concat()).fails_with(&[
            "images",
            "expected finite features, found NaN",
            "may have diverged",
        ]);
    }
}

#[test]
fn images_without_a_class_cannot_be_evaluated() {
    let scratch = easy();
    fs::copy(scratch.path("easy/a/0.png"), scratch.path("easy/stray.png")).unwrap();
    run(&scratch, &lowshot(&[])).fails_with(&["easy", "stray.png", "in a folder named after it"]);
}

#[test]
fn images_of_one_class_and_test_images_that_are_trained_on_are_told() {
    let scratch = easy();
    let knn = |train: &str, test: &str| {
        scratch.msn(&[
            "eval",
            "knn",
            "--checkpoint",
            "raw-pixels",
            "--train",
            train,
            "--test",
            test,
            "--k",
            "1",
        ])
    };
    fs::create_dir(scratch.path("one")).unwrap();
    fs::rename(scratch.path("easy/a"), scratch.path("one/a")).unwrap();
    knn("one", "one").fails_with(&["one: ", "two classes or more", "`a` alone"]);
    fs::rename(scratch.path("one/a"), scratch.path("easy/a")).unwrap();
    fs::create_dir(scratch.path("all")).unwrap();
    fs::rename(scratch.path("easy"), scratch.path("all/easy")).unwrap();
    for (train, test, told) in [
        ("test", "test", "--train and --test are the same images"),
        ("test", "all/../test", "--train and --test are the same images"),
        ("all", "all/easy", "--train all has the images of --test all/easy among its own"),
        ("all/easy", "all", "--test all has the images of --train all/easy among its own"),
    ] {
        let stderr = knn(train, test).success().stderr;
        assert!(stderr.contains(told), "{train} {test}: {stderr}");
    }
    let apart = knn("all/easy", "test").success().stderr;
    assert!(!apart.contains("warning"), "{apart}");
}

#[test]
fn other_heads_than_those_of_a_run_are_refused() {
    let scratch = Scratch::with_run();
    let embed = ["embed", "--checkpoint", "run", "--data", "images", "--out", "rows.npy", "--heads"];
    scratch.msn(&[&embed[..], &["4"]].concat()).fails_with(&[
        "step-12",
        "its own 2 attention heads",
        "found 4",
    ]);
    scratch.msn(&[&embed[..], &["2"]].concat()).success();
}
