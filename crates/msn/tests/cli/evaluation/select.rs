//! `msn select`, and what `msn eval select` says it is worth.

use std::fs;

use serde_json::Value;

use super::easy;

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
    let too_many =
        select("21", "all.csv").fails_with(&["--budget", "at most 20, the images in test", "found 21"]);
    assert!(!too_many.stderr.contains("features"), "before any work: {}", too_many.stderr);
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
fn the_next_round_keeps_the_labels_and_chooses_among_the_others() {
    let scratch = easy();
    // By a name of --data, and by a path beside the file.
    fs::write(scratch.path("few.csv"), "path,label\na/0.png,left\ntest/a/1.png,left\n").unwrap();
    let select =
        ["select", "--checkpoint", "raw-pixels", "--data", "test", "--labels", "few.csv", "--budget"];
    let select = |budget, out| scratch.msn(&[&select[..], &[budget, "--out", out]].concat());
    let finished = select("1", "more.csv").success();
    assert!(finished.stderr.contains("after the 2 labelled ones"), "{}", finished.stderr);
    let more = scratch.read("more.csv");
    let lines: Vec<&str> = more.lines().collect();
    assert_eq!(lines[..3], ["path,label", "a/0.png,left", "a/1.png,left"]);
    assert!(lines.len() == 4 && lines[3].starts_with("b/") && lines[3].ends_with(','), "{more}");
    select("18", "rest.csv").success();
    let rest = scratch.read("rest.csv");
    let names: std::collections::BTreeSet<&str> =
        rest.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(names.len(), 20, "each image once: {rest}");
    let too_many = select("19", "none.csv");
    let too_many =
        too_many.fails_with(&["--budget", "at most 18, the images without a label in test", "found 19"]);
    assert!(!too_many.stderr.contains("features"), "before any work: {}", too_many.stderr);
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
    let too_many = scratch.msn(&[&select[..], &["--budgets", "2,5000"]].concat());
    let too_many = too_many.fails_with(&["--budgets", "the images in easy", "found 5000"]);
    assert!(!too_many.stderr.contains("features"), "before any work: {}", too_many.stderr);
}
