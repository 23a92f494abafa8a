//! Shards and tables on a server: read through a cache of whole files, shard after shard.
//!
//! A file is downloaded before its images are read, the next ones while the present ones are used. What the files hold
//! (names, classes, places) is kept in the folder of lists, so that they are gone through once and not at every start.
//! A single image of a tar archive that is not at hand and not announced is fetched by itself; one of a table, with its
//! whole file, of which the latest is kept open.

mod fetch;
mod index;
mod open;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use msn_remote::{Patience, RemoteFile, is_remote};
use msn_store::CacheFolder;

use super::file::check_length;
use super::{Access, Dataset, Reading, has_extension, pattern, tar};
use crate::Error;
use fetch::Fetcher;
use open::Opener;

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
    /// Where each shard begins, and the end of the last.
    bounds: Vec<usize>,
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
        // A shard without images has no place in an order.
        let mut bounds = vec![0];
        for index in &indices {
            bounds.push(bounds.last().expect("not empty") + index.names.len());
        }
        if bounds.last() == Some(&0) {
            return Err(Error::NoImages { path: path.to_owned() });
        }
        let fetcher = Fetcher::new(opener, indices, access.lists.clone())?;
        Ok(Self { path: path.to_owned(), bounds, buffer: access.shuffle_buffer.max(1), fetcher })
    }

    /// The shard that holds an image, and its index there.
    fn locate(&self, index: usize) -> (usize, usize) {
        let shard = self.bounds.partition_point(|&start| start <= index) - 1;
        (shard, index - self.bounds[shard])
    }
}

/// Asks for the lengths and versions of all files, some at a time.
fn look_up(addresses: &[String], patience: &Patience) -> Result<Vec<RemoteFile>, Error> {
    fetch::in_parallel(addresses, |address| Ok(RemoteFile::open(address, patience)?))
}

impl Dataset for Remote {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> usize {
        *self.bounds.last().expect("one more than there are shards")
    }

    fn name(&self, index: usize) -> &str {
        let (shard, index) = self.locate(index);
        self.fetcher.index(shard).names.get(index)
    }

    fn label(&self, index: usize) -> Option<&str> {
        let (shard, index) = self.locate(index);
        self.fetcher.index(shard).labels.get(index)
    }

    fn read_into(&self, index: usize, max_bytes: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let (shard, index) = self.locate(index);
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
        let shards =
            self.bounds.windows(2).map(|bounds| bounds[0]..bounds[1]).filter(|shard| !shard.is_empty());
        Reading::ByShard { shards: shards.collect(), buffer: self.buffer }
    }

    fn will_read(&self, images: &[usize]) {
        let ahead = images.len().min(self.reading().ahead());
        let mut shards: Vec<usize> = Vec::new();
        let mut last = usize::MAX;
        for &image in &images[..ahead] {
            let shard = self.locate(image).0;
            if shard != last && !shards.contains(&shard) {
                shards.push(shard);
            }
            last = shard;
        }
        self.fetcher.announce(&shards);
    }
}

/// The default of [`Access::shards`].
pub(super) fn cache_of_user() -> Option<CacheFolder> {
    CacheFolder::of_user_within("shards", 50)
}

/// An opened shard.
type Images = Arc<dyn Dataset>;
