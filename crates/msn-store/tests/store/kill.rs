//! `kill -9` while checkpoints are being saved.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use msn_store::{KeepPolicy, RunDir, StoreError};

use crate::support::{CHILD, as_child, checkpoint_of, names};

/// 4 * 16,384 values: some 256 KiB, so that a kill often falls into the middle of a save.
const VALUES: usize = 1 << 14;
const KILLS: u32 = 32;

#[test]
fn after_kills_at_any_moment_the_newest_checkpoint_is_whole() {
    if let Some(folder) = std::env::var_os(CHILD) {
        save_until_killed(Path::new(&folder));
    }
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("run");
    RunDir::create(&path).unwrap().write_config("").unwrap();
    let folder = path.join("checkpoints");
    let mut newest = 0;
    let mut kills_mid_save = 0;
    for kill in 0..KILLS {
        let mut child = as_child(
            Command::new(std::env::current_exe().unwrap()),
            "kill::after_kills_at_any_moment_the_newest_checkpoint_is_whole",
            &path,
        )
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
        // The kill falls at different moments of a later save, milliseconds long; a fixed set of delays,
        // because the moments differ from run to run by themselves.
        let deadline = Instant::now() + Duration::from_secs(60);
        while !folder.join(format!("step-{}", newest + 2)).exists() {
            assert!(Instant::now() < deadline, "the child saves nothing");
            assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
            sleep(Duration::from_micros(200));
        }
        sleep(Duration::from_micros(u64::from(kill) * 487));
        child.kill().unwrap();
        child.wait().unwrap();

        kills_mid_save += u32::from(names(&folder).iter().any(|name| name.starts_with(".tmp-")));
        let loaded = RunDir::open(&path).unwrap().checkpoints().load_newest().unwrap();
        assert!(loaded.rejected.is_empty(), "{:?}", loaded.rejected);
        assert!(loaded.checkpoint.step >= newest + 2);
        newest = loaded.checkpoint.step;
        assert_eq!(loaded.checkpoint, checkpoint_of(newest, VALUES));
    }
    eprintln!("{kills_mid_save} of {KILLS} kills fell into a save or a removal");
    drop(RunDir::resume(&path).unwrap());
    assert!(names(&folder).iter().all(|name| name.starts_with("step-")), "{:?}", names(&folder));
}

fn save_until_killed(path: &Path) -> ! {
    let checkpoints = RunDir::resume(path).unwrap().checkpoints();
    let mut step = match checkpoints.load_newest() {
        Ok(loaded) => loaded.checkpoint.step,
        Err(StoreError::NoCheckpoint { .. }) => 0,
        Err(err) => panic!("{err}"),
    };
    loop {
        step += 1;
        // Every third step is saved twice, so that kills fall into replacing a checkpoint too.
        for _ in 0..1 + u64::from(step.is_multiple_of(3)) {
            checkpoints.save(&checkpoint_of(step, VALUES), &KeepPolicy::default()).unwrap();
        }
    }
}
