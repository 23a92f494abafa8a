//! `msn eval` and `msn predict`: scores that can be checked by hand, files, and what is refused.

use std::fs;

use image::{Rgb, RgbImage};
use serde_json::Value;

use crate::support::{Scratch, names};

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
fn easy_images_are_classified_from_their_pixels_with_one_shot() {
    let scratch = easy();
    let finished = run(&scratch, &lowshot(&["--shots", "1,3", "--json", "scores.json"])).success();
    assert_eq!(finished.stdout.matches("100.0 +- 0.0").count(), 2, "{}", finished.stdout);
    let scores = scratch.read_json("scores.json");
    for shots in ["1", "3"] {
        let score = &scores["shots"][shots];
        assert_eq!((score["mean"].as_f64(), score["sd"].as_f64()), (Some(100.0), Some(0.0)), "{scores}");
        assert_eq!(score["splits"].as_array().map(Vec::len), Some(3), "{scores}");
    }
    assert_eq!(scores["test_images"], 20);
    // On standard output the JSON stands alone.
    let printed = run(&scratch, &lowshot(&["--shots", "1,3", "--json", "-"])).success().stdout;
    assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), scores);
}

#[test]
fn split_files_say_which_images_are_labelled() {
    let scratch = easy();
    fs::write(scratch.path("one.txt"), "a/0.png\nb/1.png\n").unwrap();
    fs::write(scratch.path("two.txt"), "a/2.png\nb/5.png\n").unwrap();
    let files = ["--split-file", "one.txt", "--split-file", "two.txt", "--json", "-"];
    let scores: Value = serde_json::from_str(&run(&scratch, &lowshot(&files)).success().stdout).unwrap();
    assert_eq!(scores["shots"]["1"]["splits"].as_array().map(Vec::len), Some(2), "{scores}");
    fs::write(scratch.path("one.txt"), "a/0.png\nb/99.png\n").unwrap();
    run(&scratch, &lowshot(&files)).fails_with(&["one.txt", "line 2", "b/99.png"]);
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
fn one_split_has_no_deviation() {
    let scratch = easy();
    let table = run(&scratch, &lowshot(&["--shots", "1", "--splits", "1", "--seed", "3"])).success().stdout;
    assert!(table.contains("100.0") && !table.contains("+-"), "{table}");
    let printed = run(&scratch, &lowshot(&["--shots", "1", "--seed", "3", "--json", "-"])).success().stdout;
    let scores: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&scores["seed"], &scores["step"]), (&3.into(), &Value::Null), "{scores}");
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
fn a_class_whose_labelled_images_are_all_broken_is_named() {
    let scratch = easy();
    fs::create_dir(scratch.path("easy/c")).unwrap();
    fs::write(scratch.path("easy/c/0.png"), "no image").unwrap();
    fs::write(scratch.path("few.csv"), "path,label\na/0.png,left\nb/1.png,right\nc/0.png,top\n").unwrap();
    let predict = [
        "predict",
        "--checkpoint",
        "raw-pixels",
        "--labels",
        "few.csv",
        "--images",
        "easy",
        "--out",
        "out.csv",
    ];
    let finished = scratch.msn(&predict).success();
    assert!(finished.stderr.contains("predicted to be `top`"), "{}", finished.stderr);
    assert!(finished.stderr.contains("c/0.png: expected JPEG"), "{}", finished.stderr);
}

#[test]
fn a_run_that_cannot_be_written_to_is_evaluated_all_the_same() {
    let scratch = Scratch::with_run();
    fs::write(scratch.path("run/eval"), "a file where the folder should be").unwrap();
    let finished = scratch
        .msn(&["eval", "knn", "--checkpoint", "run", "--train", "images", "--test", "images"])
        .success();
    assert_eq!(finished.stdout.lines().count(), 2, "{}", finished.stdout);
    assert!(finished.stderr.contains("warning: no JSON: run/eval"), "{}", finished.stderr);
}

#[test]
fn an_unreadable_image_gives_its_place_among_the_shots_to_another() {
    let scratch = easy();
    let five_shots = lowshot(&["--shots", "5", "--splits", "2", "--json", "-"]);
    fs::write(scratch.path("easy/a/3.png"), "not an image").unwrap();
    let finished = run(&scratch, &five_shots).success();
    assert_eq!(finished.stderr.matches("another image of its class is drawn instead of a/3.png").count(), 1);
    let scores: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!((&scores["skipped"], &scores["shots"]["5"]["shots"]), (&1.into(), &5.into()), "{scores}");
    // Two broken images of six leave four.
    fs::write(scratch.path("easy/a/0.png"), "not an image").unwrap();
    let parts = ["easy: class `a`", "at least 5 images", "found 4 beside 2 that cannot be read"];
    run(&scratch, &five_shots).fails_with(&parts);
    // A split file names its images: another one would be another split.
    fs::write(scratch.path("one.txt"), "a/3.png\nb/1.png\n").unwrap();
    run(&scratch, &lowshot(&["--split-file", "one.txt"])).fails_with(&["one.txt", "can be read", "a/3.png"]);
}

