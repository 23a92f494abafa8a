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
fn splits_are_written_and_read_back_as_the_same_evaluation() {
    let scratch = easy();
    let drawn =
        run(&scratch, &lowshot(&["--shots", "2,50%", "--splits", "2", "--write-splits", "splits/of"]));
    let drawn = drawn.success();
    assert_eq!(
        names(&scratch.path("splits/of")),
        ["2-shot-0.txt", "2-shot-1.txt", "50-percent-0.txt", "50-percent-1.txt"]
    );
    assert_eq!(scratch.read("splits/of/2-shot-0.txt").lines().count(), 4);
    assert_eq!(scratch.read("splits/of/50-percent-1.txt").lines().count(), 6);
    assert!(drawn.stdout.contains("\n50% "), "{}", drawn.stdout);
    // The same again replaces nothing; another draw would.
    let seeded =
        |seed| lowshot(&["--shots", "2", "--splits", "2", "--seed", seed, "--write-splits", "splits/of"]);
    run(&scratch, &seeded("0")).success();
    run(&scratch, &seeded("1")).fails_with(&["splits/of/2-shot-0.txt", "this very split"]);
    let read = lowshot(&["--split-file", "splits/of/2-shot-0.txt", "--split-file", "splits/of/2-shot-1.txt"]);
    let scores = |arguments: &[String]| -> Value {
        let arguments = [arguments, &["--json".to_owned(), "-".to_owned()]].concat();
        serde_json::from_str(&run(&scratch, &arguments).success().stdout).unwrap()
    };
    let drawn = scores(&lowshot(&["--shots", "2", "--splits", "2"]));
    assert_eq!(scores(&read)["shots"], drawn["shots"]);
}

#[test]
fn a_split_of_the_original_form_is_read_as_it_is() {
    let scratch = Scratch::new();
    easy_images(&scratch, "easy", 6);
    easy_images(&scratch, "test", 3);
    for class in ["a", "b"] {
        for index in 0..6 {
            let name = |name: String| scratch.path("easy").join(class).join(name);
            fs::rename(name(format!("{index}.png")), name(format!("{class}_{index}.png"))).unwrap();
        }
    }
    fs::write(scratch.path("2imgs_class.txt"), "b_4.png\na_1.png\nb_0.png\na_3.png\n").unwrap();
    let finished =
        run(&scratch, &lowshot(&["--split-file", "2imgs_class.txt", "--lambda", "auto"])).success();
    assert!(finished.stdout.lines().any(|line| line.starts_with("2 ")), "{}", finished.stdout);
    fs::write(scratch.path("2imgs_class.txt"), "b_4.png\nb_0.png\n").unwrap();
    let parts = ["test: a/0.png: ", "one of the 1 classes that are labelled in easy", "`a`"];
    run(&scratch, &lowshot(&["--split-file", "2imgs_class.txt"])).fails_with(&parts);
}

#[test]
fn a_penalty_can_be_chosen_and_must_be_one() {
    let scratch = easy();
    let auto = run(&scratch, &lowshot(&["--shots", "1,3", "--lambda", "auto", "--json", "-"])).success();
    assert!(auto.stderr.contains("nothing to choose lambda on: it is 0.0025"), "{}", auto.stderr);
    let scores: Value = serde_json::from_str(&auto.stdout).unwrap();
    assert_eq!(scores["shots"]["1"]["splits"][0]["lambda"], 0.0025);
    for (flag, value, part) in [
        ("--lambda", "0", "a number above 0, or auto"),
        ("--lambda", "best", "a number above 0, or auto"),
        ("--shots", "0", "at least 1, or a percentage such as 1%"),
        ("--shots", "1,200%", "at least 1, or a percentage such as 1%"),
    ] {
        run(&scratch, &lowshot(&[flag, value])).refused_with(&[flag, part]);
    }
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
    assert_eq!(finished.stdout.lines().count(), 5, "a header and four rows: {}", finished.stdout);
    assert!(finished.stderr.contains("100 neighbours: there are 24 training images"), "{}", finished.stderr);
    assert!(finished.stderr.contains("warning: no JSON: run/eval"), "{}", finished.stderr);
}

