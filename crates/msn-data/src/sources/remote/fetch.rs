//! Shards on their way from a server to the cache.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use msn_remote::RemoteFile;
use msn_store::CacheFolder;

use super::Images;
use super::index::{ShardIndex, kept_as};
use super::open::Opener;
use crate::Error;
use crate::error::Cause;

/// Threads that download ahead.
const AHEAD: usize = 2;
/// A shard stays open for so many announcements after the last one that names it: those that make batches announce in
/// turn, each with its own place in the order.
const KEPT_FOR: u64 = 16;
/// A server that failed is asked again after so long, if a shard of it is read then.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// Downloads shards and keeps those open that are in use.
pub(super) struct Fetcher {
    shared: Arc<Shared>,
    /// Announced shards to download.
    wanted: Sender<usize>,
}

struct Shared {
    opener: Opener,
    /// What each shard holds, which the names and the classes of its images are taken from.
    indices: Vec<ShardIndex>,
    /// Where the indices are kept.
    lists: Option<CacheFolder>,
    slots: Vec<Mutex<Slot>>,
    /// The shard that was opened last without being announced.
    for_now: Mutex<Option<(usize, Images)>>,
    announced: Mutex<Announced>,
}

/// A shard's state. Held locked while it is downloaded, so that all who need it wait for the same download.
enum Slot {
    Absent,
    Open(Images),
    /// Until the next time that it comes up in an order, or until the server may be back: else each of its images would
    /// wait for the server again.
    Failed(Failure),
}

/// Why a shard could not be fetched.
struct Failure {
    reason: String,
    /// Whether the server or a disk failed, rather than that the shard is not there or damaged.
    outage: bool,
    at: Instant,
}

impl Failure {
    /// Whether to ask again: the server may have failed while the shard was fetched ahead, long before it is read.
    fn is_over(&self) -> bool {
        self.outage && self.at.elapsed() > ASK_AGAIN
    }
}

#[derive(Default)]
struct Announced {
    /// How often shards were announced.
    count: u64,
    /// For each announced shard, the last announcement that named it.
    last: HashMap<usize, u64>,
}

impl Fetcher {
    pub(super) fn new(
        opener: Opener,
        indices: Vec<ShardIndex>,
        lists: Option<CacheFolder>,
    ) -> Result<Self, Error> {
        let (fetcher, receiver) = Self::idle(opener, indices, lists);
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..AHEAD {
            let (shared, receiver) = (Arc::clone(&fetcher.shared), Arc::clone(&receiver));
            thread::Builder::new()
                .name(format!("msn-fetch-{number}"))
                .spawn(move || fetch_ahead(&shared, &receiver))
                .map_err(|e| Error::Workers { workers: AHEAD, reason: e.to_string() })?;
        }
        Ok(fetcher)
    }

    /// Without the threads, and what they are to download.
    fn idle(opener: Opener, indices: Vec<ShardIndex>, lists: Option<CacheFolder>) -> (Self, Receiver<usize>) {
        let slots = indices.iter().map(|_| Mutex::new(Slot::Absent)).collect();
        let (for_now, announced) = (Mutex::new(None), Mutex::default());
        let shared = Arc::new(Shared { opener, indices, lists, slots, for_now, announced });
        let (wanted, receiver) = channel();
        (Self { shared, wanted }, receiver)
    }

    /// What a shard holds.
    pub(super) fn index(&self, shard: usize) -> &ShardIndex {
        &self.shared.indices[shard]
    }

    pub(super) fn file(&self, shard: usize) -> &RemoteFile {
        self.shared.opener.file(shard)
    }

    /// The shard, if no download is needed or under way.
    pub(super) fn at_hand(&self, shard: usize) -> Option<Images> {
        match &*self.shared.slots[shard].try_lock().ok()? {
            Slot::Open(images) => Some(Arc::clone(images)),
            _ => None,
        }
    }

    pub(super) fn is_announced(&self, shard: usize) -> bool {
        lock(&self.shared.announced).last.contains_key(&shard)
    }

    /// The shard, downloaded if need be.
    pub(super) fn fetch(&self, shard: usize) -> Result<Images, Error> {
        self.shared.fetch(shard)
    }

