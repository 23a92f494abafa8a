//! Damaged checkpoints: every one is noticed, reported, passed over and left alone.

use std::fs;
use std::path::Path;

use msn_store::{Checkpoint, Checkpoints, KeepPolicy, StoreError};

use crate::support::{checkpoint, names, run_with};

const FILES: [&str; 4] = ["encoder.safetensors", "head.safetensors", "manifest.json", "state.json"];

/// Expects that loading falls back from step 2 to step 1, saying why and removing nothing.
fn assert_falls_back(checkpoints: &Checkpoints, damaged: &Path, how: &str) {
    let loaded = checkpoints.load_newest().unwrap();
    assert_eq!(loaded.checkpoint, checkpoint(1), "{how}");
    assert_eq!(loaded.rejected.len(), 1, "{how}");
    assert_eq!(loaded.rejected[0].folder, damaged, "{how}");
    let message = loaded.rejected[0].to_string();
    assert!(message.contains("step-2"), "{how}: {message}");
    assert!(damaged.exists(), "{how}");
}

#[test]
fn a_flipped_byte_anywhere_falls_back() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, checkpoints) = run_with(scratch.path(), &[1, 2]);
    let damaged = run.path().join("checkpoints/step-2");
    for name in FILES {
        let file = damaged.join(name);
        let whole = fs::read(&file).unwrap();
        // 97 is prime, so that over the large files every offset within a value comes up.
        let stride = if whole.len() > 600 { 97 } else { 1 };
        for at in (0..whole.len()).step_by(stride) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            fs::write(&file, bytes).unwrap();
            assert_falls_back(&checkpoints, &damaged, &format!("{name}, byte {at}"));
        }
        fs::write(&file, whole).unwrap();
    }
    assert_eq!(checkpoints.load_newest().unwrap().checkpoint, checkpoint(2));
}

#[test]
fn a_single_flipped_bit_in_a_value_is_noticed_by_its_checksum() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, checkpoints) = run_with(scratch.path(), &[1, 2]);
    let damaged = run.path().join("checkpoints/step-2");
    let file = damaged.join("encoder.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    assert_falls_back(&checkpoints, &damaged, "one bit");
    assert!(matches!(Checkpoint::read(&damaged), Err(StoreError::Checksum { path, .. }) if path == file));
}

#[test]
fn a_changed_digit_in_the_manifest_falls_back() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, checkpoints) = run_with(scratch.path(), &[1, 2]);
    let damaged = run.path().join("checkpoints/step-2");
    let file = damaged.join("manifest.json");
    let whole = fs::read(&file).unwrap();
    let digits: Vec<usize> = (0..whole.len()).filter(|&at| whole[at].is_ascii_digit()).collect();
    assert!(digits.len() > 20);
    for at in digits {
        let mut bytes = whole.clone();
        // 0 <-> 1, 2 <-> 3, ...
        bytes[at] ^= 1;
        fs::write(&file, bytes).unwrap();
        assert_falls_back(&checkpoints, &damaged, &format!("manifest, byte {at}"));
    }
}

#[test]
fn a_truncated_extended_or_missing_file_falls_back() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, checkpoints) = run_with(scratch.path(), &[1, 2]);
    let damaged = run.path().join("checkpoints/step-2");
    for name in FILES {
        let file = damaged.join(name);
        let whole = fs::read(&file).unwrap();
        for length in [0, 1, 7, 8, 9, whole.len() / 2, whole.len() - 2] {
            fs::write(&file, &whole[..length]).unwrap();
            assert_falls_back(&checkpoints, &damaged, &format!("{name}, {length} bytes"));
        }
        fs::write(&file, [&whole[..], b"!"].concat()).unwrap();
        assert_falls_back(&checkpoints, &damaged, &format!("{name}, a byte more"));
        fs::remove_file(&file).unwrap();
        assert_falls_back(&checkpoints, &damaged, &format!("{name}, missing"));
        fs::write(&file, whole).unwrap();
    }
    assert_eq!(checkpoints.load_newest().unwrap().checkpoint, checkpoint(2));
}

#[test]
fn a_whole_checkpoint_under_the_name_of_another_falls_back() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, checkpoints) = run_with(scratch.path(), &[1, 3]);
    let folder = run.path().join("checkpoints");
    fs::rename(folder.join("step-3"), folder.join("step-2")).unwrap();
    let err = Checkpoint::read(&folder.join("step-2")).unwrap_err();
    assert!(matches!(err, StoreError::Step { expected: 2, found: 3, .. }), "{err}");
    assert_eq!(checkpoints.load_newest().unwrap().checkpoint, checkpoint(1));
}

#[test]
fn a_newer_format_is_named_as_such() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, _checkpoints) = run_with(scratch.path(), &[1]);
    let folder = run.path().join("checkpoints/step-1");
    fs::write(folder.join("manifest.json"), r#"{"format": 2, "shards": []}"#).unwrap();
    let err = Checkpoint::read(&folder).unwrap_err().to_string();
    assert!(err.ends_with("expected checkpoint format 1, found 2"), "{err}");
}

#[test]
fn a_manifest_does_not_reach_outside_its_folder() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, _checkpoints) = run_with(scratch.path(), &[1]);
    let folder = run.path().join("checkpoints/step-1");
    let manifest = fs::read_to_string(folder.join("manifest.json")).unwrap();
    let outside = manifest.replace("head.safetensors", "../head.safetensors");
    fs::write(folder.join("manifest.json"), outside).unwrap();
    fs::copy(folder.join("head.safetensors"), folder.join("../head.safetensors")).unwrap();
    assert!(matches!(Checkpoint::read(&folder), Err(StoreError::ManifestFiles { .. })));
}

#[test]
fn when_none_is_whole_each_is_listed_with_its_reason() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, checkpoints) = run_with(scratch.path(), &[1, 2]);
    let folder = run.path().join("checkpoints");
    fs::write(folder.join("step-1/state.json"), "").unwrap();
    fs::remove_file(folder.join("step-2/manifest.json")).unwrap();
    let err = checkpoints.load_newest().unwrap_err();
    let message = err.to_string();
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines.len(), 3, "{message}");
    assert!(lines[1].contains("step-2/manifest.json") && lines[1].contains("cannot read"), "{message}");
    assert!(lines[2].contains("step-1/state.json") && lines[2].contains("bytes, found 0"), "{message}");
}

/// A run that fell back comes by the damaged step again.
#[test]
fn the_run_goes_on_from_the_fall_back_and_replaces_the_damaged_one() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, checkpoints) = run_with(scratch.path(), &[10, 20]);
    let folder = run.path().join("checkpoints");
    fs::write(folder.join("step-20/state.json"), "").unwrap();
    let keep_one = KeepPolicy { last: 1.try_into().unwrap(), every_steps: None };

    checkpoints.save(&checkpoint(15), &keep_one).unwrap();
    assert_eq!(names(&folder), ["step-15", "step-20"]);
    assert_eq!(checkpoints.load_newest().unwrap().checkpoint, checkpoint(15));

    checkpoints.save(&checkpoint(20), &keep_one).unwrap();
    assert_eq!(names(&folder), ["step-20"]);
    assert_eq!(checkpoints.load_newest().unwrap().checkpoint, checkpoint(20));
}
