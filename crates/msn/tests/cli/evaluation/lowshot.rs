//! `msn eval lowshot`: shots, splits and penalties.

use std::fs;

use serde_json::Value;

use super::{easy, easy_images, lowshot, run};
use crate::support::{Scratch, names};

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
fn one_split_has_no_deviation() {
    let scratch = easy();
    let table = run(&scratch, &lowshot(&["--shots", "1", "--splits", "1", "--seed", "3"])).success().stdout;
    assert!(table.contains("100.0") && !table.contains("+-"), "{table}");
    let printed = run(&scratch, &lowshot(&["--shots", "1", "--seed", "3", "--json", "-"])).success().stdout;
    let scores: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&scores["seed"], &scores["step"]), (&3.into(), &Value::Null), "{scores}");
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
fn a_broken_image_leaves_a_percentage_as_it_is() {
    let scratch = easy();
    fs::write(scratch.path("easy/a/3.png"), "not an image").unwrap();
    let finished = run(&scratch, &lowshot(&["--shots", "100%", "--json", "-"])).success();
    assert!(finished.stderr.contains("not labelled: a/3.png"), "{}", finished.stderr);
    let scores: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(scores["percent"]["100"]["splits"][0]["images"], 11);
}
