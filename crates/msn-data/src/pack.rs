//! Any source to tar shards in the WebDataset convention.
//!
//! A sample is `KEY.jpg` (or the ending that its content asks for, whatever the file was called) and `KEY.json` with its
//! name in the source and, where it has one, the name of its class (`label`) and that class's number (`cls`). Keys are
//! places in the order of packing, so that none comes twice. Encoded images are copied as they are, unless they are to be
//! made smaller; bare pixels (CIFAR, IDX) become PNG.

mod content;
mod record;
mod sample;

use std::fmt;
use std::io::{self, Write};

use msn_store::{ShardFolder, StoreError};
use serde::{Deserialize, Serialize};

pub use record::{PackRecord, ShardRecord};

use crate::{Dataset, Error, Limits, Skipped};
use sample::{Sample, Samples};

/// When a shard is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardSize {
    /// Most images of a shard, 1 or more; `None` for any number.
    pub images: Option<usize>,
    /// Most bytes of a shard, if not one image alone has more; `None` for any number.
    pub bytes: Option<u64>,
}

impl ShardSize {
    /// Whether a shard of `images` is full before one more makes it `bytes` long.
    fn is_full(&self, images: usize, bytes: u64) -> bool {
        let enough = self.images.is_some_and(|most| images >= most);
        images > 0 && (enough || self.bytes.is_some_and(|most| bytes > most))
    }
}

impl fmt::Display for ShardSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.images, self.bytes) {
            (Some(images), Some(bytes)) => write!(f, "{images} images or {bytes} bytes"),
            (Some(images), None) => write!(f, "{images} images"),
            (None, Some(bytes)) => write!(f, "{bytes} bytes"),
            (None, None) => write!(f, "any"),
        }
    }
}

impl Default for ShardSize {
    /// 10,000 images or 1 GiB, whichever comes first: large enough to be read in one go, small enough for a cache.
    fn default() -> Self {
        Self { images: Some(10_000), bytes: Some(1 << 30) }
    }
}

/// How to pack.
#[derive(Clone, Copy, Debug)]
pub struct PackConfig {
    /// When a shard is full.
    pub size: ShardSize,
    /// Seed of the order; `None` for the order of the source. Shards are read one after the other in training, so those
    /// of an ordered source would fill batches with few classes.
    pub shuffle: Option<u64>,
    /// Leaves out, as broken ones, images that are too large or not there; else packing stops there, since a higher limit or
    /// the file brings them back.
    pub skip_unreadable: bool,
    /// Images with a longer shorter side are shrunk to this one, in pixels, 1 or more: what was JPEG stays JPEG, all else
    /// becomes PNG of 8 bits a channel ([`Limits::levels`]). `None` leaves every image as it is.
    pub shorter_side: Option<u32>,
    /// Worker threads that read and check images, 1 or more.
    pub workers: usize,
    /// Guards against huge images.
    pub limits: Limits,
}

/// Packs `dataset` into `folder`, going on where `record` stops; `progress` is told how many images are done. The record
/// is written with every shard, or a thousandth of them behind. Images that cannot be decoded are left out and listed in it.
///
/// # Errors
/// [`Error::Unreadable`] if an image is too large or not there and [`PackConfig::skip_unreadable`] is not set, and
/// [`Error::OutOfReach`] if a disk or a server fails still after a while, set or not: the shards before it stay, and the job
/// can be taken up again. If there are too many images ([`Error::TooManyImages`]), a shard cannot be written, or the worker
/// threads cannot be started.
///
/// # Panics
/// If `record` is not one of this job (see [`PackRecord::check`]).
pub fn pack(
    dataset: &dyn Dataset,
    folder: &ShardFolder,
    config: &PackConfig,
    mut record: PackRecord,
    mut progress: impl FnMut(usize),
) -> Result<PackRecord, Error> {
    let mut samples = Samples::new(dataset, config, &record.classes, record.next)?;
    // So that a job that was killed early can be taken up again.
    folder.write_record(&record)?;
    let mut recorded = record.shards.len();
    while !record.complete {
        let skipped = record.skipped.len();
        match next_shard(folder, &mut samples, config.size, &mut record, &mut progress) {
            Ok(Some(shard)) => record.shards.push(shard),
            Ok(None) => record.complete = true,
            Err(error) => {
                // Those that this shard would have been without are met again.
                record.skipped.truncate(skipped);
                if let Err(unwritten) = folder.write_record(&record) {
                    tracing::warn!("{unwritten}: packing goes on from the shards that it knows of");
                }
                return Err(error);
            }
        }
        record.next = samples.position();
        if record.complete || is_record_due(recorded, record.shards.len()) {
            folder.write_record(&record)?;
            recorded = record.shards.len();
        }
    }
    Ok(record)
}

