//! Saving, finding and pruning checkpoints.

use std::fs;

use msn_store::{Checkpoint, KeepPolicy, StoreError};

use crate::support::{checkpoint, names, run_with};

fn keep(last: usize, every: u64) -> KeepPolicy {
    KeepPolicy { last: last.try_into().unwrap(), every_steps: every.try_into().ok() }
}

#[test]
fn a_checkpoint_is_read_back_bit_by_bit() {
    let scratch = tempfile::tempdir().unwrap();
    let (_run, checkpoints) = run_with(scratch.path(), &[7]);
    let loaded = checkpoints.load_newest().unwrap();
    assert_eq!(loaded.checkpoint, checkpoint(7));
    assert!(loaded.rejected.is_empty());
    assert_eq!(Checkpoint::read(&loaded.folder).unwrap(), checkpoint(7));
    let files = ["encoder.safetensors", "head.safetensors", "manifest.json", "state.json"];
    assert_eq!(names(&loaded.folder), files);
}

#[test]
fn the_newest_step_is_loaded_and_latest_names_it() {
    let scratch = tempfile::tempdir().unwrap();
    // By name, step-100 sorts before step-9.
    let (run, checkpoints) = run_with(scratch.path(), &[9, 100]);
    assert_eq!(checkpoints.load_newest().unwrap().checkpoint.step, 100);
    assert_eq!(fs::read_to_string(run.path().join("latest")).unwrap(), "step-100\n");
}

#[test]
fn old_checkpoints_go_as_the_policy_says() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, checkpoints) = run_with(scratch.path(), &[]);
    for step in (10..=70).step_by(10) {
        checkpoints.save(&checkpoint(step), &keep(2, 30)).unwrap();
    }
    assert_eq!(checkpoints.steps().unwrap(), [30, 60, 70]);
    assert_eq!(names(&run.path().join("checkpoints")), ["step-30", "step-60", "step-70"]);
}

#[test]
fn a_checkpoint_of_the_same_step_is_replaced() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, checkpoints) = run_with(scratch.path(), &[5]);
    let other = Checkpoint { step: 5, ..checkpoint(6) };
    checkpoints.save(&other, &KeepPolicy::default()).unwrap();
    assert_eq!(checkpoints.load_newest().unwrap().checkpoint, other);
    assert_eq!(names(&run.path().join("checkpoints")), ["step-5"]);
}

/// As a kill leaves it between setting the old one aside and renaming the new one into place.
#[test]
fn a_checkpoint_set_aside_is_found() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, checkpoints) = run_with(scratch.path(), &[5]);
    let folder = run.path().join("checkpoints");
    fs::rename(folder.join("step-5"), folder.join("step-5.replaced")).unwrap();
    assert_eq!(checkpoints.load_newest().unwrap().checkpoint, checkpoint(5));
    checkpoints.save(&checkpoint(5), &KeepPolicy::default()).unwrap();
    assert_eq!(names(&folder), ["step-5"]);
}

#[test]
fn parts_not_asked_for_are_not_read() {
    let scratch = tempfile::tempdir().unwrap();
    let (_run, checkpoints) = run_with(scratch.path(), &[5]);
    let loaded = checkpoints.load_newest_parts(|part| part == "head").unwrap().checkpoint;
    assert!(loaded.parts.keys().eq(["head"]));
    assert_eq!(loaded.parts["head"], checkpoint(5).parts["head"]);
    assert_eq!(loaded.state, checkpoint(5).state);
}

#[test]
fn a_run_without_checkpoints_says_so() {
    let scratch = tempfile::tempdir().unwrap();
    let (_run, checkpoints) = run_with(scratch.path(), &[]);
    assert!(checkpoints.steps().unwrap().is_empty());
    let err = checkpoints.load_newest().unwrap_err();
    assert!(matches!(err, StoreError::NoCheckpoint { .. }), "{err}");
    assert!(err.to_string().contains("expected at least one folder named step-N"), "{err}");
}

#[test]
fn a_checkpoint_that_somebody_removed_is_reported() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, checkpoints) = run_with(scratch.path(), &[1, 2]);
    fs::remove_dir_all(run.path().join("checkpoints/step-2")).unwrap();
    let loaded = checkpoints.load_newest().unwrap();
    assert_eq!(loaded.checkpoint, checkpoint(1));
    assert_eq!(loaded.rejected.len(), 1);
    assert!(matches!(&*loaded.rejected[0].reason, StoreError::Latest { found, .. } if found == "step-2"));
}

#[test]
fn foreign_names_beside_checkpoints_are_ignored() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, checkpoints) = run_with(scratch.path(), &[3]);
    for name in ["step-", "step-x", "step-09", "step-+9", "best", "step-9.old"] {
        fs::create_dir(run.path().join("checkpoints").join(name)).unwrap();
    }
    assert_eq!(checkpoints.steps().unwrap(), [3]);
    assert!(checkpoints.load_newest().unwrap().rejected.is_empty());
}

#[test]
fn a_part_name_that_leaves_the_folder_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, checkpoints) = run_with(scratch.path(), &[]);
    for name in ["../encoder", "", "a/b", "a.b"] {
        let mut bad = checkpoint(1);
        bad.parts.insert(name.to_owned(), Default::default());
        let err = checkpoints.save(&bad, &KeepPolicy::default()).unwrap_err();
        assert!(matches!(err, StoreError::PartName { .. }), "{err}");
    }
    assert_eq!(names(&run.path().join("checkpoints")), [""; 0]);
}