#[test]
fn an_unreadable_image_gives_its_place_among_the_shots_to_another() {
    let scratch = easy();
    let five_shots = lowshot(&["--shots", "5", "--splits", "2", "--json", "-"]);
    fs::write(scratch.path("easy/a/3.png"), "not an image").unwrap();
    let finished = run(&scratch, &five_shots).success();
    assert_eq!(finished.stderr.matches("not labelled: a/3.png").count(), 1);
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
fn a_report_has_its_tables_its_picture_and_its_json() {
    let scratch = easy();
    let report = [
        "eval",
        "report",
        "--checkpoint",
        "raw-pixels",
        "--train",
        "easy",
        "--test",
        "test",
        "--splits",
        "2",
    ];
    let files = ["--picture", "curve.svg", "--json", "report.json"];
    let finished = scratch.msn(&[&report[..], &files].concat()).success();
    for part in ["top-1 %", "expected calibration error %", "labelled images a class", "is \\ called   a   b"]
    {
        assert!(finished.stdout.contains(part), "expected `{part}` in: {}", finished.stdout);
    }
    assert!(scratch.read("curve.svg").starts_with("<svg"));
    let scores = scratch.read_json("report.json");
    assert_eq!((&scores["top1"], &scores["labelled_images"]), (&100.0.into(), &10.into()), "{scores}");
    assert_eq!(scores["confusion"], serde_json::json!([[10, 0], [0, 10]]));
    // Six images a class: 1, 2 and 5 of them.
    let points: Vec<_> =
        scores["curve"]["points"].as_array().unwrap().iter().map(|p| p["images"].clone()).collect();
    assert_eq!(points, [1, 2, 5]);
    let all = scratch.msn(&[&report[..], &["--shots", "1,100%", "--json", "-"]].concat()).success();
    assert!(all.stderr.contains("--picture FILE.svg"), "{}", all.stderr);
    let all: Value = serde_json::from_str(&all.stdout).unwrap();
    assert_eq!(all["labelled_images"], 12);
    for (option, name, mine) in [
        ("--picture", "notes.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"></svg>"),
        ("--json", "notes.json", "{\"mine\": 1}"),
    ] {
        fs::write(scratch.path(name), mine).unwrap();
        scratch.msn(&[&report[..], &[option, name]].concat()).fails_with(&[name, "another file"]);
        assert_eq!(scratch.read(name), mine);
    }
    // Its own files it replaces.
    scratch.msn(&[&report[..], &files].concat()).success();
}

#[test]
fn the_curve_of_a_report_ends_where_readable_images_do() {
    let scratch = easy();
    let mut images: Vec<_> =
        fs::read_dir(scratch.path("easy/a")).unwrap().map(|entry| entry.unwrap().path()).collect();
    images.sort();
    // Of six images of the class five are left, one of them broken: not enough for five labels.
    fs::remove_file(&images[0]).unwrap();
    fs::write(&images[1], "no image").unwrap();
    let report = ["eval", "report", "--checkpoint", "raw-pixels", "--train", "easy", "--test", "test"];
    let finished = scratch.msn(&[&report[..], &["--json", "report.json"]].concat()).success();
    assert!(finished.stderr.contains("no more labels than that"), "{}", finished.stderr);
    let points = scratch.read_json("report.json")["curve"]["points"].as_array().unwrap().len();
    assert_eq!(points, 2, "1 and 2 labels a class");
}

#[test]
fn a_report_on_a_run_lies_in_the_run() {
    let scratch = Scratch::with_run();
    let report = ["eval", "report", "--checkpoint", "run", "--train", "images", "--test", "images"];
    let finished = scratch.msn(&report).success();
    assert!(finished.stderr.contains("run/eval/report.svg"), "{}", finished.stderr);
    assert!(scratch.read("run/eval/report.svg").starts_with("<svg"));
    assert_eq!(scratch.read_json("run/eval/report.json")["images"], 24);
}

#[test]
fn selected_images_are_labelled_and_predict_the_rest() {
    let scratch = easy();
    let select = |budget: &'static str, out: &'static str| {
        scratch.msn(&[
            "select",
            "--checkpoint",
            "raw-pixels",
            "--data",
            "test",
            "--budget",
            budget,
            "--out",
            out,
        ])
    };
    let finished = select("2", "chosen.csv").success();
    assert!(
        finished.stderr.contains("msn predict --checkpoint raw-pixels --labels chosen.csv"),
        "{}",
        finished.stderr
    );
    let chosen = scratch.read("chosen.csv");
    let names: Vec<&str> = chosen.lines().skip(1).map(|line| line.strip_suffix(',').unwrap()).collect();
    assert_eq!(chosen.lines().next(), Some("path,label"));
    // Two clusters: left and right.
    let mut classes: Vec<&str> = names.iter().map(|name| &name[..1]).collect();
    classes.sort_unstable();
    assert_eq!(classes, ["a", "b"], "{names:?}");
    // Labels that somebody has filled in are not written over.
    select("2", "chosen.csv").fails_with(&["chosen.csv", "labels that somebody filled in"]);
    select("0", "none.csv").refused_with(&["--budget", "at least 1"]);
    select("21", "all.csv").fails_with(&["from 1 to 20, found 21"]);
    let predict =
        ["predict", "--checkpoint", "raw-pixels", "--labels", "chosen.csv", "--images", "test", "--out"];
    let predict = || scratch.msn(&[&predict[..], &["predicted.csv"]].concat());
    predict().fails_with(&["chosen.csv, line 2", "expected a label"]);
    let labelled: String = names.iter().map(|name| format!("{name},{}\n", &name[..1])).collect();
    fs::write(scratch.path("chosen.csv"), format!("path,label\n{labelled}")).unwrap();
    predict().success();
    let predicted = scratch.read("predicted.csv");
    assert!(predicted.lines().skip(1).all(|line| line.split(',').nth(1) == Some(&line[..1])), "{predicted}");
}

#[test]
fn encoders_are_compared_on_the_same_labelled_images() {
    let scratch = Scratch::with_run();
    scratch.synth("test", 1);
    let compare = |more: &[&str]| {
        let data = ["--train", "images", "--test", "test", "--shots", "1,2,50%"];
        scratch.msn(&[&["compare"], more, &data[..]].concat())
    };
    let finished = compare(&["run", "run/checkpoints/step-6", "--picture", "curves.svg"]).success();
    let names: Vec<_> = finished.stdout.lines().skip(1).map(|row| row.split("  ").next().unwrap()).collect();
    assert_eq!(names, ["raw-pixels", "untrained:run", "run", "run/checkpoints/step-6"]);
    assert!(finished.stdout.contains("32 x 2, patch 4") && finished.stdout.contains("16 x 16 px"));
    assert_eq!(scratch.read("curves.svg").matches("<circle").count(), 12);
    let scores = scratch.read_json("run/eval/compare.json");
    // Each row is what the encoder scores by itself.
    for (row, line) in scores["encoders"].as_array().unwrap().iter().zip(finished.stdout.lines().skip(1)) {
        let checkpoint = row["checkpoint"].as_str().unwrap();
        let alone = scratch.msn(&[
            "eval",
            "lowshot",
            "--checkpoint",
            checkpoint,
            "--train",
            "images",
            "--test",
            "test",
            "--shots",
            "1,2,50%",
            "--json",
            "-",
        ]);
        let alone: Value = serde_json::from_str(&alone.success().stdout).unwrap();
        assert_eq!(row["amounts"]["2"], alone["shots"]["2"]);
        assert_eq!(row["amounts"]["50%"], alone["percent"]["50"]);
        let mean = |amount: &str| format!("{:.1} +- ", row["amounts"][amount]["mean"].as_f64().unwrap());
        assert!(line.contains(&mean("1")) && line.contains(&mean("50%")), "{line}");
    }
    let only = compare(&["raw-pixels", "--only", "--json", "-"]).success();
    let only: Value = serde_json::from_str(&only.stdout).unwrap();
    assert_eq!(only["encoders"].as_array().map(Vec::len), Some(1));
    // A wrong name is found before anything is evaluated.
    let wrong = compare(&["run", "nowhere"]).fails_with(&["nowhere", "not a run folder"]);
    assert!(!wrong.stderr.contains("features of"), "{}", wrong.stderr);
    compare(&[]).refused_with(&["<CHECKPOINT>"]);
}

#[test]
fn corruptions_are_scored_at_every_severity() {
    let scratch = easy();
    let robust = ["eval", "robust", "--checkpoint", "raw-pixels", "--train", "easy", "--test", "test"];
    let all = scratch.msn(&[&robust[..], &["--json", "robust.json"]].concat()).success();
    let names: Vec<&str> =
        all.stdout.lines().skip(1).map_while(|row| row.split_whitespace().next()).collect();
    assert_eq!(names, ["noise", "blur", "contrast", "brightness", "pixelate", "jpeg"]);
    let scores = scratch.read_json("robust.json");
    assert_eq!((&scores["clean_top1"], &scores["images"]), (&100.0.into(), &20.into()), "{scores}");
    assert!(
        scores["corruptions"].as_array().unwrap().iter().all(|s| s["top1"].as_array().unwrap().len() == 5)
    );
    let two = scratch.msn(&[&robust[..], &["--corruptions", "jpeg,blur", "--shots", "1"]].concat()).success();
    assert!(two.stdout.contains("mean corruption error") && !two.stdout.contains("noise"), "{}", two.stdout);
    let wrong = scratch.msn(&[&robust[..], &["--corruptions", "fog"]].concat());
    wrong.refused_with(&["--corruptions", "fog", "expected one of noise, blur"]);
}

#[test]
fn a_linear_probe_reads_the_last_blocks() {
    let scratch = Scratch::with_run();
    scratch.synth("test", 1);
    let linear = |checkpoint: &'static str, more: &[&str]| {
        let common = [
            "eval",
            "linear",
            "--train",
            "images",
            "--test",
            "test",
            "--epochs",
            "2",
            "--checkpoint",
            checkpoint,
        ];
        scratch.msn(&[&common[..], more].concat())
    };
    let finished = linear("run", &["--blocks", "2", "--patch-mean", "--rates", "1,10"]).success();
    assert_eq!(finished.stdout.matches("chosen").count(), 1, "{}", finished.stdout);
    let scores = scratch.read_json("run/eval/linear.json");
    // Two blocks of [CLS] and mean, 32 numbers each; a tenth of eight images of three classes is held out.
    let numbers =
        ["columns", "train_images", "held_out_images", "test_images"].map(|name| scores[name].clone());
    assert_eq!(numbers, [128, 21, 3, 24].map(Value::from));
    linear("raw-pixels", &["--rates", "10"]).success();
    linear("run", &["--blocks", "3"]).fails_with(&["blocks: expected at least 1", "found 3"]);
    linear("run", &["--rates", "0"]).refused_with(&["--rates", "above 0"]);
}

#[test]
fn a_selection_is_compared_with_chance() {
    let scratch = easy();
    let select = ["eval", "select", "--checkpoint", "raw-pixels", "--train", "easy", "--test", "test"];
    let more = ["--budgets", "2,6", "--seeds", "4", "--json", "-"];
    let finished = scratch.msn(&[&select[..], &more].concat()).success();
    let scores: Value = serde_json::from_str(&finished.stdout).unwrap();
    let two = &scores["budgets"]["2"];
    // Two clusters, two classes: the selection has both at every seed.
    assert_eq!(
        (&two["selected"]["mean"], &two["selected"]["classes"]),
        (&100.0.into(), &2.0.into()),
        "{scores}"
    );
    assert_eq!(two["random"]["top1"].as_array().map(Vec::len), Some(4));
    let table = scratch.msn(&[&select[..], &["--seeds", "2", "--budgets", "2"]].concat()).success().stdout;
    assert!(table.lines().nth(1).is_some_and(|row| row.starts_with("2 ") && row.contains("of 2")), "{table}");
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
    fs::write(scratch.path("list.csv"), "path,label\neasy/a/0.png,a\neasy/b/0.png,b\n").unwrap();
    let knn = ["eval", "knn", "--checkpoint", "raw-pixels", "--train", "list.csv", "--test", "test"];
    assert!(scratch.msn(&knn).success().stdout.contains("100.0"));
}

#[test]
fn a_broken_image_leaves_a_percentage_as_it_is() {
    let scratch = easy();
    fs::write(scratch.path("easy/a/3.png"), "not an image").unwrap();
    let finished = run(&scratch, &lowshot(&["--shots", "100%", "--json", "-"])).success();
    assert!(finished.stderr.contains("not labelled: a/3.png"), "{}", finished.stderr);
    let scores: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(scores["percent"]["100"]["splits"][0]["images"], 11);
}

#[test]
fn features_that_are_no_numbers_are_an_explained_failure() {
    let scratch = Scratch::with_run();
    // Weights that have diverged, in a checkpoint that is whole: the training itself would have stopped.
    scratch.spoil_weights("run");
    for command in ["lowshot", "knn", "linear", "report", "robust", "select"] {
        let arguments = ["eval", command, "--checkpoint", "run", "--train", "images", "--test", "images"];
        scratch.msn(&arguments).fails_with(&[
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
