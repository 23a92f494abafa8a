//! Everything that msn writes to disk: atomic files, checkpoints, run folders, metric logs.
//!
//! No other crate creates, renames or removes a file, so the promises are kept in one place: a reader sees
//! a whole file or none ([`atomic`]), a kill at any moment leaves the last checkpoint whole
//! ([`Checkpoints`]), and two processes never write to the same run ([`RunDir`]).
//!
//! ```
//! use std::collections::BTreeMap;
//! use msn_store::{Array, Checkpoint, KeepPolicy, RunDir};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scratch = tempfile::tempdir()?;
//! # let root = scratch.path().join("run");
//! let run = RunDir::create(&root)?;
//! run.write_config("seed = 0\n")?;
//!
//! let encoder = BTreeMap::from([("norm.weight".to_owned(), Array::new(vec![2], vec![1.0, 1.0]))]);
//! let checkpoint = Checkpoint {
//!     step: 100,
//!     parts: BTreeMap::from([("encoder".to_owned(), encoder)]),
//!     state: serde_json::json!({ "epoch": 1 }),
//! };
//! run.checkpoints().save(&checkpoint, &KeepPolicy::default())?;
//!
//! let loaded = RunDir::open(&root)?.checkpoints().load_newest()?;
//! assert_eq!(loaded.checkpoint, checkpoint);
//! # Ok(())
//! # }
//! ```

pub mod atomic;
mod cache;
mod checkpoint;
mod checksum;
mod error;
pub mod export;
mod foreign;
mod image_folder;
mod json_lines;
mod lock;
mod new_folder;
pub mod onnx;
mod positional;
mod row_cache;
mod run;
mod shard_folder;
mod tensors;

pub use cache::CacheFolder;
pub use checkpoint::{
    Checkpoint, Checkpoints, KeepPolicy, Loaded, Part, Rejected, TARGET_PART, steps_to_prune,
};
pub use error::{Result, StoreError};
pub use foreign::{ForeignFile, PickleError, Shapes};
pub use image_folder::ImageFolder;
pub use json_lines::{JsonLines, Skipped, SkippedLog};
pub use positional::read_exact_at;
pub use row_cache::RowCache;
pub use run::RunDir;
pub use shard_folder::ShardFolder;
pub use tensors::{Array, StateDict, read_description, read_safetensors, write_described, write_safetensors};