#[test]
fn the_nearest_neighbours_of_easy_images_are_of_their_class() {
    let scratch = easy();
    let knn =
        ["eval", "knn", "--checkpoint", "raw-pixels", "--train", "easy", "--test", "test", "--k", "1,5"];
    let finished = scratch.msn(&[&knn[..], &["--json", "knn.json"]].concat()).success();
    assert_eq!(finished.stdout.matches("100.0").count(), 2, "{}", finished.stdout);
    let scores = scratch.read_json("knn.json");
    assert_eq!(
        (&scores["k"]["1"], &scores["k"]["5"]),
        (&Value::from(100.0), &Value::from(100.0)),
        "{scores}"
    );
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
fn images_without_a_class_cannot_be_evaluated() {
    let scratch = easy();
    fs::copy(scratch.path("easy/a/0.png"), scratch.path("easy/stray.png")).unwrap();
    run(&scratch, &lowshot(&[])).fails_with(&["easy", "stray.png", "folder named after its class"]);
}

const PREDICT: [&str; 9] = [
    "predict",
    "--checkpoint",
    "raw-pixels",
    "--labels",
    "few.csv",
    "--images",
    "test",
    "--out",
    "predicted.csv",
];

#[test]
fn a_few_labels_classify_all_images() {
    let scratch = easy();
    // Beside the CSV file, below --images, and absolute.
    let absolute = scratch.path("easy/b/1.png").display().to_string();
    fs::write(scratch.path("few.csv"), format!("label,path\na,easy/a/0.png\nb,b/3.png\nb,{absolute}\n"))
        .unwrap();
    scratch.msn(&PREDICT).success();
    let text = scratch.read("predicted.csv");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("path,label,probability"));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 20);
    for row in rows {
        assert_eq!(row[0].split('/').next(), Some(row[1]), "the folder is the class: {row:?}");
        let probability: f64 = row[2].parse().unwrap();
        assert!((0.5..=1.0).contains(&probability), "{row:?}");
    }
}

#[test]
fn results_replace_neither_inputs_nor_files_of_others() {
    let scratch = easy();
    let few = "path,label\na/0.png,a\nb/3.png,b\n";
    fs::write(scratch.path("few.csv"), few).unwrap();
    let predict = |out: &'static str| scratch.msn(&[&PREDICT[..8], &[out]].concat());
    predict("few.csv").fails_with(&["few.csv", "one of its inputs"]);
    fs::write(scratch.path("other.csv"), few).unwrap();
    predict("other.csv").fails_with(&["other.csv", "earlier output", "another file"]);
    predict("-").fails_with(&["the name of a file", "`-`"]);
    assert_eq!((scratch.read("few.csv"), scratch.read("other.csv")), (few.to_owned(), few.to_owned()));
    for _ in 0..2 {
        predict("predicted.csv").success();
    }

    let embed = ["embed", "--checkpoint", "raw-pixels", "--data", "test", "--out"];
    let embed = |out: &'static str| scratch.msn(&[&embed[..], &[out]].concat());
    fs::write(scratch.path("notes.txt"), "mine").unwrap();
    embed("notes.npy").fails_with(&["notes.txt", "another file"]);
    assert_eq!(scratch.read("notes.txt"), "mine");
    for _ in 0..2 {
        embed("rows.npy").success();
    }
    embed("rows.safetensors").fails_with(&["rows.txt", "another file"]);

    fs::write(scratch.path("notes.json"), "mine").unwrap();
    run(&scratch, &lowshot(&["--json", "notes.json"])).fails_with(&["notes.json", "another file"]);
}

#[test]
fn wrong_label_files_are_explained_with_their_line() {
    let scratch = easy();
    for (text, parts) in [
        ("path,label\na/0.png,a\nb/77.png,b\n", &["few.csv, line 3", "b/77.png"][..]),
        ("a/0.png,a\nb/0.png,b\n", &["few.csv, line 1", "`path,label`", "a/0.png,a"]),
        ("path,label\na/0.png,\n", &["few.csv, line 2", "expected a label"]),
        ("path,label\na/0.png,a\n", &["few.csv", "two different labels"]),
        ("path,label\na/0.png,a\na/0.png,b\n", &["few.csv, line 3", "line 2 as well"]),
        ("path,label\na/0.png,a,x\n", &["few.csv", "line: 2"]),
        ("path,label\n", &["few.csv", "found none"]),
    ] {
        fs::write(scratch.path("few.csv"), text).unwrap();
        scratch.msn(&PREDICT).fails_with(parts);
    }
    fs::remove_file(scratch.path("few.csv")).unwrap();
    scratch.msn(&PREDICT).fails_with(&["few.csv", "cannot read"]);
    assert!(!names(&scratch.path("")).contains(&"predicted.csv".to_owned()));
}
