//! Run folders and image folders.

use std::fs;
use std::path::Path;

use msn_store::{ImageFolder, RunDir, StoreError};

use crate::support::{names, run_with, used};

#[test]
fn a_new_run_gives_its_config_back() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("deep/run");
    let run = RunDir::create(&path).unwrap();
    run.write_config("seed = 1\n").unwrap();
    assert_eq!(RunDir::open(&path).unwrap().read_config().unwrap(), "seed = 1\n");
    assert_eq!(run.path(), path);
}

#[test]
fn a_folder_with_a_run_is_not_overwritten() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, _) = run_with(scratch.path(), &[]);
    let path = run.path().to_path_buf();
    drop(run);
    let err = RunDir::create(&path).unwrap_err();
    assert!(matches!(err, StoreError::RunExists { .. }));
    assert!(err.to_string().contains("--resume"), "{err}");
    assert_eq!(RunDir::resume(&path).unwrap().read_config().unwrap(), "seed = 0\n");
}

#[test]
fn a_folder_of_somebody_else_is_refused_and_left_as_it_is() {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("thesis.tex"), "").unwrap();
    let err = RunDir::create(scratch.path()).unwrap_err();
    assert!(matches!(&err, StoreError::NotEmpty { found, .. } if found == "thesis.tex"), "{err}");
    let err = ImageFolder::create(scratch.path()).unwrap_err();
    assert!(matches!(&err, StoreError::NotEmpty { found, .. } if found == "thesis.tex"), "{err}");
    assert_eq!(names(scratch.path()), ["thesis.tex"]);
}

/// Killed before it wrote its config, a run leaves only its lock file and perhaps a leftover.
#[test]
fn a_run_that_never_began_can_be_created_again() {
    let scratch = tempfile::tempdir().unwrap();
    drop(RunDir::create(scratch.path()).unwrap());
    fs::write(scratch.path().join(".msn-tmp-config"), "").unwrap();
    let _run = RunDir::create(scratch.path()).unwrap();
    assert_eq!(names(scratch.path()), [".lock", ".msn-tmp-config"], "a day later it goes");
}

/// Weights to start from are saved before the configuration, which may fail or be killed.
#[test]
fn a_run_whose_first_checkpoint_could_not_be_written_can_be_created_again() {
    let scratch = tempfile::tempdir().unwrap();
    let checkpoints = scratch.path().join("checkpoints");
    fs::create_dir_all(checkpoints.join(".msn-tmp-step-0")).unwrap();
    drop(RunDir::create(scratch.path()).unwrap());
    // One that was written, or anything else there, is somebody's.
    for (folder, found) in [("checkpoints/step-0", "checkpoints"), ("thesis", "thesis")] {
        fs::create_dir(scratch.path().join(folder)).unwrap();
        let err = RunDir::create(scratch.path()).unwrap_err();
        assert!(matches!(&err, StoreError::NotEmpty { found: name, .. } if name == found), "{err}");
        fs::remove_dir(scratch.path().join(folder)).unwrap();
    }
}

#[test]
fn what_is_not_a_run_is_described() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    fs::write(at("file"), "").unwrap();
    fs::create_dir_all(at("images/cats")).unwrap();
    fs::create_dir(at("empty")).unwrap();
    for (name, found) in [
        ("nowhere", "nothing at that path"),
        ("file", "a file"),
        ("images", "a folder with `cats`"),
        ("empty", "an empty folder"),
    ] {
        for opened in [RunDir::open(&at(name)), RunDir::resume(&at(name))] {
            let expected = format!(
                "{}: not a run folder: expected config.toml in it, found {found}",
                at(name).display()
            );
            assert_eq!(opened.unwrap_err().to_string(), expected);
        }
    }
    assert_eq!(names(&at("images")), ["cats"]);
}

#[test]
fn a_second_writer_is_told_who_the_first_is() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, _) = run_with(scratch.path(), &[]);
    let path = run.path().to_path_buf();
    let err = RunDir::resume(&path).unwrap_err();
    assert!(matches!(err, StoreError::Locked { holder: Some(pid), .. } if pid == std::process::id()));
    assert!(err.to_string().contains(&format!("process {}", std::process::id())), "{err}");
    // Readers need no lock, and the lock goes with its holder.
    RunDir::open(&path).unwrap();
    drop(run);
    RunDir::resume(&path).unwrap();
}

