//! What a shard holds, gone through once and kept.

use std::path::Path;

use msn_store::CacheFolder;

use super::super::names::{Labels, Names};
use super::super::parallel::in_parallel;
use super::super::tar::Place;
use super::super::{file_name, fingerprint};
use super::open::{Opened, Opener};
use crate::Error;

const VERSION: u32 = 3;
/// Shards gone through at a time: each is downloaded for it.
const AT_A_TIME: usize = 4;

/// The names, classes and, in an archive, places of the images of a shard.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct ShardIndex {
    version: u32,
    pub(super) names: Names,
    pub(super) labels: Labels,
    /// Empty for a table, whose images have no place of their own.
    pub(super) places: Vec<Place>,
    /// Why images are lost. What is kept is never of a damaged shard: the copy may be at fault, and another one whole.
    #[serde(skip)]
    damage: Option<String>,
}

impl ShardIndex {
    fn of(opened: &Opened) -> Self {
        let Opened { images, places, damage } = opened;
        let indices = 0..images.len();
        Self {
            version: VERSION,
            names: indices.clone().map(|image| images.name(image)).collect(),
            labels: indices.map(|image| images.label(image)).collect(),
            places: places.clone(),
            damage: damage.clone(),
        }
    }

    /// Why an image is lost, if it is.
    pub(super) fn loss(&self, image: usize) -> Option<&str> {
        self.damage.as_deref().filter(|_| image >= self.places.len())
    }

    /// Where a shard differs from this, if it does: what this says and what the shard has. An image is read by its position,
    /// so that otherwise it would go by the name and the class of another one.
    pub(super) fn difference(&self, opened: &Opened) -> Option<(String, String)> {
        let images = &opened.images;
        let [expected, found] = [self.names.len(), images.len()];
        if expected != found {
            return Some((format!("{expected} images"), found.to_string()));
        }
        let image = (0..found).find(|&image| {
            self.names.get(image) != images.name(image)
                || self.labels.get(image) != images.label(image)
                || self.places.get(image) != opened.places.get(image)
        })?;
        let shown = |name: &str, label: Option<&str>, place: Option<&Place>| {
            let class = label.map_or("no class".to_owned(), |label| format!("class `{label}`"));
            let place =
                place.map_or(String::new(), |(offset, length)| format!(", {length} bytes at {offset}"));
            format!("`{name}` ({class}{place})")
        };
        Some((
            shown(self.names.get(image), self.labels.get(image), self.places.get(image)),
            shown(images.name(image), images.label(image), opened.places.get(image)),
        ))
    }
}

/// The name that the index of a shard is kept under. It stands for the content and for what the images are called: nothing
/// kept under it is ever stale.
pub(super) fn kept_as(opener: &Opener, shard: usize) -> String {
    let (file, called) = (opener.file(shard), opener.name(shard));
    match called == file_name(Path::new(file.address())) {
        true => format!("shard-{}.json", file.name()),
        false => format!("shard-{}-{:016x}.json", file.name(), fingerprint(called.bytes())),
    }
}

/// The indices of all shards; those that are not kept in `lists` yet are made from the shards.
pub(super) fn of_all(opener: &Opener, lists: Option<&CacheFolder>) -> Result<Vec<ShardIndex>, Error> {
    let shards: Vec<usize> = (0..opener.len()).collect();
    in_parallel(AT_A_TIME, &shards, |&shard| {
        let name = kept_as(opener, shard);
        if let Some(kept) = lists.and_then(|lists| load(lists, &name)) {
            return Ok(kept);
        }
        tracing::info!("{}: reading what it holds", opener.file(shard).address());
        let index = ShardIndex::of(&opener.open(shard)?);
        if let Some(lists) = lists.filter(|_| index.damage.is_none()) {
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
