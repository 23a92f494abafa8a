//! What can go wrong between a path and a batch.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use crate::Skipped;
use crate::sources::IMAGE_EXTENSIONS;

/// A failure of a dataset or of the loader. Broken single images are no errors of this kind: they are skipped and
/// reported (see [`Skipped`](crate::Skipped)) until there are too many.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused to read something.
    #[error("{}: cannot read: {source}", path.display())]
    Io {
        /// What was to be read.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The path is of no kind that a source reads.
    #[error("{}: expected {expected}, found {found}", path.display())]
    UnknownSource {
        /// The path as given.
        path: PathBuf,
        /// The sources there are.
        expected: String,
        /// What the path is.
        found: String,
    },
    /// The source holds no image.
    #[error("{}: no image found: expected {expected}", path.display())]
    NoImages {
        /// The path as given.
        path: PathBuf,
        /// What it should hold.
        expected: String,
    },
    /// A file is not what its kind or its neighbours promise.
    #[error("{}: expected {expected}, found {found}", path.display())]
    Unexpected {
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A line of a file is not what its kind promises.
    #[error("{}, line {line}: expected {expected}, found {found}", path.display())]
    InLine {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// An encoded image is longer than allowed.
    #[error("{}: expected at most {limit} bytes of image file (max_file_mib), found {found}", path.display())]
    TooManyBytes {
        /// The file, or the name of the image in its source.
        path: PathBuf,
        /// The limit.
        limit: usize,
        /// The length.
        found: u64,
    },
    /// A Parquet file is not one or is damaged.
    #[error("{}: not a readable Parquet file: {reason}", path.display())]
    MalformedParquet {
        /// The file.
        path: PathBuf,
        /// What the reader stumbled on.
        reason: String,
    },
    /// Stands for the images that a damaged shard should hold.
    #[error("{}: images are lost: {reason}", shard.display())]
    LostImages {
        /// The shard.
        shard: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Stands for the images of a shard that its server does not give.
    #[error("{}: not fetched: {reason}", shard.display())]
    ShardNotFetched {
        /// The shard.
        shard: PathBuf,
        /// Why.
        reason: String,
        /// Whether the server or a disk failed, rather than that the shard is not there or damaged.
        outage: bool,
    },
    /// A shard of a server does not hold what its index says, which was kept by an earlier start.
    #[error(
        "{}: the list of what it holds does not fit its content: expected {expected}, found {found}; both are removed from \
         the cache and made anew by the next start",
        shard.display()
    )]
    ShardChanged {
        /// The shard.
        shard: PathBuf,
        /// The first image that differs as the index says, or their number.
        expected: String,
        /// The same as the shard says.
        found: String,
    },
    /// An image that was asked for cannot be used; where images are packed, one that is too large or not there, since leaving it
    /// out would leave it out for good.
    #[error("{skipped}")]
    Unreadable {
        /// The image and the reason.
        skipped: Skipped,
    },
    /// A disk or a server fails, and does so still after a while.
    #[error(
        "{}: {image}; the disk or the server failed each time it was asked, and without this image the result would be \
         another one: start again once it can be read, a training run with --resume (an empty file in the place of one \
         that is lost is left out like any broken image)",
        data.display()
    )]
    OutOfReach {
        /// The data.
        data: PathBuf,
        /// The image and the latest failure.
        image: Skipped,
    },
    /// The tar file ends inside an entry.
    #[error(
        "{}: the archive is truncated: entry `{entry}` needs bytes up to {needed}, found {found} after {complete} complete images",
        path.display()
    )]
    TruncatedTar {
        /// The tar file.
        path: PathBuf,
        /// Name of the entry that is cut, or of the last one before the cut.
        entry: String,
        /// Length in bytes that the file would need.
        needed: u64,
        /// Length of the file in bytes.
        found: u64,
        /// Images found whole before the cut.
        complete: usize,
    },
    /// The tar file is not a tar file or is damaged.
    #[error("{}: not a readable tar archive after {complete} complete images: {reason}", path.display())]
    MalformedTar {
        /// The tar file.
        path: PathBuf,
        /// Images found whole before the damage.
        complete: usize,
        /// What the reader stumbled on.
        reason: String,
    },
    /// The tar file is compressed, so its images cannot be read at random.
    #[error(
        "{}: expected an uncompressed tar archive, found {format} data: decompress it first (`{command}`)",
        path.display()
    )]
    CompressedTar {
        /// The file.
        path: PathBuf,
        /// Name of the compression.
        format: &'static str,
        /// A command that decompresses it.
        command: &'static str,
    },
    /// A file on a server cannot be read.
    #[cfg(feature = "remote")]
    #[error(transparent)]
    Remote(#[from] msn_remote::Error),
    /// A file cannot be written.
    #[error(transparent)]
    Store(#[from] msn_store::StoreError),
    /// A configuration value is out of its range.
    #[error("{field}: expected {expected}, found {found}")]
    Config {
        /// The field, by its name in the configuration.
        field: &'static str,
        /// The range.
        expected: String,
        /// The value.
        found: String,
    },
    /// A batch would need more images than there are.
    #[error("train.batch_size: expected at most {images}, the number of images in {}, found {batch_size}{}", data.display(), alone(*.images))]
    BatchLargerThanData {
        /// The data.
        data: PathBuf,
        /// Images asked for in one batch.
        batch_size: usize,
        /// Images in the data.
        images: usize,
    },
    /// More images than can be put in a random order.
    #[error("{}: expected at most {limit} images, found {images}: use a part of them", data.display())]
    TooManyImages {
        /// The data.
        data: PathBuf,
        /// Most images.
        limit: u32,
        /// Images in the data.
        images: usize,
    },
    /// More broken images than the configuration allows.
    #[error(
        "{}: {skipped} of {images} images could not be read, expected at most {allowed} (data.max_skipped = {max_skipped}); \
         the last one: {last}; repair or remove them, or set data.max_skipped higher (1 allows any number) to go on \
         without them",
        data.display()
    )]
    TooManySkipped {
        /// The data.
        data: PathBuf,
        /// Broken images so far in this run.
        skipped: usize,
        /// Images in the data.
        images: usize,
        /// Broken images allowed.
        allowed: usize,
        /// The fraction that allows them.
        max_skipped: f64,
        /// Path and reason of the latest.
        last: String,
        /// Those of the last batch, which no batch has reported.
        new: Vec<Skipped>,
    },
    /// Too few images work to fill even one batch.
    #[error(
        "{}: only {usable} of {images} images can be read, expected at least train.batch_size = {batch_size} to fill a batch; the last broken one: {last}; repair them{}",
        data.display(),
        or_smaller_batches(*.usable)
    )]
    TooFewUsable {
        /// The data.
        data: PathBuf,
        /// Images that work.
        usable: usize,
        /// Images in the data.
        images: usize,
        /// Images in a batch.
        batch_size: usize,
        /// Path and reason of the latest broken one.
        last: String,
        /// Those of the last batch, which no batch has reported.
        new: Vec<Skipped>,
    },
    /// A loader was asked for more batches after an error.
    #[error(
        "{}: expected no more batches to be asked for, since the loader ended: {reason}; a new one goes on from the cursor of the \
         last batch",
        data.display()
    )]
    LoaderEnded {
        /// The data.
        data: PathBuf,
        /// The error that ended it.
        reason: String,
    },
    /// A cursor points outside the data, so it belongs to another dataset or batch size.
    #[error(
        "cursor: expected a step below {batches} (batches of an epoch) and images below {images}, found step {step} and image {image}: was it saved with other data or another batch size?"
    )]
    CursorOutOfRange {
        /// Batches of an epoch.
        batches: u64,
        /// Images in the data.
        images: usize,
        /// The cursor's step.
        step: u64,
        /// The cursor's largest image index.
        image: usize,
    },
    /// The worker threads could not be started.
    #[error("cannot start {workers} worker threads: {reason}")]
    Workers {
        /// Threads asked for.
        workers: usize,
        /// The system's reason.
        reason: String,
    },
}

