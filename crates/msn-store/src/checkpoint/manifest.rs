//! `manifest.json`: the files of a checkpoint with what each must look like.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Result, StoreError};

/// Raised whenever an older program would misread a new checkpoint.
const FORMAT: u32 = 1;

pub(super) const FILE_NAME: &str = "manifest.json";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    format: u32,
    pub(super) step: u64,
    pub(super) files: BTreeMap<String, FileSum>,
}

/// What one file must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileSum {
    pub(super) bytes: u64,
    pub(super) crc32: u32,
}

impl Manifest {
    pub(super) fn new(step: u64, files: BTreeMap<String, FileSum>) -> Self {
        Self { format: FORMAT, step, files }
    }

    pub(super) fn read(path: &Path) -> Result<Self> {
        /// Read first, so that another version is named as such and not as a missing field.
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        let bytes = fs::read(path).map_err(StoreError::io(path, "read"))?;
        let json_error =
            |source| StoreError::Json { path: path.into(), expected: "a checkpoint manifest", source };
        let Versioned { format: found } = serde_json::from_slice(&bytes).map_err(json_error)?;
        if found != FORMAT {
            return Err(StoreError::Format { path: path.into(), expected: FORMAT, found });
        }
        serde_json::from_slice(&bytes).map_err(json_error)
    }
}
