//! Checkpoints: everything a run needs to continue as if it had never stopped.

mod catalog;
mod contents;
mod keep;
mod manifest;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

pub use catalog::Checkpoints;
pub use keep::{KeepPolicy, steps_to_prune};

use crate::error::{Result, StoreError};
use crate::tensors::StateDict;

/// The part that holds the momentum encoder: the one whose features are used.
pub const TARGET_PART: &str = "target";

/// The state of a run after `step` training steps.
///
/// On disk it is a folder `step-N`: one safetensors file a part, `state.json`, and `manifest.json` with the
/// length and CRC-32 of each.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Training steps done.
    pub step: u64,
    /// Tensors by part (`encoder`, `target`, `head`, ...), each part a file of its own.
    pub parts: BTreeMap<String, StateDict>,
    /// What is not a tensor: schedules, data cursor, seeds. Numbers come back with the same bits.
    pub state: serde_json::Value,
}

impl Checkpoint {
    /// Reads one checkpoint folder, such as `RUN/checkpoints/step-100`, and checks every byte of it.
    ///
    /// # Errors
    /// What is missing or corrupt, by file.
    pub fn read(folder: &Path) -> Result<Self> {
        Self::read_parts(folder, |_| true)
    }

    /// Like [`read`](Self::read), with the parts alone whose names `wanted` picks. Of the others only the lengths are checked.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_parts(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Self> {
        contents::read(folder, wanted)
    }
}

/// A part of a checkpoint that is about to be saved: its name and its tensors.
pub type Part<'a> = (&'a str, Cow<'a, StateDict>);

/// A checkpoint read from a run, with what had to be passed over to find it.
#[derive(Debug)]
pub struct Loaded {
    /// The newest checkpoint that is whole.
    pub checkpoint: Checkpoint,
    /// Its folder.
    pub folder: PathBuf,
    /// Newer checkpoints that cannot be read, newest first; to be shown to the user. They stay on disk.
    pub rejected: Vec<Rejected>,
}

/// A checkpoint that cannot be read, and why. Displayed as one line.
#[derive(Debug)]
pub struct Rejected {
    /// Its folder.
    pub folder: PathBuf,
    /// What is wrong with it.
    pub reason: Box<StoreError>,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed over: {}", self.folder.display(), self.reason)
    }
}
