//! A folder of files that can be made again, bounded in size.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::atomic::{self, ABANDONED, is_leftover};
use crate::error::{Result, StoreError};

/// A process that has gone through a folder may write one of so many parts of what was free there before it does again: so
/// many processes together fill it and no more.
const PARTS: u64 = 16;
/// What a process found counts for so long: others may have filled the folder since.
const COUNTS_FOR: Duration = Duration::from_secs(60);
/// Who has to make room makes one of so many parts of the folder free, unless large files would go for it: else each of many
/// small files had to.
const SPARE: u64 = 64;

/// What this process may still write to each folder, by its path and bound, and when that was found.
type Shares = BTreeMap<(PathBuf, u64), (u64, Instant)>;

/// Files by their names, the least recently used ones removed when a new one needs room.
///
/// Several processes may use one folder: files appear whole (see [`atomic`]) or grow under a lock ([`RowCache`]), and one
/// that is removed while another process reads it stays readable there until it is closed (on Windows it is not removed).
///
/// [`RowCache`]: crate::RowCache
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheFolder {
    path: PathBuf,
    max_bytes: u64,
}

impl CacheFolder {
    /// A folder of at most `max_bytes` bytes. It is made when the first file is written.
    pub fn new(path: PathBuf, max_bytes: u64) -> Self {
        Self { path, max_bytes }
    }

