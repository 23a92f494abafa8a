//! Shards and tables on a server: read through a cache of whole files, shard after shard.
//!
//! A file is downloaded before its images are read, the next ones while the present ones are used. What the files hold
//! (names, classes, places) is kept in the folder of lists, so that they are gone through once and not at every start.
//! A single image of a tar archive that is not at hand and not announced is fetched by itself; one of a table, with its
//! whole file, of which the latest is kept open.

mod fetch;
mod index;
mod open;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use msn_remote::{Patience, RemoteFile, is_remote};
use msn_store::CacheFolder;

use super::bounds::Bounds;
use super::file::check_length;
use super::parallel::in_parallel;
use super::{Access, Dataset, Reading, ahead_of, has_extension, parquet, pattern, tar};
use crate::Error;
use fetch::Fetcher;
use open::Opener;

/// Files looked up at a time: each takes one short answer, so that what counts is how long that is under way. 100,000 files
/// at 50 ms take three minutes.
const LOOKED_UP_AT_A_TIME: usize = 32;

/// True for `http(s)://`, `s3://` and `gs://` addresses.
pub(super) fn accepts(path: &Path) -> bool {
    path.to_str().is_some_and(is_remote)
}

/// What the files hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Archive,
    Table,
}

/// The images of the files that an address with a pattern names.
pub(super) struct Remote {
    path: PathBuf,
    bounds: Bounds,
    /// Images that are shuffled together.
    buffer: usize,
    fetcher: Fetcher,
}

impl Remote {
    pub(super) fn open(path: &Path, access: &Access) -> Result<Self, Error> {
        let text = path.to_str().expect("an address is text");
        let kind = match path {
            path if has_extension(path, "parquet") => Kind::Table,
            path if tar::accepts(path) => Kind::Archive,
            _ => {
                return Err(Error::expected(path, "the address of .tar or .parquet files", "another ending"));
            }
        };
        let Some(cache) = &access.shards else {
            let expected = "a folder to keep shards in (set MSN_CACHE)";
            return Err(Error::expected(path, expected, "none"));
        };
        let files = look_up(&pattern::expand(text)?, &access.patience)?;
        let opener = Opener::new(files, kind, cache.clone());
        let indices = index::of_all(&opener, access.lists.as_ref())?;
        let bounds: Bounds = indices.iter().map(|index| index.names.len()).collect();
        if bounds.len() == 0 {
            return Err(match kind {
                Kind::Archive => Error::no_files(path),
                Kind::Table => Error::no_images(path, parquet::ROWS),
            });
        }
        let fetcher = Fetcher::new(opener, indices, access.lists.clone())?;
        Ok(Self { path: path.to_owned(), bounds, buffer: access.shuffle_buffer.max(1), fetcher })
    }
}

/// Asks for the lengths and versions of all files, some at a time.
fn look_up(addresses: &[String], patience: &Patience) -> Result<Vec<RemoteFile>, Error> {
    in_parallel(LOOKED_UP_AT_A_TIME, addresses, |address| Ok(RemoteFile::open(address, patience)?))
}

impl Dataset for Remote {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> usize {
        self.bounds.len()
    }

    fn name(&self, index: usize) -> &str {
        let (shard, index) = self.bounds.locate(index);
        self.fetcher.index(shard).names.get(index)
    }

    fn label(&self, index: usize) -> Option<&str> {
        let (shard, index) = self.bounds.locate(index);
        self.fetcher.index(shard).labels.get(index)
    }

    fn read_into(&self, index: usize, max_bytes: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let (shard, index) = self.bounds.locate(index);
        let kept = self.fetcher.index(shard);
        if let Some(reason) = kept.loss(index) {
            let shard = self.fetcher.file(shard).address().into();
            return Err(Error::LostImages { shard, reason: reason.to_owned() });
        }
        let place = kept.places.get(index);
        match (self.fetcher.at_hand(shard), place) {
            (Some(images), _) => images.read_into(index, max_bytes, bytes),
            (None, _) if self.fetcher.is_announced(shard) => {
                self.fetcher.fetch(shard)?.read_into(index, max_bytes, bytes)
            }
            (None, Some(&(offset, length))) => {
                check_length(Path::new(kept.names.get(index)), length as u64, max_bytes)?;
                let range = offset..offset + length as u64;
                Ok(self.fetcher.file(shard).read_range(range, bytes)?)
            }
            // A table has no images that could be read by themselves.
            (None, None) => self.fetcher.for_now(shard)?.read_into(index, max_bytes, bytes),
        }
    }

    fn reading(&self) -> Reading {
        // A shard without images has no place in an order.
        let shards = self.bounds.ranges().filter(|shard| !shard.is_empty());
        Reading::ByShard { shards: shards.collect(), buffer: self.buffer }
    }

    fn will_read(&self, images: &[usize]) {
        let ahead = images.len().min(ahead_of(self.buffer));
        let mut shards: Vec<usize> =
            images[..ahead].iter().map(|&image| self.bounds.locate(image).0).collect();
        let mut seen = HashSet::new();
        shards.retain(|&shard| seen.insert(shard));
        self.fetcher.announce(&shards);
    }
}

/// The default of [`Access::shards`].
pub(super) fn cache_of_user() -> Option<CacheFolder> {
    CacheFolder::of_user_within("shards", 50)
}

/// An opened shard.
type Images = Arc<dyn Dataset>;
