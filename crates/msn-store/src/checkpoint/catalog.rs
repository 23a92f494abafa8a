//! The checkpoints of a run: saving, finding the newest whole one, pruning.
//!
//! A checkpoint is written into a folder `.msn-tmp-*` beside its destination, every file synced, and the folder
//! renamed to `step-N`. What a kill leaves behind, by the moment it strikes:
//!
//! - while writing: all earlier checkpoints, and a `.msn-tmp-*` folder that the run's next process removes;
//! - after the rename: the new checkpoint, whole, and a `latest` that names the one before. `latest` is for
//!   people and scripts; loading looks at the folders themselves;
//! - while replacing a checkpoint of the same step: the old one as `step-N.replaced`, which loading finds;
//! - while pruning: a `.msn-tmp-*` folder, never half a `step-N`.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Checkpoint, KeepPolicy, Loaded, Part, Rejected, contents, steps_to_prune};
use crate::error::{Result, StoreError};
use crate::{atomic, run};

const PREFIX: &str = "step-";
const REPLACED_SUFFIX: &str = ".replaced";

/// The checkpoints of one run folder; from [`RunDir::checkpoints`](crate::RunDir::checkpoints).
#[derive(Clone, Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    latest: PathBuf,
}

impl Checkpoints {
    pub(crate) fn new(folder: PathBuf, latest: PathBuf) -> Self {
        Self { folder, latest }
    }

    /// Saves `checkpoint`, points `latest` at it, and then removes those that `keep` gives up. Returns its
    /// folder. A checkpoint of the same step is replaced.
    ///
    /// # Errors
    /// On a full disk or any other failure nothing half-written is left and all earlier checkpoints are whole.
    /// (Only when nothing but the write of `latest` fails is the new checkpoint there already, whole as well.)
    /// A failure to remove an old checkpoint is logged as a warning: the new one is safe.
    pub fn save(&self, checkpoint: &Checkpoint, keep: &KeepPolicy) -> Result<PathBuf> {
        let parts = checkpoint.parts.iter().map(|(name, tensors)| Ok((&**name, Cow::Borrowed(tensors))));
        self.save_parts(checkpoint.step, parts, &checkpoint.state, keep)
    }

