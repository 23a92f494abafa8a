//! One file on a server.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use msn_store::{CacheFolder, StoreError};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio::time::{sleep, timeout};
use twox_hash::XxHash3_128;

use crate::address::Address;
use crate::runtime::runtime;
use crate::{Error, Patience};

/// A file on a server, as it was when it was looked up. Any number of threads may read it at once.
pub struct RemoteFile {
    address: String,
    store: Arc<dyn ObjectStore>,
    path: Path,
    patience: Patience,
    length: u64,
    /// The server's name for this content, where it has one.
    tag: Option<String>,
    /// What else tells contents apart: the time of the last change, where it has that.
    changed: Option<String>,
    /// What tells this content from others in the cache.
    version: String,
}

/// Why a transfer ended early.
enum Broken {
    /// May be better next time.
    Passing(String),
    Lasting(Error),
}

impl RemoteFile {
    /// Looks the file up: its length and its version.
    ///
    /// # Errors
    /// If the text is no address, the server has no such file or does not answer.
    pub fn open(address: &str, patience: &Patience) -> Result<Self, Error> {
        let Address { store, path } = {
            // Clients of servers are made where the runtime is known.
            let _in_runtime = runtime().enter();
            Address::parse(address, patience)?
        };
        let mut file = Self {
            address: address.to_owned(),
            store,
            path,
            patience: *patience,
            length: 0,
            tag: None,
            changed: None,
            version: String::new(),
        };
        let meta = runtime().block_on(file.look_up())?;
        file.changed = last_change(&meta);
        (file.length, file.tag) = (meta.size, meta.e_tag);
        file.version = file.tag.clone().or_else(|| file.changed.clone()).unwrap_or_else(|| {
            tracing::warn!(
                "{address}: its server gives no version of it (ETag or Last-Modified), so that no later start can tell \
                 whether what is kept of it is up to date: each downloads it again"
            );
            unheard_of()
        });
        Ok(file)
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// A name for this very content, usable as the name of a file: another content at the same address has another. Where the
    /// server gives no version, no two that were looked up have the same.
    pub fn name(&self) -> String {
        let text = format!("{}\n{}\n{}", self.address, self.version, self.length);
        // 128 bits, since a mix-up would train on the wrong images.
        format!("{:032x}", XxHash3_128::oneshot(text.as_bytes()))
    }

    /// Replaces the content of `bytes` by a part of the file.
    ///
    /// # Errors
    /// If the part does not lie in the file, or cannot be read.
    pub fn read_range(&self, range: Range<u64>, bytes: &mut Vec<u8>) -> Result<(), Error> {
        bytes.clear();
        self.transfer(range, bytes)
    }

    /// Writes the whole file to `out`.
    ///
    /// # Errors
    /// If it cannot be read, or not be written.
    pub fn download(&self, out: &mut dyn Write) -> Result<(), Error> {
        self.transfer(0..self.length, out)
    }

    /// The file in the cache, downloaded first if it is not there.
    ///
    /// # Errors
    /// As [`download`](Self::download), or if the cache cannot be used: for example if it is smaller than the file.
    pub fn cached(&self, cache: &CacheFolder) -> Result<File, Error> {
        let name = self.name();
        loop {
            if let Some(file) = cache.open(&name)? {
                return Ok(file);
            }
            let mut failure = None;
            let written = cache.write_with(&name, self.length, |out| {
                self.download(out).map_err(|e| {
                    let text = e.to_string();
                    failure = Some(e);
                    io::Error::other(text)
                })
            });
            match failure {
                Some(failure) => return Err(failure),
                // Another process may make room before the file is opened here: then once more.
                None => written.map_err(|error| match error {
                    StoreError::CacheTooSmall { folder, limit, needed, .. } => Error::LargerThanCache {
                        address: self.address.clone(),
                        folder,
                        limit,
                        length: needed,
                    },
                    error => error.into(),
                })?,
            }
        }
    }

    async fn look_up(&self) -> Result<ObjectMeta, Error> {
        let mut failures = 0;
        loop {
            let broken = match timeout(self.patience.stall, self.store.head(&self.path)).await {
                Ok(Ok(meta)) => return Ok(meta),
                Ok(Err(e)) => self.broken(e),
                Err(_) => Broken::Passing(self.stalled()),
            };
            self.pause_after(broken, &mut failures, 0).await?;
        }
    }

    /// Writes a part of the file, going on where it breaks.
    fn transfer(&self, range: Range<u64>, out: &mut dyn Write) -> Result<(), Error> {
        if range.start > range.end || range.end > self.length {
            return Err(self.changed(format!("bytes up to {}", range.end), format!("{} bytes", self.length)));
        }
        runtime().block_on(async {
            let (mut at, mut failures) = (range.start, 0);
            while at < range.end {
                let before = at;
                let Err(broken) = self.transfer_once(&mut at, range.end, out).await else { continue };
                if at > before {
                    failures = 0;
                }
                self.pause_after(broken, &mut failures, at).await?;
            }
            Ok(())
        })
    }

    /// Writes the bytes from `at` to `end`, as many as come; moves `at` behind the last one.
    async fn transfer_once(&self, at: &mut u64, end: u64, out: &mut dyn Write) -> Result<(), Broken> {
        let whole = *at == 0 && end == self.length;
        let range = (!whole).then_some(GetRange::Bounded(*at..end));
        let result = match self.get(range).await {
            // A server that knows no ranges: all of it again, without what is there already.
            Err(Broken::Lasting(Error::Refused {
                source: object_store::Error::NotSupported { .. }, ..
            })) => self.get(None).await?,
            result => result?,
        };
        let meta = &result.meta;
        if meta.size != self.length {
            let [expected, found] = [self.length, meta.size].map(|length| format!("{length} bytes"));
            return Err(Broken::Lasting(self.changed(expected, found)));
        }
        let versions = match &self.tag {
            Some(tag) => (Some(tag.clone()), meta.e_tag.clone()),
            None => (self.changed.clone(), last_change(meta)),
        };
        if let (Some(expected), Some(found)) = versions
            && expected != found
        {
            return Err(Broken::Lasting(self.changed(expected, found)));
        }
        let mut to_skip = at.saturating_sub(result.range.start);
        let mut stream = result.into_stream();
        while *at < end {
            let chunk = match timeout(self.patience.stall, stream.next()).await {
                Ok(Some(chunk)) => chunk.map_err(|e| self.broken(e))?,
                Ok(None) => return Err(Broken::Passing("the connection was closed early".to_owned())),
                Err(_) => return Err(Broken::Passing(self.stalled())),
            };
            let skipped = to_skip.min(chunk.len() as u64);
            to_skip -= skipped;
            let chunk = &chunk[skipped as usize..];
            let chunk = &chunk[..chunk.len().min(usize::try_from(end - *at).unwrap_or(usize::MAX))];
            out.write_all(chunk)
                .map_err(|source| Broken::Lasting(Error::Write { address: self.address.clone(), source }))?;
            *at += chunk.len() as u64;
        }
        Ok(())
    }

    async fn get(&self, range: Option<GetRange>) -> Result<object_store::GetResult, Broken> {
        // A server compares strongly, so that a weak tag never matches (RFC 9110, 13.1.1): what comes is compared instead.
        let if_match = self.tag.clone().filter(|tag| !tag.starts_with("W/"));
        let options = GetOptions { range, if_match, ..GetOptions::default() };
        match timeout(self.patience.stall, self.store.get_opts(&self.path, options)).await {
            Ok(result) => result.map_err(|e| self.broken(e)),
            Err(_) => Err(Broken::Passing(self.stalled())),
        }
    }

    async fn pause_after(&self, broken: Broken, failures: &mut u32, at: u64) -> Result<(), Error> {
        let last = match broken {
            Broken::Lasting(error) => return Err(error),
            Broken::Passing(last) => last,
        };
        *failures += 1;
        if *failures >= self.patience.failures {
            return Err(Error::GaveUp { address: self.address.clone(), failures: *failures, at, last });
        }
        tracing::warn!("{}: broken off at byte {at} ({last}), trying again", self.address);
        sleep(self.patience.pause(*failures)).await;
        Ok(())
    }

    fn broken(&self, source: object_store::Error) -> Broken {
        use object_store::Error as E;
        match source {
            E::Precondition { .. } => {
                Broken::Lasting(self.changed(format!("version {}", self.version), "another".to_owned()))
            }
            E::NotFound { .. }
            | E::InvalidPath { .. }
            | E::NotSupported { .. }
            | E::NotImplemented { .. }
            | E::PermissionDenied { .. }
            | E::Unauthenticated { .. }
            | E::UnknownConfigurationKey { .. } => {
                Broken::Lasting(Error::Refused { address: self.address.clone(), source })
            }
            other => match untrusted(&other) {
                Some(reason) => Broken::Lasting(Error::Certificate { address: self.address.clone(), reason }),
                None => Broken::Passing(with_cause(&other)),
            },
        }
    }

    fn changed(&self, expected: String, found: String) -> Error {
        Error::Changed { address: self.address.clone(), expected, found }
    }

    fn stalled(&self) -> String {
        format!("no byte within {} s", self.patience.stall.as_secs_f64())
    }
}

/// The error and what is at its root, such as a host name that nobody knows.
fn with_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let (shown, mut root) = (error.to_string(), error);
    while let Some(source) = root.source() {
        root = source;
    }
    let cause = root.to_string();
    if shown.contains(&cause) { shown } else { format!("{shown}: {cause}") }
}

/// When a file was changed last; `None` where its server does not say, which the client reports as the year 1970.
fn last_change(meta: &ObjectMeta) -> Option<String> {
    let time = meta.last_modified;
    (time.timestamp() != 0).then(|| time.to_rfc3339())
}

/// A version that no file has had.
fn unheard_of() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("{now} {} {}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// What is wrong with the server's certificate, if that is the cause. It is handed on from crate to crate, some of which
/// keep its text alone.
fn untrusted(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).find(|text| text.starts_with("invalid peer certificate"))
}