    /// A shard that is not announced, for single images: kept open until the next one.
    pub(super) fn for_now(&self, shard: usize) -> Result<Images, Error> {
        let mut latest = lock(&self.shared.for_now);
        if let Some((number, images)) = &*latest
            && *number == shard
        {
            return Ok(Arc::clone(images));
        }
        let images = self.shared.open(shard)?;
        *latest = Some((shard, Arc::clone(&images)));
        Ok(images)
    }

    /// Says which shards are needed, now and next; others are let go after a while.
    pub(super) fn announce(&self, shards: &[usize]) {
        let mut announced = lock(&self.shared.announced);
        announced.count += 1;
        let count = announced.count;
        for &shard in shards {
            if announced.last.insert(shard, count).is_none() {
                // Fails only when the threads have ended, which they do not before this does.
                let _ = self.wanted.send(shard);
            }
        }
        let over: Vec<usize> = announced
            .last
            .iter()
            .filter(|&(_, &last)| count - last > KEPT_FOR)
            .map(|(&shard, _)| shard)
            .collect();
        for shard in over {
            announced.last.remove(&shard);
            // One that is still on its way is let go when it is announced and over the next time.
            if let Ok(mut slot) = self.shared.slots[shard].try_lock() {
                *slot = Slot::Absent;
            }
        }
    }
}

impl Drop for Fetcher {
    /// What is announced is still in the threads' queue, and no one will read it. A shard that is on its way comes whole, for
    /// the cache.
    fn drop(&mut self) {
        lock(&self.shared.announced).last.clear();
    }
}

impl Shared {
    /// Opens a shard that still holds what its index says.
    fn open(&self, shard: usize) -> Result<Images, Error> {
        let opened = self.opener.open(shard)?;
        let Some((expected, found)) = self.indices[shard].difference(&opened) else {
            return Ok(opened.images);
        };
        // Which of the two is wrong cannot be told.
        let kept = self.lists.iter().map(|lists| lists.remove(&kept_as(&self.opener, shard)));
        for error in
            kept.filter_map(|removed| removed.err().map(Error::from)).chain(self.opener.forget(shard).err())
        {
            tracing::warn!("{error}");
        }
        let shard = self.opener.file(shard).address().into();
        Err(Error::ShardChanged { shard, expected, found })
    }

    fn fetch(&self, shard: usize) -> Result<Images, Error> {
        let mut slot = lock(&self.slots[shard]);
        match &*slot {
            Slot::Open(images) => Ok(Arc::clone(images)),
            Slot::Failed(failure) if !failure.is_over() => {
                let shard = self.opener.file(shard).address().into();
                Err(Error::ShardNotFetched { shard, reason: failure.reason.clone(), outage: failure.outage })
            }
            Slot::Failed(_) | Slot::Absent => {
                let opened = self.open(shard);
                *slot = match &opened {
                    Ok(images) => Slot::Open(Arc::clone(images)),
                    Err(e) => {
                        let outage = matches!(e.cause(), Cause::Disk | Cause::Server);
                        Slot::Failed(Failure { reason: e.to_string(), outage, at: Instant::now() })
                    }
                };
                opened
            }
        }
    }
}

/// Downloads what is announced, until no one announces any more.
fn fetch_ahead(shared: &Shared, wanted: &Mutex<Receiver<usize>>) {
    loop {
        let Ok(shard) = lock(wanted).recv() else { return };
        // It may be over by now. A failure is met again by those who read the shard.
        if lock(&shared.announced).last.contains_key(&shard) {
            let _ = shared.fetch(shard);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    #[test]
    fn what_is_announced_is_not_downloaded_once_the_source_is_dropped() {
        let opener = Opener::new(Vec::new(), Kind::Archive, CacheFolder::new("nowhere".into(), 0));
        let (fetcher, receiver) = Fetcher::idle(opener, Vec::new(), None);
        fetcher.announce(&[0, 1]);
        let shared = Arc::clone(&fetcher.shared);
        drop(fetcher);
        // To fetch one would panic, since there is none; and the thread ends.
        fetch_ahead(&shared, &Mutex::new(receiver));
    }

    #[test]
    fn a_server_that_failed_is_asked_again_after_a_while_and_one_without_the_shard_is_not() {
        let long_ago = Instant::now().checked_sub(2 * ASK_AGAIN).expect("the machine runs for longer");
        for (outage, at, is_over) in
            [(true, long_ago, true), (true, Instant::now(), false), (false, long_ago, false)]
        {
            assert_eq!(Failure { reason: String::new(), outage, at }.is_over(), is_over);
        }
    }
}
