//! `kill -9` while checkpoints are being saved.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use msn_store::{KeepPolicy, RunDir, StoreError};

use crate::support::{CHILD, as_child, checkpoint, checkpoint_of, names, run_with};

/// 4 * 16,384 values: some 256 KiB, so that a kill often falls into the middle of a save.
const VALUES: usize = 1 << 14;
const KILLS: u32 = 32;

#[test]
fn after_kills_at_any_moment_the_newest_checkpoint_is_whole() {
    if let Some(folder) = std::env::var_os(CHILD) {
        save_step_after_step(Path::new(&folder));
    }
    let scratch = tempfile::tempdir().unwrap();
    let (run, checkpoints) = run_with(scratch.path(), &[]);
    let path = run.path().to_path_buf();
    drop(run);
    let folder = path.join("checkpoints");
    let mut newest = 0;
    let mut kills_mid_save = 0;
    for kill in 0..KILLS {
        run_child_and_kill(
            "kill::after_kills_at_any_moment_the_newest_checkpoint_is_whole",
            &path,
            // The newest, since the child may have pruned any certain step by the time this looks.
            || checkpoints.steps().unwrap().last().is_some_and(|&step| step >= newest + 2),
            kill,
        );
        kills_mid_save += u32::from(names(&folder).iter().any(|name| name.starts_with(".msn-tmp-")));
        let loaded = checkpoints.load_newest().unwrap();
        assert!(loaded.rejected.is_empty(), "{:?}", loaded.rejected);
        assert!(loaded.checkpoint.step >= newest + 2);
        newest = loaded.checkpoint.step;
        assert_eq!(loaded.checkpoint, checkpoint_of(newest, VALUES));
    }
    eprintln!("{kills_mid_save} of {KILLS} kills fell into a save or a removal");
    drop(RunDir::resume(&path).unwrap());
    assert!(names(&folder).iter().all(|name| name.starts_with("step-")), "{:?}", names(&folder));
}

#[test]
fn kills_while_the_only_checkpoint_is_replaced_do_not_lose_it() {
    if let Some(folder) = std::env::var_os(CHILD) {
        replace_again_and_again(Path::new(&folder));
    }
    let scratch = tempfile::tempdir().unwrap();
    let (run, checkpoints) = run_with(scratch.path(), &[1]);
    let path = run.path().to_path_buf();
    drop(run);
    let mut kills_mid_replacement = 0;
    for kill in 0..KILLS {
        let began = path.join("began");
        run_child_and_kill(
            "kill::kills_while_the_only_checkpoint_is_replaced_do_not_lose_it",
            &path,
            || began.exists(),
            kill,
        );
        std::fs::remove_file(&began).unwrap();
        kills_mid_replacement += u32::from(path.join("checkpoints/step-1.replaced").exists());
        let loaded = checkpoints.load_newest().unwrap();
        assert!(loaded.rejected.is_empty(), "{:?}", loaded.rejected);
        assert_eq!(loaded.checkpoint, checkpoint(1));
    }
    eprintln!("{kills_mid_replacement} of {KILLS} kills fell into a replacement");
}

/// Starts `test` as a child process and kills it some moments after `ready`: at other moments of a save for
/// each `kill`. A fixed set of delays, because the moments differ from run to run by themselves.
fn run_child_and_kill(test: &str, run: &Path, ready: impl Fn() -> bool, kill: u32) {
    let mut command = as_child(Command::new(std::env::current_exe().unwrap()), test, run);
    let mut child = KilledOnDrop(command.stdout(Stdio::null()).spawn().unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    while !ready() {
        assert!(Instant::now() < deadline, "the child saves nothing");
        assert!(child.0.try_wait().unwrap().is_none(), "the child ended by itself");
        sleep(Duration::from_micros(200));
    }
    sleep(Duration::from_micros(u64::from(kill) * 487));
}

/// A child that would save for ever, also after a failed test.
struct KilledOnDrop(Child);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        // Both fail only for a child that has ended, which the tests notice before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn save_step_after_step(path: &Path) -> ! {
    let checkpoints = RunDir::resume(path).unwrap().checkpoints();
    let mut step = match checkpoints.load_newest() {
        Ok(loaded) => loaded.checkpoint.step,
        Err(StoreError::NoCheckpoint { .. }) => 0,
        Err(err) => panic!("{err}"),
    };
    loop {
        step += 1;
        checkpoints.save(&checkpoint_of(step, VALUES), &KeepPolicy::default()).unwrap();
    }
}

fn replace_again_and_again(path: &Path) -> ! {
    let checkpoints = RunDir::resume(path).unwrap().checkpoints();
    std::fs::write(path.join("began"), "").unwrap();
    loop {
        checkpoints.save(&checkpoint(1), &KeepPolicy::default()).unwrap();
    }
}