/// Whether the record, which names `recorded` of the `shards` that there are, is to be written again: with every shard up to
/// the thousandth, and then before it is a thousandth behind. Written with each, it would take time by the square of the
/// shards and of the broken images.
fn is_record_due(recorded: usize, shards: usize) -> bool {
    shards - recorded > recorded / 1000
}

/// Writes the shard after those of `record`; `None` if no sample is left. Broken images are added to the record.
fn next_shard(
    folder: &ShardFolder,
    samples: &mut Samples<'_>,
    size: ShardSize,
    record: &mut PackRecord,
    progress: &mut impl FnMut(usize),
) -> Result<Option<ShardRecord>, Error> {
    if samples.peek(&mut record.skipped)?.is_none() {
        return Ok(None);
    }
    let file = format!("shards-{:06}.tar", record.shards.len());
    let mut shard = ShardRecord { file: file.clone(), images: 0, shrunk: 0, bytes: 0 };
    let fill =
        |out: &mut dyn Write| fill_shard(out, samples, size, &mut record.skipped, &mut shard, progress);
    folder.write_shard(&file, fill).map_err(of_sample)?;
    shard.bytes += END_OF_ARCHIVE;
    Ok(Some(shard))
}

/// Writes samples until `shard`, which counts them, is full or none is left.
///
/// # Errors
/// Any, so that no part of a shard is left behind; that of a sample is in the [`io::Error`].
fn fill_shard(
    out: &mut dyn Write,
    samples: &mut Samples<'_>,
    size: ShardSize,
    skipped: &mut Vec<Skipped>,
    shard: &mut ShardRecord,
    progress: &mut impl FnMut(usize),
) -> io::Result<()> {
    let mut archive = tar::Builder::new(out);
    while let Some(sample) = samples.peek(skipped).map_err(io::Error::other)? {
        let bytes = shard.bytes + sample.archived_bytes();
        if size.is_full(shard.images, bytes) {
            break;
        }
        append(&mut archive, sample)?;
        shard.images += 1;
        shard.shrunk += usize::from(sample.is_shrunk());
        shard.bytes = bytes;
        samples.advance();
        progress(samples.position());
    }
    archive.into_inner()?.flush()
}

/// The error of a sample, where that is what kept a shard from being written.
fn of_sample(error: StoreError) -> Error {
    match error {
        StoreError::Io { path, tried, source } => {
            source.downcast().unwrap_or_else(|source| StoreError::Io { path, tried, source }.into())
        }
        error => error.into(),
    }
}

/// Two empty blocks.
const END_OF_ARCHIVE: u64 = 1024;

/// Adds the entries of a sample. Owner and time are left out, so that the same images give the same bytes.
fn append(archive: &mut tar::Builder<&mut dyn Write>, sample: &Sample) -> io::Result<()> {
    for (ending, bytes) in sample.entries() {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, format!("{}.{ending}", sample.key), bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_written_with_the_first_shards_and_then_a_thousand_times_while_their_number_grows_by_e() {
        let (mut recorded, mut written) = (0, 0);
        for shards in 1..=100_000 {
            assert!(shards - recorded <= 1 + shards / 1000, "{recorded} of {shards}");
            if is_record_due(recorded, shards) {
                (recorded, written) = (shards, written + 1);
            }
            assert!(shards > 1000 || recorded == shards, "{recorded} of {shards}");
        }
        // 1000 + 1000 ln(100), with room for a rounding of each.
        assert!((1000..5605).contains(&written), "{written}");
    }
}
