//! `msn compare`

use serde_json::Value;

use crate::support::Scratch;

#[test]
fn encoders_are_compared_on_the_same_labelled_images() {
    let scratch = Scratch::with_run();
    scratch.synth("test", 1);
    let compare = |more: &[&str]| {
        let data = ["--train", "images", "--test", "test", "--shots", "1,2,50%"];
        scratch.msn(&[&["compare"], more, &data[..]].concat())
    };
    let finished = compare(&["run", "run/checkpoints/step-6", "run", "--picture", "curves.svg"]).success();
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