    /// Like [`save`](Self::save), with the parts one after the other: the next is asked for when the one before is on disk
    /// and let go, so that never more than one has to be in memory.
    ///
    /// # Errors
    /// As [`save`](Self::save), and the first error among the parts, after which nothing is left of the checkpoint.
    pub fn save_parts<'a, E: From<StoreError>>(
        &self,
        step: u64,
        parts: impl IntoIterator<Item = Result<Part<'a>, E>>,
        state: &serde_json::Value,
        keep: &KeepPolicy,
    ) -> Result<PathBuf, E> {
        fs::create_dir_all(&self.folder).map_err(StoreError::io(&self.folder, "create the folder"))?;
        let staging = atomic::staging_folder(&self.folder)?;
        contents::write(staging.path(), step, parts, state)?;
        Ok(self.publish(step, staging.path(), keep)?)
    }

    /// Makes the checkpoint in the folder `staging`, which is whole, that of `step`.
    fn publish(&self, step: u64, staging: &Path, keep: &KeepPolicy) -> Result<PathBuf> {
        let name = format!("{PREFIX}{step}");
        let destination = self.folder.join(&name);
        let replaced = self.folder.join(format!("{name}{REPLACED_SUFFIX}"));
        if destination.exists() {
            if replaced.exists() {
                atomic::remove_folder(&replaced)?;
            }
            fs::rename(&destination, &replaced).map_err(StoreError::io(&destination, "set aside"))?;
        }
        fs::rename(staging, &destination).map_err(StoreError::io(&destination, "rename into place"))?;
        atomic::sync_folder(&self.folder)?;
        atomic::write(&self.latest, format!("{name}\n").as_bytes())?;

        if let Err(err) = self.prune(step, keep) {
            tracing::warn!("old checkpoints stay on disk: {err}");
        }
        Ok(destination)
    }

    /// Reads the newest checkpoint that is whole. Those that are not are listed in [`Loaded::rejected`] and
    /// stay on disk.
    ///
    /// # Errors
    /// [`StoreError::NoCheckpoint`] if none was ever saved; [`StoreError::NoValidCheckpoint`] lists each and
    /// why.
    pub fn load_newest(&self) -> Result<Loaded> {
        self.load_newest_parts(|_| true)
    }

    /// Like [`load_newest`](Self::load_newest), reading only the parts whose names `wanted` picks. Of the
    /// others only the lengths are checked.
    ///
    /// # Errors
    /// As [`load_newest`](Self::load_newest).
    pub fn load_newest_parts(&self, wanted: impl Fn(&str) -> bool) -> Result<Loaded> {
        let candidates = self.newest_first()?;
        let mut rejected = self.dangling_latest(&candidates);
        for folder in candidates {
            match contents::read(&folder, &wanted) {
                Ok(checkpoint) => return Ok(Loaded { checkpoint, folder, rejected }),
                Err(reason) => rejected.push(Rejected { folder, reason: Box::new(reason) }),
            }
        }
        if rejected.is_empty() {
            Err(StoreError::NoCheckpoint { folder: self.folder.clone(), found: self.found_instead() })
        } else {
            Err(StoreError::NoValidCheckpoint { folder: self.folder.clone(), rejected })
        }
    }

    /// The steps that have a checkpoint, whole or not, ascending.
    ///
    /// # Errors
    /// If the folder cannot be listed. A run without checkpoints has none, which is no error.
    pub fn steps(&self) -> Result<Vec<u64>> {
        let mut steps: Vec<u64> = self.newest_first()?.iter().filter_map(|folder| step_of(folder)).collect();
        steps.reverse();
        steps.dedup();
        Ok(steps)
    }

    /// Removes what a killed process left.
    pub(crate) fn remove_leftovers(&self) -> Result<()> {
        if self.folder.exists() { atomic::remove_leftovers(&self.folder, Duration::ZERO) } else { Ok(()) }
    }

    /// All checkpoint folders; of one step, `step-N` before `step-N.replaced`.
    fn newest_first(&self) -> Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            result => result.map_err(StoreError::io(&self.folder, "list"))?,
        };
        let mut folders = Vec::new();
        for entry in entries {
            let path = entry.map_err(StoreError::io(&self.folder, "list"))?.path();
            if let Some(step) = step_of(&path) {
                folders.push((std::cmp::Reverse(step), path.extension().is_some(), path));
            }
        }
        folders.sort();
        Ok(folders.into_iter().map(|(_, _, path)| path).collect())
    }

    /// What there is where no checkpoint is, in words.
    fn found_instead(&self) -> String {
        match run::first_entry(&self.folder) {
            Ok(Some(name)) => format!("`{name}`"),
            Ok(None) => "an empty folder".to_owned(),
            Err(_) => "no such folder: the run has not saved one yet".to_owned(),
        }
    }

    /// A checkpoint that `latest` names and that is not there: somebody removed it, which must not pass unsaid.
    fn dangling_latest(&self, candidates: &[PathBuf]) -> Vec<Rejected> {
        let Ok(found) = fs::read_to_string(&self.latest) else { return Vec::new() };
        let folder = self.folder.join(found.trim());
        let step = step_of(&folder);
        let listed = candidates.iter().any(|candidate| step_of(candidate) == step);
        // It may have been saved since they were listed.
        if step.is_some() && (listed || folder.is_dir()) {
            return Vec::new();
        }
        let reason = StoreError::Latest { path: self.latest.clone(), found: found.trim().to_owned() };
        vec![Rejected { folder, reason: Box::new(reason) }]
    }

    fn prune(&self, current: u64, keep: &KeepPolicy) -> Result<()> {
        let prune = steps_to_prune(&self.steps()?, current, keep);
        for folder in self.newest_first()? {
            let step = step_of(&folder);
            let outdated = folder.extension().is_some() && step == Some(current);
            if outdated || step.is_some_and(|step| prune.contains(&step)) {
                atomic::remove_folder(&folder)?;
            }
        }
        Ok(())
    }
}

/// N of a folder named `step-N` or `step-N.replaced`.
pub(super) fn step_of(folder: &Path) -> Option<u64> {
    let name = folder.file_name()?.to_str()?;
    let name = name.strip_suffix(REPLACED_SUFFIX).unwrap_or(name);
    let digits = name.strip_prefix(PREFIX)?;
    // `parse` would take a sign and leading zeros, which no checkpoint of ours has.
    digits.parse().ok().filter(|step: &u64| step.to_string() == digits)
}
