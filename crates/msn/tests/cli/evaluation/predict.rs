//! `msn predict`: labels in, labels out, and what is never replaced.

use std::fs;

use super::{easy, lowshot, run};
use crate::support::names;

/// The command: labels in `few.csv`, for the images of a folder.
fn predict<'a>(images: &'a str, out: &'a str) -> [&'a str; 9] {
    ["predict", "--checkpoint", "raw-pixels", "--labels", "few.csv", "--images", images, "--out", out]
}

#[test]
fn a_class_whose_labelled_images_are_all_broken_is_named() {
    let scratch = easy();
    fs::create_dir(scratch.path("easy/c")).unwrap();
    fs::write(scratch.path("easy/c/0.png"), "no image").unwrap();
    fs::write(scratch.path("few.csv"), "path,label\na/0.png,left\nb/1.png,right\nc/0.png,top\n").unwrap();
    let finished = scratch.msn(&predict("easy", "out.csv")).success();
    assert!(finished.stderr.contains("predicted to be `top`"), "{}", finished.stderr);
    assert!(finished.stderr.contains("c/0.png: expected JPEG"), "{}", finished.stderr);
}

#[test]
fn a_few_labels_classify_all_images() {
    let scratch = easy();
    // Beside the CSV file, below --images, and absolute.
    let absolute = scratch.path("easy/b/1.png").display().to_string();
    fs::write(scratch.path("few.csv"), format!("label,path\na,easy/a/0.png\nb,b/3.png\nb,{absolute}\n"))
        .unwrap();
    scratch.msn(&predict("test", "predicted.csv")).success();
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

    // Somebody may have corrected those of before.
    let with_probabilities = |out| scratch.msn(&[&predict("test", out)[..], &["--probabilities"]].concat());
    with_probabilities("predicted.csv").fails_with(&["predicted.csv", "expected a new file"]);
    assert_eq!(scratch.read("predicted.csv"), text);
    with_probabilities("all.csv").success();
    let with_all = scratch.read("all.csv");
    assert_eq!(with_all.lines().next(), Some("path,label,probability,p(a),p(b)"));
    for (line, before) in with_all.lines().zip(text.lines()).skip(1) {
        let row: Vec<&str> = line.split(',').collect();
        assert_eq!(row[..3].join(","), before);
        let [a, b]: [f64; 2] = [row[3].parse().unwrap(), row[4].parse().unwrap()];
        // Four decimals each.
        assert!((a + b - 1.0).abs() < 2e-4, "{line}");
        assert_eq!(row[2], if row[1] == "a" { row[3] } else { row[4] });
    }
}

#[test]
fn results_replace_neither_inputs_nor_files_of_others() {
    let scratch = easy();
    let few = "path,label\na/0.png,a\nb/3.png,b\n";
    fs::write(scratch.path("few.csv"), few).unwrap();
    let predict = |out| scratch.msn(&predict("test", out));
    predict("few.csv").fails_with(&["few.csv", "one of its inputs"]);
    fs::write(scratch.path("other.csv"), few).unwrap();
    predict("other.csv").fails_with(&["other.csv", "expected a new file", "filled in"]);
    predict("-").fails_with(&["the name of a file", "`-`"]);
    assert_eq!((scratch.read("few.csv"), scratch.read("other.csv")), (few.to_owned(), few.to_owned()));
    let embed = ["embed", "--checkpoint", "raw-pixels", "--data", "test", "--out"];
    let embed = |out: &'static str| scratch.msn(&[&embed[..], &[out]].concat());
    fs::write(scratch.path("notes.txt"), "mine").unwrap();
    embed("notes.npy").fails_with(&["notes.txt", "another file"]);
    assert_eq!(scratch.read("notes.txt"), "mine");
    for _ in 0..2 {
        embed("rows.npy").success();
    }
    embed("rows.safetensors").fails_with(&["rows.txt", "another file"]);
    for _ in 0..2 {
        embed("own.safetensors").success();
    }
    // Features and weights of other programs, beside a list that goes by the name of one of ours.
    let features = fs::read(scratch.path("rows.npy")).unwrap();
    fs::write(scratch.path("theirs.npy"), &features).unwrap();
    fs::write(scratch.path("theirs.txt"), "one.png\n").unwrap();
    embed("theirs.npy").fails_with(&["theirs.txt", "paths of the 20 rows", "theirs.npy", "found 1 line"]);
    fs::remove_file(scratch.path("theirs.txt")).unwrap();
    embed("theirs.npy").fails_with(&["theirs.txt", "no such file"]);
    let weights =
        b"\x40\0\0\0\0\0\0\0{\"bias\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}         abcd";
    fs::write(scratch.path("weights.safetensors"), weights).unwrap();
    embed("weights.safetensors").fails_with(&["weights.safetensors", "another file"]);
    assert_eq!(fs::read(scratch.path("theirs.npy")).unwrap(), features);
    assert_eq!(fs::read(scratch.path("weights.safetensors")).unwrap(), weights);

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
        ("path,label\na/0.png,a,x\n", &["few.csv, line 2", "expected 2 values", "found 3"]),
        ("path\na/0.png\n", &["few.csv, line 1", "`path,label`, found `path`"]),
        ("path,label\na/0.png\n", &["few.csv, line 2", "expected a label"]),
        ("path,label\n,a\n", &["few.csv, line 2", "expected a path"]),
        ("path,label\n", &["few.csv", "found none"]),
    ] {
        fs::write(scratch.path("few.csv"), text).unwrap();
        scratch.msn(&predict("test", "predicted.csv")).fails_with(parts);
    }
    fs::remove_file(scratch.path("few.csv")).unwrap();
    scratch.msn(&predict("test", "predicted.csv")).fails_with(&["few.csv", "cannot read"]);
    assert!(!names(&scratch.path("")).contains(&"predicted.csv".to_owned()));
}