    /// The folder `name` in the user's folder of caches: that of the variable `MSN_CACHE`, else `msn` in that of
    /// `XDG_CACHE_HOME`, else `~/.cache/msn`, on Windows `msn` in that of `LOCALAPPDATA`. `None` where no such variable
    /// is set.
    pub fn of_user(name: &str, max_bytes: u64) -> Option<Self> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let system = || variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
        let system = if cfg!(windows) { variable("LOCALAPPDATA") } else { system() };
        let root = variable("MSN_CACHE").or_else(|| Some(system?.join("msn")))?;
        Some(Self::new(root.join(name), max_bytes))
    }

    /// [`of_user`](Self::of_user) with a bound of as many GiB as the variable `MSN_CACHE_GIB` says, else `default_gib`.
    pub fn of_user_within(name: &str, default_gib: u64) -> Option<Self> {
        let gib = std::env::var("MSN_CACHE_GIB").map_or(default_gib, |text| {
            text.trim().parse().unwrap_or_else(|_| {
                tracing::warn!(
                    "MSN_CACHE_GIB: expected a whole number of GiB, found `{text}`; {name} stay at {default_gib}"
                );
                default_gib
            })
        });
        Self::of_user(name, gib.saturating_mul(1 << 30))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its bound in bytes.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Opens a file for reading and marks it as just used; `None` if it is not there.
    ///
    /// # Errors
    /// [`StoreError::Io`] if it is there and cannot be opened.
    pub fn open(&self, name: &str) -> Result<Option<File>> {
        let path = self.path.join(name);
        match File::open(&path) {
            Ok(file) => {
                mark_as_used(&file);
                Ok(Some(file))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(StoreError::io(&path, "open")(e)),
        }
    }

    /// The content of a file, as [`open`](Self::open).
    ///
    /// # Errors
    /// As [`open`](Self::open), or if it cannot be read.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(mut file) = self.open(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut file, &mut bytes)
            .map_err(StoreError::io(&self.path.join(name), "read"))?;
        Ok(Some(bytes))
    }

    /// Writes a file, atomically.
    ///
    /// # Errors
    /// As [`write_with`](Self::write_with).
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.write_with(name, bytes.len() as u64, |out| out.write_all(bytes))
    }

    /// Writes a file of `length` bytes, atomically, after making room for it.
    ///
    /// # Errors
    /// [`StoreError::CacheTooSmall`] if it is larger than the whole folder may be; [`StoreError::Io`] if it cannot be
    /// written or `fill` fails, and then it is not there.
    pub fn write_with(
        &self,
        name: &str,
        length: u64,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<()> {
        self.check_length(name, length)?;
        fs::create_dir_all(&self.path).map_err(StoreError::io(&self.path, "create the folder"))?;
        // To look at each file takes as long as there are files, which for very many writes is too long.
        if self.take_of_share(length) {
            return atomic::write_with(&self.path.join(name), fill);
        }
        self.make_room(length, None)?;
        atomic::write_with(&self.path.join(name), fill)?;
        // Another write may have made room for itself at the same time.
        let total = self.make_room(0, None)?;
        let share = (self.max_bytes.saturating_sub(total) / PARTS, Instant::now());
        shares().insert((self.path.clone(), self.max_bytes), share);
        Ok(())
    }

    /// Whether so many bytes fit, by what this process knows; then it counts them.
    fn take_of_share(&self, length: u64) -> bool {
        let mut shares = shares();
        let Some((left, found)) = shares.get_mut(&(self.path.clone(), self.max_bytes)) else { return false };
        match left.checked_sub(length).filter(|_| found.elapsed() < COUNTS_FOR) {
            Some(rest) => {
                *left = rest;
                true
            }
            None => false,
        }
    }

    /// Removes a file, if it is there: for one that is found to be wrong.
    ///
    /// # Errors
    /// [`StoreError::Io`] if it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<()> {
        remove(&self.path.join(name))
    }

    /// Removes the least recently used files, other than this one and those that grow as well, until it may have `length`
    /// bytes.
    ///
    /// # Errors
    /// [`StoreError::CacheTooSmall`] if it may not, though all others were removed.
    pub(crate) fn make_room_for(&self, name: &str, length: u64) -> Result<()> {
        self.check_length(name, length)?;
        let others = self.make_room(length, Some(name))?;
        self.check_length(name, length.saturating_add(others))
    }

    fn check_length(&self, name: &str, length: u64) -> Result<()> {
        if length <= self.max_bytes {
            return Ok(());
        }
        let (folder, limit) = (self.path.clone(), self.max_bytes);
        Err(StoreError::CacheTooSmall { folder, limit, needed: length, name: name.to_owned() })
    }

    /// Removes the least recently used files, `except` one that does not count, until `length` bytes more fit, and some more
    /// if they are small, and what was abandoned; gives the bytes of those that are left.
    fn make_room(&self, length: u64, except: Option<&str>) -> Result<u64> {
        let list = StoreError::io(&self.path, "list");
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(list)? {
            let entry = entry.map_err(StoreError::io(&self.path, "list"))?;
            // Another process may have just removed it.
            let Ok(facts) = entry.metadata() else { continue };
            let used = facts.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            if is_leftover(&entry.path()) {
                if used.elapsed().is_ok_and(|age| age > ABANDONED) {
                    remove(&entry.path())?;
                }
            } else if facts.is_file() && except.is_none_or(|name| entry.file_name() != name) {
                files.push((used, facts.len(), entry.path()));
            }
        }
        files.sort_unstable();
        let mut total: u64 = files.iter().map(|(_, length, _)| length).sum();
        let fits = |bytes: u64| bytes.saturating_add(length) <= self.max_bytes;
        if fits(total) {
            return Ok(total);
        }
        let spare = self.max_bytes / SPARE;
        for (_, bytes, path) in &files {
            if fits(total.saturating_add(spare)) || (fits(total) && *bytes > spare) {
                break;
            }
            // One that grows, in another process.
            if is_locked(path) {
                continue;
            }
            remove(path)?;
            total -= bytes;
        }
        Ok(total)
    }
}

fn shares() -> MutexGuard<'static, Shares> {
    static SHARES: Mutex<Shares> = Mutex::new(Shares::new());
    // What a thread that panicked has left are whole entries.
    SHARES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says that a file of a cache was used just now.
pub(crate) fn mark_as_used(file: &File) {
    // In a folder that is for reading only no use is noted, and nothing is removed either.
    let _ = file.set_times(FileTimes::new().set_modified(SystemTime::now()));
}

fn is_locked(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if cfg!(windows) && e.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::io(path, "remove")(e)),
        _ => Ok(()),
    }
}
