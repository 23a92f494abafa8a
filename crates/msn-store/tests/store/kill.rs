//! `kill -9` while checkpoints and files are being saved.

use std::borrow::Cow;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::{park, sleep};
use std::time::{Duration, Instant};

use msn_store::{Checkpoint, KeepPolicy, RunDir, StoreError, atomic};

use crate::support::{CHILD, as_child, checkpoint, checkpoint_of, names, run_with};

/// 4 * 16,384 values: some 256 KiB, so that a kill often falls into the middle of a save.
const VALUES: usize = 1 << 14;
const KILLS: u32 = 32;
/// Kills after which one must have fallen into a save.
const MOST_KILLS: u32 = 10 * KILLS;
const HALF: &str = "half";

#[test]
fn a_kill_in_the_middle_of_a_save_leaves_the_checkpoint_before() {
    if let Some(folder) = std::env::var_os(CHILD) {
        save_half(Path::new(&folder));
    }
    let scratch = tempfile::tempdir().unwrap();
    let (run, checkpoints) = run_with(scratch.path(), &[1]);
    let path = run.path().to_path_buf();
    drop(run);
    let child = Saving::start("kill::a_kill_in_the_middle_of_a_save_leaves_the_checkpoint_before", &path);
    child.kill_once(|| path.join(HALF).exists());
    let folder = path.join("checkpoints");
    let [half, whole] = &names(&folder)[..] else { panic!("{:?}", names(&folder)) };
    assert!(half.starts_with(".msn-tmp-") && whole == "step-1", "{half} {whole}");
    assert_eq!(names(&folder.join(half)), ["encoder.safetensors"]);
    let loaded = checkpoints.load_newest().unwrap();
    assert!(loaded.rejected.is_empty(), "{:?}", loaded.rejected);
    assert_eq!(loaded.checkpoint, checkpoint(1));
    drop(RunDir::resume(&path).unwrap());
    assert_eq!(names(&folder), ["step-1"]);
}

#[test]
fn a_kill_in_the_middle_of_a_write_leaves_the_old_file() {
    if let Some(folder) = std::env::var_os(CHILD) {
        write_half(Path::new(&folder));
    }
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    fs::write(folder.join("file"), "old").unwrap();
    let child = Saving::start("kill::a_kill_in_the_middle_of_a_write_leaves_the_old_file", folder);
    child.kill_once(|| folder.join(HALF).exists());
    assert_eq!(fs::read(folder.join("file")).unwrap(), b"old");
    let half = names(folder).into_iter().find(|name| name.starts_with(".msn-tmp-"));
    assert!(half.is_some(), "{:?}", names(folder));
}

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
    let mid_save = || {
        let staged = |name: &String| folder.join(name).join("encoder.safetensors").exists();
        names(&folder).iter().any(|name| name.starts_with(".msn-tmp-") && staged(name))
    };
    for kill in 0..MOST_KILLS {
        if kill >= KILLS && kills_mid_save > 0 {
            break;
        }
        let test = "kill::after_kills_at_any_moment_the_newest_checkpoint_is_whole";
        // The newest, since the child may have pruned any certain step by the time this looks.
        let ready = || checkpoints.steps().unwrap().last().is_some_and(|&step| step >= newest + 2);
        run_child_and_kill(test, &path, ready, kill, mid_save);
        kills_mid_save += u32::from(mid_save());
        let loaded = checkpoints.load_newest().unwrap();
        assert!(loaded.rejected.is_empty(), "{:?}", loaded.rejected);
        assert!(loaded.checkpoint.step >= newest + 2);
        newest = loaded.checkpoint.step;
        assert_eq!(loaded.checkpoint, checkpoint_of(newest, VALUES));
    }
    assert!(kills_mid_save > 0, "no kill fell into a save");
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
    let mid_replacement = || path.join("checkpoints/step-1.replaced").exists();
    for kill in 0..MOST_KILLS {
        if kill >= KILLS && kills_mid_replacement > 0 {
            break;
        }
        let began = path.join("began");
        let test = "kill::kills_while_the_only_checkpoint_is_replaced_do_not_lose_it";
        run_child_and_kill(test, &path, || began.exists(), kill, mid_replacement);
        fs::remove_file(&began).unwrap();
        kills_mid_replacement += u32::from(mid_replacement());
        let loaded = checkpoints.load_newest().unwrap();
        assert!(loaded.rejected.is_empty(), "{:?}", loaded.rejected);
        assert_eq!(loaded.checkpoint, checkpoint(1));
    }
    assert!(kills_mid_replacement > 0, "no kill fell into a replacement");
}

/// Starts `test` as a child process and kills it: every other `kill` as soon as it is in the middle of what it does, the
/// others some moments after `ready`. A fixed set of delays, because the moments differ from run to run by themselves.
fn run_child_and_kill(
    test: &str,
    run: &Path,
    ready: impl Fn() -> bool,
    kill: u32,
    middle: impl Fn() -> bool,
) {
    let mut child = Saving::start(test, run);
    child.wait_until(ready);
    if kill % 2 == 1 {
        return child.kill_once(middle);
    }
    sleep(Duration::from_micros(u64::from(kill % KILLS) * 487));
}

/// A child that would save or wait for ever, killed on drop: also after a failed test.
struct Saving(Child);

impl Saving {
    fn start(test: &str, folder: &Path) -> Self {
        let mut command = as_child(Command::new(std::env::current_exe().unwrap()), test, folder);
        Self(command.stdout(Stdio::null()).spawn().unwrap())
    }

    fn wait_until(&mut self, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !condition() {
            assert!(Instant::now() < deadline, "the child does not get there");
            assert!(self.0.try_wait().unwrap().is_none(), "the child ended by itself");
            sleep(Duration::from_micros(50));
        }
    }

    fn kill_once(mut self, condition: impl Fn() -> bool) {
        self.wait_until(condition);
    }
}

impl Drop for Saving {
    fn drop(&mut self) {
        // Both fail only for a child that has ended, which the tests notice before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Saves one of two parts of a checkpoint of step 2, says so, and waits for ever.
fn save_half(path: &Path) -> ! {
    let checkpoints = RunDir::resume(path).unwrap().checkpoints();
    let Checkpoint { step, parts, state } = checkpoint(2);
    let parts = parts.iter().enumerate().map(|(number, (name, tensors))| {
        if number == 1 {
            say_half_and_wait(path);
        }
        Ok::<_, StoreError>((&**name, Cow::Borrowed(tensors)))
    });
    let saved = checkpoints.save_parts(step, parts, &state, &KeepPolicy::default());
    unreachable!("the second part never comes: {saved:?}")
}

/// Writes a part of a file, says so, and waits for ever.
fn write_half(folder: &Path) -> ! {
    let written = atomic::write_with(&folder.join("file"), |out| {
        out.write_all(&[1; 100_000])?;
        say_half_and_wait(folder)
    });
    unreachable!("the rest never comes: {written:?}")
}

fn say_half_and_wait(folder: &Path) -> ! {
    fs::write(folder.join(HALF), "").unwrap();
    loop {
        park();
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
    // Once before it says so: then what an earlier kill left set aside is gone.
    checkpoints.save(&checkpoint(1), &KeepPolicy::default()).unwrap();
    fs::write(path.join("began"), "").unwrap();
    loop {
        checkpoints.save(&checkpoint(1), &KeepPolicy::default()).unwrap();
    }
}
