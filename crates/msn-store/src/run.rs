//! Run folders: `config.toml`, `metrics.jsonl`, `skipped.jsonl`, `checkpoints/step-N/`, `latest`, `eval/NAME.json`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::atomic;
use crate::checkpoint::Checkpoints;
use crate::error::{Result, StoreError};
use crate::export;
use crate::json_lines::{JsonLines, SkippedLog};
use crate::lock::{self, RunLock};

/// The folder of the checkpoints.
const CHECKPOINTS: &str = "checkpoints";

/// A run folder, open for reading or (with the lock) for writing.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// `None`: opened for reading.
    _lock: Option<RunLock>,
}

impl RunDir {
    /// Makes `path` a new run folder, locked for this process. It becomes a run with
    /// [`write_config`](Self::write_config).
    ///
    /// # Errors
    /// [`StoreError::RunExists`] if it holds a run, [`StoreError::NotEmpty`] if it holds anything else,
    /// [`StoreError::Locked`] if another process is about to make it a run.
    pub fn create(path: &Path) -> Result<Self> {
        lock::begin(path, check_unused, Self::locked)
    }

    /// Opens the run in `path` to go on with it, locked for this process, and removes what a killed process
    /// left half-written.
    ///
    /// # Errors
    /// [`StoreError::NotARun`] if there is no run, [`StoreError::Locked`] if another process writes to it.
    pub fn resume(path: &Path) -> Result<Self> {
        check_is_run(path)?;
        Self::locked(path)
    }

    /// Opens the run in `path` for reading, which takes no lock: it may still be training.
    ///
    /// # Errors
    /// [`StoreError::NotARun`] says what is there instead.
    pub fn open(path: &Path) -> Result<Self> {
        check_is_run(path)?;
        Ok(Self { path: path.to_path_buf(), _lock: None })
    }

    fn locked(path: &Path) -> Result<Self> {
        let run = Self { path: path.to_path_buf(), _lock: Some(RunLock::acquire(path)?) };
        // Evaluations and exports may write beside a training.
        atomic::remove_leftovers(path, atomic::ABANDONED)?;
        run.checkpoints().remove_leftovers()?;
        Ok(run)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `config.toml`: the complete configuration, as used.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn write_config(&self, toml: &str) -> Result<()> {
        atomic::write(&config_path(&self.path), toml.as_bytes())
    }

    /// The text of `config.toml`.
    ///
    /// # Errors
    /// [`StoreError::Io`], also if it is not UTF-8.
    pub fn read_config(&self) -> Result<String> {
        let path = config_path(&self.path);
        fs::read_to_string(&path).map_err(StoreError::io(&path, "read"))
    }

    /// The run's checkpoints.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(self.path.join(CHECKPOINTS), self.path.join("latest"))
    }

    /// Opens `metrics.jsonl` to append to, after a run that was at step `step`: lines of later steps are
    /// removed, since the run will write them again; 0 for a new run. A line's step is its integer field
    /// `step`; a line without one stays.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn metrics_after(&self, step: u64) -> Result<JsonLines> {
        let stays =
            |line: &serde_json::Value| line.get("step").and_then(|s| s.as_u64()).is_none_or(|s| s <= step);
        JsonLines::open_keeping(&self.metrics_path(), stays)
    }

    /// Where the metrics are, for readers.
    pub fn metrics_path(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// Writes `eval/NAME.json`, the results of an evaluation, over those of an earlier one. Needs no lock, and so
    /// works while the run is training. Returns the path.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    ///
    /// # Panics
    /// If `name` is no file name.
    pub fn write_evaluation(&self, name: &str, results: &impl Serialize) -> Result<PathBuf> {
        let path = self.evaluation_path(&format!("{name}.json"))?;
        export::write_json(&path, results)?;
        Ok(path)
    }

    /// Writes `eval/NAME`, a picture or another file that belongs to an evaluation, over that of an earlier one.
    /// Returns the path.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    ///
    /// # Panics
    /// If `name` is no file name.
    pub fn write_evaluation_file(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.evaluation_path(name)?;
        atomic::write(&path, bytes)?;
        Ok(path)
    }

    fn evaluation_path(&self, name: &str) -> Result<PathBuf> {
        assert!(!name.is_empty() && !name.contains(['/', '\\']), "`{name}` is no file name");
        let folder = self.path.join("eval");
        export::create_folder(&folder)?;
        Ok(folder.join(name))
    }

    /// Opens `skipped.jsonl`, the list of images that could not be used.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn skipped(&self) -> Result<SkippedLog> {
        SkippedLog::open(&self.path.join("skipped.jsonl"))
    }
}

fn config_path(run: &Path) -> PathBuf {
    run.join("config.toml")
}

fn check_is_run(path: &Path) -> Result<()> {
    let not_a_run = |found: String| StoreError::NotARun { path: path.to_path_buf(), found };
    match fs::read_dir(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Err(not_a_run("nothing at that path".into())),
        Err(err) if err.kind() == io::ErrorKind::NotADirectory => Err(not_a_run("a file".into())),
        Err(err) => Err(StoreError::io(path, "list")(err)),
        Ok(_) if config_path(path).is_file() => Ok(()),
        Ok(_) => Err(not_a_run(
            first_entry(path)?.map_or("an empty folder".into(), |name| format!("a folder with `{name}`")),
        )),
    }
}

fn check_unused(path: &Path) -> Result<()> {
    if config_path(path).exists() {
        return Err(StoreError::RunExists { path: path.to_path_buf() });
    }
    // Weights to start from are saved before a run is one, and that may fail.
    let is_left_behind = |name: &str| {
        Ok(name == CHECKPOINTS && path.join(name).is_dir() && first_entry(&path.join(name))?.is_none())
    };
    for found in entries(path)? {
        if !is_left_behind(&found)? {
            return Err(StoreError::NotEmpty { path: path.to_path_buf(), found });
        }
    }
    Ok(())
}

/// Refuses a folder with anything in it, lock file and leftovers of killed processes aside.
pub(crate) fn check_empty(path: &Path) -> Result<()> {
    match first_entry(path)? {
        None => Ok(()),
        Some(found) => Err(StoreError::NotEmpty { path: path.to_path_buf(), found }),
    }
}

/// The first name in `folder`, lock file and leftovers of killed processes aside.
pub(crate) fn first_entry(folder: &Path) -> Result<Option<String>> {
    Ok(entries(folder)?.into_iter().next())
}

/// The names in `folder` in their order, lock file and leftovers of killed processes aside.
fn entries(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(StoreError::io(folder, "list"))? {
        let entry = entry.map_err(StoreError::io(folder, "list"))?;
        if entry.file_name() != lock::FILE_NAME && !atomic::is_leftover(&entry.path()) {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}
