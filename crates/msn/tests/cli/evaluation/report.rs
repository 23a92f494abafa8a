//! `msn eval report`: tables, picture, JSON.

use std::fs;

use serde_json::Value;

use super::easy;
use crate::support::Scratch;

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
    let right = |class| serde_json::json!({ "class": class, "predicted": class, "images": 10 });
    assert_eq!(scores["confusion"], serde_json::json!([right("a"), right("b")]));
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
    let picture = [&report[..], &["--picture", "curve.png"]].concat();
    scratch.msn(&picture).refused_with(&["--picture", "a name in .svg", "curve.png"]);
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