#[test]
fn leftovers_go_when_the_run_is_resumed_and_not_when_it_is_read() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, _) = run_with(scratch.path(), &[1]);
    let path = run.path().to_path_buf();
    drop(run);
    for (age, name) in [(25 * 3600, ".msn-tmp-old"), (3600, ".msn-tmp-of-an-evaluation")] {
        fs::write(path.join(name), "").unwrap();
        used(&path.join(name), age);
    }
    fs::write(path.join(".tmp-of-an-editor"), "").unwrap();
    fs::create_dir_all(path.join("checkpoints/.msn-tmp-b/deep")).unwrap();
    RunDir::open(&path).unwrap();
    assert!(path.join(".msn-tmp-old").exists() && path.join("checkpoints/.msn-tmp-b").exists());
    drop(RunDir::resume(&path).unwrap());
    let others = [".lock", ".msn-tmp-of-an-evaluation", ".tmp-of-an-editor"];
    assert_eq!(names(&path), [&others[..], &["checkpoints", "config.toml", "latest"]].concat());
    assert_eq!(names(&path.join("checkpoints")), ["step-1"]);
}

#[test]
fn an_image_folder_appears_when_it_is_finished() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("images");
    fs::create_dir(&path).unwrap();
    let folder = ImageFolder::create(&path).unwrap();
    folder.write(Path::new("circle/0.png"), b"one").unwrap();
    folder.write(Path::new("square/0.png"), b"two").unwrap();
    assert!(folder.write(Path::new("square/0.png"), b"again").is_err());
    assert_eq!(names(&path), [""; 0]);
    assert_eq!(folder.finish().unwrap(), path);
    assert_eq!(names(&path), ["circle", "square"]);
    assert_eq!(fs::read(path.join("square/0.png")).unwrap(), b"two");
    assert_eq!(names(scratch.path()), ["images"]);
}

#[test]
fn an_image_folder_whose_place_was_taken_meanwhile_says_where_it_is() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("images");
    let folder = ImageFolder::create(&path).unwrap();
    folder.write(Path::new("circle/0.png"), b"one").unwrap();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("mine"), "").unwrap();
    let error = folder.finish().unwrap_err();
    let StoreError::NotPlaced { found, .. } = &error else { panic!("{error}") };
    assert!(error.to_string().contains(&found.display().to_string()), "{error}");
    assert!(found.file_name().unwrap().to_str().unwrap().starts_with("images-"), "{}", found.display());
    assert_eq!(fs::read(found.join("circle/0.png")).unwrap(), b"one");
    assert_eq!(names(&path), ["mine"]);
}

#[test]
fn an_image_folder_takes_the_place_of_nothing_at_all() {
    let scratch = tempfile::tempdir().unwrap();
    for name in [".lock", ".msn-tmp-killed", ".hidden"] {
        let path = scratch.path().join("images");
        fs::create_dir(&path).unwrap();
        fs::write(path.join(name), "").unwrap();
        let err = ImageFolder::create(&path).unwrap_err();
        assert!(matches!(&err, StoreError::NotEmpty { found, .. } if found == name), "{err}");
        fs::remove_dir_all(&path).unwrap();
    }
}

#[test]
fn an_image_folder_not_finished_leaves_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = ImageFolder::create(&scratch.path().join("images")).unwrap();
    folder.write(Path::new("circle/0.png"), b"one").unwrap();
    drop(folder);
    assert_eq!(names(scratch.path()), [""; 0]);
}

#[test]
#[should_panic(expected = "not a path below the folder")]
fn an_image_outside_the_folder_is_a_bug() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = ImageFolder::create(&scratch.path().join("images")).unwrap();
    let _ = folder.write(Path::new("../escaped.png"), b"");
}

#[test]
fn a_picture_of_an_evaluation_lies_beside_its_results() {
    let scratch = tempfile::tempdir().unwrap();
    let run = RunDir::create(&scratch.path().join("run")).unwrap();
    run.write_config("").unwrap();
    let results = run.write_evaluation("report", &[1, 2]).unwrap();
    for picture in ["<svg>old</svg>", "<svg>new</svg>"] {
        let path = run.write_evaluation_file("report.svg", picture.as_bytes()).unwrap();
        assert_eq!(path.parent(), results.parent());
        assert_eq!(fs::read_to_string(path).unwrap(), picture);
    }
    assert_eq!(fs::read_to_string(results).unwrap(), "[\n  1,\n  2\n]\n");
}
