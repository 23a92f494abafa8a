//! What a walk through a large folder found, kept for the next time.
//!
//! A folder's times change whenever something in it is added, removed or renamed, so the list is fresh while every
//! folder has the stamp that it had before it was read. What changes inside a file does not matter to a list of names.

use std::borrow::Cow;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use msn_store::CacheFolder;

use super::names::Names;

/// Fewer images are listed faster than people notice.
const WORTH_KEEPING: usize = 10_000;
/// File systems count time in steps of up to two seconds (FAT): a folder that changed so shortly before it was read
/// may change again without a new time.
const TOO_YOUNG: Duration = Duration::from_secs(3);
const VERSION: u32 = 4;

/// When a folder was changed last, and which folder it is: times in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Stamp {
    modified: i64,
    /// Changes along with `modified`, and also where a tool sets that back. 0 where the system has none.
    changed: i64,
    /// 0 where the system has none.
    inode: u64,
}

impl Stamp {
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let facts = fs::metadata(folder)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let nanoseconds =
                |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
            Ok(Self {
                modified: nanoseconds(facts.mtime(), facts.mtime_nsec()),
                changed: nanoseconds(facts.ctime(), facts.ctime_nsec()),
                inode: facts.ino(),
            })
        }
        #[cfg(not(unix))]
        Ok(Self { modified: since_1970(facts.modified()?), changed: 0, inode: 0 })
    }

    fn newest(self) -> i64 {
        self.modified.max(self.changed)
    }
}

fn since_1970(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Index<'a> {
    version: u32,
    root: Cow<'a, str>,
    /// Each folder by its path from the root.
    folders: Cow<'a, [(String, Stamp)]>,
    images: Cow<'a, Names>,
}

/// Counts what is written.
struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The names kept for `root`, unless they are stale or damaged.
pub(super) fn load(cache: &CacheFolder, root: &Path) -> Option<Names> {
    let canonical = fs::canonicalize(root).ok()?;
    let bytes = cache.read(&file_name(canonical.to_str()?)).ok()??;
    let index: Index<'_> = serde_json::from_slice(&bytes)
        .inspect_err(|e| tracing::warn!("{}: the kept list of its images is damaged: {e}", root.display()))
        .ok()?;
    let fits = index.version == VERSION && canonical.to_str() == Some(&*index.root);
    let fresh =
        |(folder, stamp): &(String, Stamp)| Stamp::of(&root.join(folder)).is_ok_and(|now| now == *stamp);
    (fits && index.folders.iter().all(fresh)).then(|| index.images.into_owned())
}

/// Keeps the names of the images of `root`, which were sought from `began` on, where that pays. Failing to is not worth
/// more than a warning.
pub(super) fn save(
    cache: &CacheFolder,
    root: &Path,
    began: SystemTime,
    folders: &[(String, Stamp)],
    images: &Names,
) {
    let young = since_1970(began - TOO_YOUNG);
    if images.len() < WORTH_KEEPING || folders.iter().any(|(_, stamp)| stamp.newest() >= young) {
        return;
    }
    let Some(canonical) = fs::canonicalize(root).ok().and_then(|path| path.to_str().map(ToOwned::to_owned))
    else {
        return;
    };
    let name = file_name(&canonical);
    let (folders, images) = (Cow::Borrowed(folders), Cow::Borrowed(images));
    let index = Index { version: VERSION, root: canonical.into(), folders, images };
    // Counted first and then written piece by piece: a billion names take more memory as one text than as names.
    let mut count = Count(0);
    serde_json::to_writer(&mut count, &index).expect("names and numbers are JSON");
    if let Err(e) = cache.write_with(&name, count.0, |out| Ok(serde_json::to_writer(out, &index)?)) {
        tracing::warn!("the list of the images in {} is not kept: {e}", root.display());
    }
}

fn file_name(root: &str) -> String {
    format!("folder-{:016x}.json", super::fingerprint(root.bytes()))
}
