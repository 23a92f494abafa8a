//! metrics.jsonl and skipped.jsonl.

use std::fs;

use msn_store::Skipped;
use serde_json::json;

use crate::support::run_with;

#[test]
fn metrics_are_one_json_value_a_line() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, _) = run_with(scratch.path(), &[]);
    let mut metrics = run.metrics_after(0).unwrap();
    metrics.append(&json!({ "step": 1, "note": "two\nlines" })).unwrap();
    metrics.append(&json!({ "step": 2 })).unwrap();
    metrics.sync().unwrap();
    let text = fs::read_to_string(run.metrics_path()).unwrap();
    assert_eq!(text, "{\"note\":\"two\\nlines\",\"step\":1}\n{\"step\":2}\n");
}

/// As on some network file systems.
#[cfg(target_os = "linux")]
#[test]
fn metrics_that_cannot_be_synced_are_no_error() {
    if fs::File::open("/dev/null").unwrap().sync_data().is_ok() {
        return msn_golden::skip("this system syncs /dev/null, which stands for a file that cannot be");
    }
    let scratch = tempfile::tempdir().unwrap();
    let (run, _) = run_with(scratch.path(), &[]);
    std::os::unix::fs::symlink("/dev/null", run.metrics_path()).unwrap();
    let mut metrics = run.metrics_after(0).unwrap();
    metrics.append(&json!({ "step": 1 })).unwrap();
    metrics.sync().unwrap();
}

#[test]
fn a_resumed_run_has_each_step_once() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, _) = run_with(scratch.path(), &[]);
    // Killed in the middle of the line of step 30, with the last checkpoint at step 10.
    fs::write(run.metrics_path(), "{\"step\": 0}\n{\"step\": 10}\n{\"run\": \"x\"}\n{\"step\": 20}\n{\"st")
        .unwrap();
    let mut metrics = run.metrics_after(10).unwrap();
    metrics.append(&json!({ "step": 20 })).unwrap();
    let text = fs::read_to_string(run.metrics_path()).unwrap();
    // Lines that stay keep their spelling.
    assert_eq!(text, "{\"step\": 0}\n{\"step\": 10}\n{\"run\": \"x\"}\n{\"step\":20}\n");
}

#[test]
fn a_whole_last_line_without_its_line_feed_stays() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, _) = run_with(scratch.path(), &[]);
    fs::write(run.metrics_path(), "{\"step\":1}\n{\"step\":2}").unwrap();
    run.metrics_after(2).unwrap().append(&json!({ "step": 3 })).unwrap();
    let text = fs::read_to_string(run.metrics_path()).unwrap();
    assert_eq!(text, "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n");
}

#[test]
fn skipped_images_are_listed_once_over_a_resume() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, _) = run_with(scratch.path(), &[]);
    let image = |path: &str| Skipped { path: path.into(), reason: "truncated".into() };
    let mut skipped = run.skipped().unwrap();
    assert!(skipped.is_empty());
    assert!(skipped.record(&image("a.jpg")).unwrap());
    assert!(!skipped.record(&image("a.jpg")).unwrap());
    assert!(skipped.record(&image("b.jpg")).unwrap());
    drop(skipped);

    let path = run.path().join("skipped.jsonl");
    let torn = fs::read_to_string(&path).unwrap() + "{\"path\":\"c.j";
    fs::write(&path, torn).unwrap();
    let mut skipped = run.skipped().unwrap();
    assert_eq!(skipped.len(), 2);
    assert!(!skipped.record(&image("b.jpg")).unwrap());
    assert!(skipped.record(&image("c.jpg")).unwrap());
    let lines: Vec<Skipped> =
        fs::read_to_string(&path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, ["a.jpg", "b.jpg", "c.jpg"].map(image));
}