/// Batch norm needs two.
fn alone(images: usize) -> &'static str {
    if images < 2 { "; a training takes at least 2 images" } else { "" }
}

fn or_smaller_batches(usable: usize) -> String {
    if usable < 2 { String::new() } else { format!(", or set train.batch_size={usable} or less") }
}

impl Error {
    /// Why an image cannot be used, told by the error of reading it.
    pub(crate) fn cause(&self) -> Cause {
        match self {
            Self::Io { source, .. } if is_about_the_file(source) => Cause::Absent,
            Self::Io { .. } => Cause::Disk,
            Self::ShardNotFetched { outage: false, .. } => Cause::Absent,
            // A new start reads these images, so that leaving them out would be for no reason that lasts.
            Self::ShardNotFetched { .. } | Self::ShardChanged { .. } => Cause::Server,
            #[cfg(feature = "remote")]
            Self::Remote(error) if error.is_missing() => Cause::Absent,
            // Also a file that has changed, which a new start takes as it is: an upload of the same bytes, or one of several
            // servers, may give another version of the very same images.
            #[cfg(feature = "remote")]
            Self::Remote(_) => Cause::Server,
            Self::TooManyBytes { .. } => Cause::TooLarge,
            _ => Cause::Content,
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }

    /// There is no image in what should hold files of them.
    pub(crate) fn no_files(path: &Path) -> Self {
        Self::no_images(path, format!("files that end in {}", IMAGE_EXTENSIONS.join(", ")))
    }

    pub(crate) fn no_images(path: &Path, expected: impl Into<String>) -> Self {
        Self::NoImages { path: path.to_owned(), expected: expected.into() }
    }

    pub(crate) fn expected(path: &Path, expected: impl Display, found: impl Display) -> Self {
        Self::Unexpected { path: path.to_owned(), expected: expected.to_string(), found: found.to_string() }
    }
}

/// Why an image cannot be used, as far as that decides what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// What it holds is no usable image.
    Content,
    /// It is larger than allowed.
    TooLarge,
    /// It is not where it should be, or closed to this user. Waiting does not bring it back; a person may.
    Absent,
    /// A disk fails, perhaps for now.
    Disk,
    /// A server fails, perhaps for now, though it was asked again for minutes: see `msn_remote::Patience`.
    Server,
}

