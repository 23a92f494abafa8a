//! Features that an earlier command has computed, and `--fresh-features`.

use std::fs;

use crate::support::{Finished, Scratch, names};

#[test]
fn features_are_computed_once_for_all_commands() {
    let scratch = Scratch::with_run();
    scratch.synth("test", 1);
    let embed = |out: &str, more: &[&str]| {
        let common = ["embed", "--checkpoint", "run", "--data", "images", "--out", out];
        let finished = scratch.msn(&[&common, more].concat()).success();
        (fs::read(scratch.path(out)).unwrap(), finished.stderr)
    };
    let (first, said) = embed("first.npy", &[]);
    assert!(!said.contains("known already"), "{said}");
    let files = || names(&scratch.path("cache/features"));
    assert_eq!(files().len(), 1);
    let (again, said) = embed("again.npy", &[]);
    assert!(said.contains("features: 24 of 24 were known already"), "{said}");
    let (fresh, said) = embed("fresh.npy", &["--fresh-features"]);
    assert!(!said.contains("known already"), "{said}");
    assert!(first == again && first == fresh);

    // Another command, whose training images are those: its test images alone are new.
    let knn = ["eval", "knn", "--checkpoint", "run", "--train", "images", "--test", "test"];
    let said = scratch.msn(&knn).success().stderr;
    assert!(said.contains("features of the training images: 24 of 24 were known already"), "{said}");
    assert!(!said.contains("features of the test images: "), "{said}");
    let compare = ["compare", "run", "--train", "images", "--test", "test", "--shots", "1", "--splits", "1"];
    let said = scratch.msn(&compare).success().stderr;
    for kept in ["the labelled images: 3 of 3 were", "the test images: 24 of 24 were"] {
        assert!(said.contains(&format!("features of {kept} known already")), "{said}");
    }
    assert_eq!(files().len(), 2, "the untrained encoder has a file of its own");
    let said = scratch.msn(&[&compare[..], &["--fresh-features"]].concat()).success().stderr;
    assert!(!said.contains("known already"), "{said}");
}

#[test]
fn a_damaged_file_costs_time_alone() {
    let scratch = Scratch::with_run();
    let embed = |out: &str| {
        let finished =
            scratch.msn(&["embed", "--checkpoint", "run", "--data", "images", "--out", out]).success();
        (fs::read(scratch.path(out)).unwrap(), finished.stderr)
    };
    let (first, _) = embed("first.npy");
    let file = format!("cache/features/{}", names(&scratch.path("cache/features"))[0]);
    scratch.corrupt(&file);
    let (again, said) = embed("again.npy");
    assert!(said.contains("rows are damaged and computed anew"), "{said}");
    assert!(said.contains("23 of 24 were known already"), "{said}");
    assert!(first == again);
    let (_, said) = embed("healed.npy");
    assert!(said.contains("24 of 24 were known already"), "{said}");
}

#[test]
fn without_room_features_are_not_kept_and_that_is_said() {
    let scratch = Scratch::with_run();
    let arguments = ["embed", "--checkpoint", "run", "--data", "images", "--out", "rows.npy"];
    for _ in 0..2 {
        let output = scratch.command(&arguments).env("MSN_CACHE_GIB", "0").output().unwrap();
        let said = Finished::of(output, &arguments).success().stderr;
        assert_eq!(said.matches("features are not kept from here on").count(), 1, "{said}");
        assert!(!said.contains("known already"), "{said}");
    }
}
