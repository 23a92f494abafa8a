//! What a folder of shards says about itself: `shards.json`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{PackConfig, ShardSize};
use crate::sources::fingerprint;
use crate::{Dataset, FULL_RANGE, Skipped};

/// Where the images of a folder of shards come from, and how far packing them is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackRecord {
    /// The source, as it was named.
    pub source: String,
    /// Images of the source.
    pub images: usize,
    /// Fingerprint of their names and classes in order, hexadecimal.
    pub names: String,
    /// Seed of the order; `None` for that of the source.
    pub shuffle: Option<u64>,
    /// When a shard is full.
    pub shard_size: ShardSize,
    /// Shorter side in pixels of what was larger; `None` for images as they were.
    #[serde(default)]
    pub shorter_side: Option<u32>,
    /// The samples of 16-bit images that became black and white where they were made smaller.
    #[serde(default = "full_range")]
    pub levels: [u16; 2],
    /// Names of the classes; a class's number (`cls`) is its place here.
    pub classes: Vec<String>,
    /// Images of the order that are packed or skipped.
    pub next: usize,
    /// Whether that is all of them.
    pub complete: bool,
    /// The finished shards.
    pub shards: Vec<ShardRecord>,
    /// Images that cannot be decoded, which no shard holds.
    pub skipped: Vec<Skipped>,
}

/// A finished shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardRecord {
    /// Its name in the folder.
    pub file: String,
    /// Images that it holds.
    pub images: usize,
    /// How many of them were made smaller.
    #[serde(default)]
    pub shrunk: usize,
    /// Its length in bytes.
    pub bytes: u64,
}

fn full_range() -> [u16; 2] {
    FULL_RANGE
}

impl PackRecord {
    /// The record of a job that has not begun.
    pub fn new(dataset: &dyn Dataset, config: &PackConfig) -> Self {
        let indices = 0..dataset.len();
        let described = indices.clone().flat_map(|index| {
            let label = dataset.label(index).unwrap_or_default();
            [dataset.name(index), label].into_iter().flat_map(|text| text.bytes().chain([0]))
        });
        let names = format!("{:016x}", fingerprint(described));
        let classes: BTreeSet<&str> = indices.filter_map(|index| dataset.label(index)).collect();
        Self {
            source: dataset.path().display().to_string(),
            images: dataset.len(),
            names,
            shuffle: config.shuffle,
            shard_size: config.size,
            shorter_side: config.shorter_side,
            levels: config.limits.levels,
            classes: classes.into_iter().map(ToOwned::to_owned).collect(),
            next: 0,
            complete: false,
            shards: Vec::new(),
            skipped: Vec::new(),
        }
    }

    /// Whether this record is one of the job that `job`, a new one, describes. The source may have another path.
    ///
    /// # Errors
    /// What differs: its name, its value here, and that of `job`.
    pub fn check(&self, job: &Self) -> Result<(), (&'static str, String, String)> {
        let order = |seed: Option<u64>| {
            seed.map_or("that of the source".to_owned(), |seed| format!("shuffled with seed {seed}"))
        };
        let size = |side: Option<u32>| {
            side.map_or("any".to_owned(), |side| format!("at most {side} px on the shorter side"))
        };
        let facts = |record: &Self| {
            [
                ("number of images", record.images.to_string()),
                ("names and classes of the images", format!("fingerprint {}", record.names)),
                ("order", order(record.shuffle)),
                ("size of the shards", record.shard_size.to_string()),
                ("size of the images", size(record.shorter_side)),
                ("range of 16-bit samples", format!("{:?}", record.levels)),
            ]
        };
        let differing = facts(self).into_iter().zip(facts(job)).find(|(own, others)| own != others);
        differing.map_or(Ok(()), |((what, own), (_, others))| Err((what, own, others)))
    }
}
