//! From a file on a server to its images.

use std::path::Path;
use std::sync::Arc;

use msn_remote::RemoteFile;
use msn_store::CacheFolder;

use super::super::file::SharedFile;
use super::super::parquet::{Parquet, SharedCache};
use super::super::shards::shard_names;
use super::super::tar::{Place, Tar};
use super::{Images, Kind};
use crate::Error;

/// The files, and the cache that they are downloaded to.
pub(super) struct Opener {
    files: Vec<RemoteFile>,
    /// What stands before the names of the images of each file.
    names: Vec<String>,
    kind: Kind,
    cache: CacheFolder,
    pages: SharedCache,
}

/// A shard that is at hand.
pub(super) struct Opened {
    pub(super) images: Images,
    /// Of the images of an archive, but for those that are lost; a table has none.
    pub(super) places: Vec<Place>,
    /// Why images of an archive are lost, if any are.
    pub(super) damage: Option<String>,
}

impl Opener {
    pub(super) fn new(files: Vec<RemoteFile>, kind: Kind, cache: CacheFolder) -> Self {
        let addresses: Vec<&str> = files.iter().map(RemoteFile::address).collect();
        let names = shard_names(&addresses);
        Self { files, names, kind, cache, pages: SharedCache::default() }
    }

    /// Number of shards.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// What stands before the names of the images of a shard.
    pub(super) fn name(&self, shard: usize) -> &str {
        &self.names[shard]
    }

    pub(super) fn file(&self, shard: usize) -> &RemoteFile {
        &self.files[shard]
    }

    /// Downloads a shard if it is not in the cache, and opens it.
    pub(super) fn open(&self, shard: usize) -> Result<Opened, Error> {
        let (remote, name) = (&self.files[shard], &self.names[shard]);
        let file = SharedFile::from_file(Path::new(remote.address()), remote.cached(&self.cache)?)?;
        match self.kind {
            Kind::Archive => {
                let images = Tar::of_shard(file, name)?;
                let places = images.places().to_vec();
                let damage = images.damage().map(ToOwned::to_owned);
                Ok(Opened { images: Arc::new(images), places, damage })
            }
            Kind::Table => {
                let images = Arc::new(Parquet::open(file, name, shard, &self.pages)?);
                Ok(Opened { images, places: Vec::new(), damage: None })
            }
        }
    }

    /// Removes the copy of a shard from the cache, so that it is downloaded again.
    pub(super) fn forget(&self, shard: usize) -> Result<(), Error> {
        Ok(self.cache.remove(&self.files[shard].name())?)
    }
}