/// Whether the system can read, but not this: there is no such file, it is closed to this user, or shorter than it was.
fn is_about_the_file(error: &io::Error) -> bool {
    use io::ErrorKind as E;
    matches!(
        error.kind(),
        E::NotFound
            | E::PermissionDenied
            | E::NotADirectory
            | E::IsADirectory
            | E::InvalidFilename
            | E::InvalidInput
            | E::UnexpectedEof
    )
}

/// Why bytes are no usable image.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No byte at all.
    #[error("the file is empty")]
    Empty,
    /// The content is of no known image format.
    #[error("expected JPEG, PNG, WebP, BMP, TIFF, GIF or PPM data, found bytes that start with {found}")]
    UnknownFormat {
        /// The first bytes in hexadecimal.
        found: String,
    },
    /// The file is larger than allowed.
    #[error("expected at most {limit} bytes of image file (max_file_mib), found {found}")]
    TooManyBytes {
        /// The limit.
        limit: usize,
        /// The length.
        found: usize,
    },
    /// The image is larger than allowed.
    #[error("expected at most {limit} pixels (max_megapixels), found {width} x {height}")]
    TooManyPixels {
        /// The limit.
        limit: u64,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// A JPEG file without its end.
    #[error("the JPEG file is truncated: no end-of-image marker in {found} bytes")]
    Truncated {
        /// Length of the file in bytes.
        found: usize,
    },
    /// The decoder gave up.
    #[error("malformed {format} data: {reason}")]
    Malformed {
        /// The format by content.
        format: &'static str,
        /// The decoder's reason.
        reason: String,
    },
    /// An image of a kind that the format allows and no decoder here reads, such as numbers of 32 bits.
    #[error("{format} of a kind that is not read ({reason}): expected another, such as PNG of 8 or 16 bits")]
    Unsupported {
        /// The format by content.
        format: &'static str,
        /// The decoder's reason.
        reason: String,
    },
    /// The decoder has a bug that this file meets.
    #[error("the {format} decoder failed on this file: {reason}")]
    Panicked {
        /// The format by content.
        format: &'static str,
        /// The message of the panic.
        reason: String,
    },
}

impl DecodeError {
    /// Why an image cannot be used, told by the error of decoding it.
    pub(crate) fn cause(&self) -> Cause {
        match self {
            Self::TooManyBytes { .. } | Self::TooManyPixels { .. } => Cause::TooLarge,
            _ => Cause::Content,
        }
    }
}
