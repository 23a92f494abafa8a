//! What a shard holds, gone through once and kept.

use std::path::Path;

use msn_store::CacheFolder;

use super::super::names::{Labels, Names};
use super::super::tar::Place;
use super::super::{file_name, fingerprint};
use super::fetch::{Fetcher, in_parallel};
use crate::Error;

const VERSION: u32 = 1;

/// The names, classes and, in an archive, places of the images of a shard.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct ShardIndex {
    version: u32,
    pub(super) names: Names,
    pub(super) labels: Labels,
    /// Empty for a table, whose images have no place of their own.
    pub(super) places: Vec<Place>,
}

/// The indices of all shards; those that are not kept in `lists` yet are made from the shards.
pub(super) fn of_all(fetcher: &Fetcher, lists: Option<&CacheFolder>) -> Result<Vec<ShardIndex>, Error> {
    let shards: Vec<usize> = (0..fetcher.len()).collect();
    in_parallel(&shards, |&shard| {
        // The name stands for the content and for what the images are called: nothing kept under it is ever stale.
        let (file, called) = (fetcher.file(shard), fetcher.name(shard));
        let name = match called == file_name(Path::new(file.address())) {
            true => format!("shard-{}.json", file.name()),
            false => format!("shard-{}-{:016x}.json", file.name(), fingerprint(called.bytes())),
        };
        if let Some(kept) = lists.and_then(|lists| load(lists, &name)) {
            return Ok(kept);
        }
        tracing::info!("{}: reading what it holds", file.address());
        let (images, places) = fetcher.open(shard)?;
        let indices = 0..images.len();
        let index = ShardIndex {
            version: VERSION,
            names: indices.clone().map(|image| images.name(image)).collect(),
            labels: indices.map(|image| images.label(image)).collect(),
            places,
        };
        if let Some(lists) = lists {
            let bytes = serde_json::to_vec(&index).expect("names and numbers are JSON");
            if let Err(e) = lists.write(&name, &bytes) {
                tracing::warn!("what a shard holds is not kept: {e}");
            }
        }
        Ok(index)
    })
}

fn load(lists: &CacheFolder, name: &str) -> Option<ShardIndex> {
    let bytes = lists.read(name).ok()??;
    let index: ShardIndex = serde_json::from_slice(&bytes).ok()?;
    (index.version == VERSION && index.labels.len() == index.names.len()).then_some(index)
}
