//! Shared by the tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// An encoder small enough for many trainings: 24 images make 6 steps an epoch.
const TINY: &str = r#"
[views]
random_size = 16
focal_size = 8
focal_views = 1

[encoder]
variant = ""
image_size = 16
patch_size = 4
dim = 32
depth = 2
heads = 2
drop_path = 0.1

[head]
hidden_dim = 32
output_dim = 16

[objective]
prototypes = 8

[optim]
epochs = 2
warmup_epochs = 1.0

[train]
batch_size = 4
log_every = 1
"#;

/// A scratch folder with an image set and a configuration.
pub(crate) struct Scratch {
    folder: TempDir,
}

impl Scratch {
    /// 3 classes of 8 images of 16 px in `images`, and `tiny.toml`.
    pub(crate) fn new() -> Self {
        let scratch = Self { folder: tempfile::tempdir().unwrap() };
        scratch.synth("images", 0);
        fs::write(scratch.path("tiny.toml"), TINY).unwrap();
        scratch
    }

    /// The same with a run in `run` that has been trained.
    pub(crate) fn with_run() -> Self {
        let scratch = Self::new();
        scratch.pretrain("run", &[]).success();
        scratch
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Another image set of the same kind.
    pub(crate) fn synth(&self, out: &str, seed: u64) {
        let seed = seed.to_string();
        let size = ["--classes", "3", "--images-per-class", "8", "--size", "16"];
        self.msn(&[&["synth", "--out", out, "--seed", &seed], &size[..]].concat()).success();
    }

    /// Runs the program in the scratch folder.
    pub(crate) fn msn(&self, arguments: &[&str]) -> Finished {
        Finished::of(self.command(arguments).output().unwrap(), arguments)
    }

    /// Pre-trains with the tiny configuration.
    pub(crate) fn pretrain(&self, run: &str, more: &[&str]) -> Finished {
        self.msn(&pretrain_arguments(run, more))
    }

    /// The program, set to run in the scratch folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_msn"));
        command.args(arguments);
        self.set(command)
    }

    /// The same started by a shell, whose `script` has to end in `exec "$0" "$@"`.
    pub(crate) fn shell(&self, script: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_msn")]).args(arguments);
        self.set(command)
    }

    fn set(&self, mut command: Command) -> Command {
        // Caches of its own, so that no test meets what another one has left, and of the usual size.
        command.current_dir(self.folder.path()).env("MSN_CACHE", self.folder.path().join("cache"));
        command.env_remove("MSN_CACHE_GIB");
        command
    }

    /// Saves a newer checkpoint to a run, whose momentum encoder has a weight that is no number.
    pub(crate) fn spoil_weights(&self, run: &str) {
        let run = msn_store::RunDir::resume(&self.path(run)).unwrap();
        let mut checkpoint = run.checkpoints().load_newest().unwrap().checkpoint;
        checkpoint.step += 1;
        let target = checkpoint.parts.get_mut(msn_store::TARGET_PART).unwrap();
        target.get_mut("cls_token").unwrap().data[0] = f32::NAN;
        run.checkpoints().save(&checkpoint, &Default::default()).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn read_json(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).unwrap()
    }

    pub(crate) fn lines_of_json(&self, name: &str) -> Vec<Value> {
        self.read(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The tensors of the checkpoint of this step, as bytes by file name.
    pub(crate) fn tensors(&self, run: &str, step: u64) -> BTreeMap<String, Vec<u8>> {
        let folder = self.path(&format!("{run}/checkpoints/step-{step}"));
        let names = names(&folder).into_iter().filter(|name| name.ends_with(".safetensors"));
        names.map(|name| (name.clone(), fs::read(folder.join(name)).unwrap())).collect()
    }

    /// Overwrites a byte in the middle of a file.
    pub(crate) fn corrupt(&self, name: &str) {
        let mut bytes = fs::read(self.path(name)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        fs::write(self.path(name), bytes).unwrap();
    }
}

pub(crate) fn pretrain_arguments<'a>(run: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["pretrain", "--data", "images", "--out", run, "--config", "tiny.toml"], more].concat()
}

/// How the program ended and what it said.
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    arguments: String,
}

impl Finished {
    pub(crate) fn of(output: Output, arguments: &[&str]) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            arguments: arguments.join(" "),
        }
    }

    /// Expects exit code 0.
    pub(crate) fn success(self) -> Self {
        self.exits_with(0)
    }

    /// Expects an explained failure, exit code 1, whose message contains each of `parts`.
    pub(crate) fn fails_with(self, parts: &[&str]) -> Self {
        self.exits_with(1).explains(parts)
    }

    /// Expects wrong arguments, exit code 2, with a message that contains each of `parts`.
    pub(crate) fn refused_with(self, parts: &[&str]) -> Self {
        self.exits_with(2).explains(parts)
    }

    /// Expects this exit code.
    pub(crate) fn exits_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "msn {}: {}", self.arguments, self.stderr);
        self
    }

    fn explains(self, parts: &[&str]) -> Self {
        assert!(self.stderr.contains("error: "), "{}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        for part in parts {
            assert!(
                self.stderr.contains(part),
                "msn {}: expected `{part}` in: {}",
                self.arguments,
                self.stderr
            );
        }
        self
    }
}

/// The names in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Waits until `ready`, and fails if that never comes.
pub(crate) fn wait_until(mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !ready() {
        assert!(Instant::now() < deadline, "waited two minutes in vain");
        sleep(Duration::from_millis(1));
    }
}
