//! Shared by the tests.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use msn_store::{Array, Checkpoint, Checkpoints, KeepPolicy, RunDir};

/// A checkpoint whose every value follows from `step`, so that a mixture of two is told from a whole one.
pub(crate) fn checkpoint(step: u64) -> Checkpoint {
    checkpoint_of(step, 64)
}

/// Like [`checkpoint`], with parts of `values` and `3 * values` values.
pub(crate) fn checkpoint_of(step: u64, values: usize) -> Checkpoint {
    let array = |rows: usize, shift: f32| {
        let data = (0..rows * values).map(|i| step as f32 + shift + i as f32 / 128.0).collect();
        Array::new(vec![rows, values], data)
    };
    let part = |rows, shift| BTreeMap::from([("weight".to_owned(), array(rows, shift))]);
    Checkpoint {
        step,
        parts: BTreeMap::from([("encoder".to_owned(), part(3, 0.0)), ("head".to_owned(), part(1, 0.5))]),
        // 0.1 + 0.2 and 1 / 3 have no short decimal form; the seed does not fit into an f64.
        state: serde_json::json!({ "step": step, "lr": 0.1 + 0.2, "ema": 1.0 / 3.0, "seed": u64::MAX - step }),
    }
}

/// Says that a file was used `seconds` ago.
pub(crate) fn used(path: &Path, seconds: u64) {
    let time = SystemTime::now() - Duration::from_secs(seconds);
    File::open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
}

/// A new run in `scratch` with checkpoints at `steps`.
pub(crate) fn run_with(scratch: &Path, steps: &[u64]) -> (RunDir, Checkpoints) {
    let run = RunDir::create(&scratch.join("run")).unwrap();
    run.write_config("seed = 0\n").unwrap();
    let checkpoints = run.checkpoints();
    for &step in steps {
        checkpoints.save(&checkpoint(step), &KeepPolicy::default()).unwrap();
    }
    (run, checkpoints)
}

/// The names in `folder`, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// This test binary, set to run the one test `test`, which finds `folder` in the variable [`CHILD`].
pub(crate) fn as_child(program: Command, test: &str, folder: &Path) -> Command {
    let mut command = program;
    command.args(["--exact", test, "--nocapture"]).env(CHILD, folder);
    command
}

/// Set in a child process: the folder to work in.
pub(crate) const CHILD: &str = "MSN_STORE_TEST_CHILD";
