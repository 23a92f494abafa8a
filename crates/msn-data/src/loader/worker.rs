//! A thread that turns one image after the other into views.

use std::cell::RefCell;
use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{LOOK_UP, Skipped};
use crate::error::Cause;
use crate::{Dataset, Error, Image, Limits, Scratch, decode_into};

/// What a thread keeps between images, so that none allocates.
#[derive(Default)]
pub(crate) struct Worker {
    bytes: Vec<u8>,
    image: Image,
    scratch: Scratch,
}

thread_local! {
    static WORKER: RefCell<Worker> = RefCell::default();
}

/// Pauses before the image of a disk that fails is tried again: half a minute together.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(15),
];

impl Worker {
    /// Reads and decodes an image and hands it to `use_image` with this thread's working space.
    pub(crate) fn with_image<T>(
        dataset: &dyn Dataset,
        index: usize,
        limits: &Limits,
        use_image: impl FnOnce(&Image, &mut Scratch) -> T,
    ) -> Result<T, Skipped> {
        let load = |worker: &mut Self| {
            worker.read(dataset, index, limits)?;
            worker.decode(dataset, index, limits)?;
            Ok(use_image(&worker.image, &mut worker.scratch))
        };
        WORKER.with_borrow_mut(load).map_err(|fault: Fault| fault.skipped)
    }

    /// As [`with_image`](Self::with_image) for work whose result depends on which images are left out: broken ones alone
    /// are. A disk that fails is tried again for half a minute, unless `stop` says that no one waits any more; a server
    /// has been asked again already.
    ///
    /// # Errors
    /// [`Error::OutOfReach`] if the disk or the server fails still.
    pub(crate) fn with_image_at_last<T>(
        dataset: &dyn Dataset,
        index: usize,
        limits: &Limits,
        stop: impl Fn() -> bool,
        use_image: impl FnOnce(&Image, &mut Scratch) -> T,
    ) -> Result<Result<T, Skipped>, Error> {
        let use_file = |_: &[u8], image: &Image, scratch: &mut Scratch| use_image(image, scratch);
        Ok(Self::with_file_at_last(dataset, index, limits, stop, use_file)?.map_err(|fault| fault.skipped))
    }

    /// As [`with_image_at_last`](Self::with_image_at_last), with the encoded bytes that the image was decoded from, and with
    /// what is wrong with one that is left out.
    ///
    /// # Errors
    /// As [`with_image_at_last`](Self::with_image_at_last).
    pub(crate) fn with_file_at_last<T>(
        dataset: &dyn Dataset,
        index: usize,
        limits: &Limits,
        stop: impl Fn() -> bool,
        use_file: impl FnOnce(&[u8], &Image, &mut Scratch) -> T,
    ) -> Result<Result<T, Fault>, Error> {
        let found = Self::file_at_last(dataset, index, limits, stop, |_| Err::<Infallible, ()>(()), use_file);
        Ok(found?.map(|seen| match seen {
            Seen::Image((), used) => used,
        }))
    }

    /// As [`with_image_at_last`](Self::with_image_at_last), unless `recall` knows the encoded image: then it is not decoded;
    /// else `recall` gives what it will be known by.
    ///
    /// # Errors
    /// As [`with_image_at_last`](Self::with_image_at_last).
    pub(crate) fn recall_at_last<R, K, T>(
        dataset: &dyn Dataset,
        index: usize,
        limits: &Limits,
        stop: impl Fn() -> bool,
        recall: impl Fn(&[u8]) -> Result<R, K>,
        use_image: impl FnOnce(&Image, &mut Scratch) -> T,
    ) -> Result<Result<Seen<R, K, T>, Skipped>, Error> {
        let use_file = |_: &[u8], image: &Image, scratch: &mut Scratch| use_image(image, scratch);
        let found = Self::file_at_last(dataset, index, limits, stop, recall, use_file);
        Ok(found?.map_err(|fault| fault.skipped))
    }

    fn file_at_last<R, K, T>(
        dataset: &dyn Dataset,
        index: usize,
        limits: &Limits,
        stop: impl Fn() -> bool,
        recall: impl Fn(&[u8]) -> Result<R, K>,
        use_file: impl FnOnce(&[u8], &Image, &mut Scratch) -> T,
    ) -> Result<Result<Seen<R, K, T>, Fault>, Error> {
        WORKER.with_borrow_mut(|worker| {
            let mut pauses = PAUSES.into_iter();
            loop {
                let read = worker.read(dataset, index, limits);
                let loaded = read.and_then(|()| match recall(&worker.bytes) {
                    Ok(recalled) => Ok(Ok(recalled)),
                    Err(key) => worker.decode(dataset, index, limits).map(|()| Err(key)),
                });
                let fault = match loaded {
                    Ok(Ok(recalled)) => return Ok(Ok(Seen::Recalled(recalled))),
                    Ok(Err(key)) => {
                        let used = use_file(&worker.bytes, &worker.image, &mut worker.scratch);
                        return Ok(Ok(Seen::Image(key, used)));
                    }
                    Err(fault) => fault,
                };
                let pause = match fault.cause {
                    Cause::Content | Cause::TooLarge | Cause::Absent => return Ok(Err(fault)),
                    Cause::Disk => pauses.next(),
                    Cause::Server => None,
                };
                let data = dataset.path();
                if pause == Some(PAUSES[0]) {
                    tracing::warn!("{}: {}; trying again", data.display(), fault.skipped);
                }
                if !pause.is_some_and(|pause| wait(pause, &stop)) {
                    return Err(Error::OutOfReach { data: data.to_owned(), image: fault.skipped });
                }
            }
        })
    }

    fn read(&mut self, dataset: &dyn Dataset, index: usize, limits: &Limits) -> Result<(), Fault> {
        dataset.read_into(index, limits.max_bytes, &mut self.bytes).map_err(|e| {
            let cause = match e.cause() {
                // All of the data are gone with it: so it looks when a disk is not mounted any more.
                Cause::Absent if matches!(e, Error::Io { .. }) && !dataset.is_reachable() => Cause::Disk,
                cause => cause,
            };
            Fault::of(dataset, index, &e, cause)
        })
    }

    /// Decodes what [`read`](Self::read) has read.
    fn decode(&mut self, dataset: &dyn Dataset, index: usize, limits: &Limits) -> Result<(), Fault> {
        decode_into(&self.bytes, limits, &mut self.image)
            .map_err(|e| Fault::of(dataset, index, &e, e.cause()))
    }
}

/// Waits; false if `stop` ended it.
fn wait(pause: Duration, stop: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while let Some(left) = pause.checked_sub(began.elapsed()) {
        if stop() {
            return false;
        }
        thread::sleep(left.min(LOOK_UP));
    }
    true
}

/// What became of an image that can be used.
pub(crate) enum Seen<R, K, T> {
    /// It was known by its encoded bytes.
    Recalled(R),
    /// It was decoded and used; first, what it will be known by.
    Image(K, T),
}

/// An image that cannot be used.
pub(crate) struct Fault {
    pub(crate) skipped: Skipped,
    pub(crate) cause: Cause,
}

impl Fault {
    fn of(dataset: &dyn Dataset, index: usize, error: &impl ToString, cause: Cause) -> Self {
        let (name, reason) = (dataset.name(index), error.to_string());
        let reason = without_name(&reason, name).to_owned();
        Self { skipped: Skipped { image: index, path: name.to_owned(), reason }, cause }
    }
}

/// A reason without the name of the image at its start, which stands before the reason anyway: in `photos/a.jpg: cannot
/// read` it is the end of a path.
fn without_name<'a>(reason: &'a str, name: &str) -> &'a str {
    match reason.split_once(": ") {
        Some((place, rest)) if Path::new(place).ends_with(name) => rest,
        _ => reason,
    }
}

/// A pool of worker threads of its own, so that the training step's threads are not in its queue.
pub(crate) fn pool(workers: usize) -> Result<ThreadPool, Error> {
    let named = ThreadPoolBuilder::new().num_threads(workers).thread_name(|i| format!("msn-data-{i}"));
    named.build().map_err(|e| Error::Workers { workers, reason: e.to_string() })
}

/// What `each` makes of the items, in their order, on the threads of a pool; an error, if there is one. From the first on, what
/// `each` is given says so: the others need not wait for a disk.
pub(crate) fn in_pool<I: Sync, T: Send>(
    pool: &ThreadPool,
    items: &[I],
    each: impl Fn(&I, &(dyn Fn() -> bool + Sync)) -> Result<T, Error> + Sync,
) -> Result<Vec<T>, Error> {
    let failed = AtomicBool::new(false);
    let stop = || failed.load(Ordering::Relaxed);
    let each = |item| each(item, &stop).inspect_err(|_| failed.store(true, Ordering::Relaxed));
    pool.install(|| items.par_iter().with_max_len(1).map(each).collect())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// One image, of which the system has this to say.
    struct Lost {
        data: &'static str,
        kind: io::ErrorKind,
    }

    impl Dataset for Lost {
        fn path(&self) -> &Path {
            Path::new(self.data)
        }

        fn len(&self) -> usize {
            1
        }

        fn name(&self, _: usize) -> &str {
            "a.jpg"
        }

        fn read_into(&self, _: usize, _: usize, _: &mut Vec<u8>) -> Result<(), Error> {
            Err(Error::io(self.name(0), self.kind.into()))
        }
    }

    #[test]
    fn an_image_that_is_not_there_is_broken_unless_the_disk_fails_or_is_gone() {
        let (here, gone) = (env!("CARGO_MANIFEST_DIR"), "/no/such/folder");
        for (data, kind, is_broken) in [
            (here, io::ErrorKind::NotFound, true),
            (here, io::ErrorKind::PermissionDenied, true),
            (here, io::ErrorKind::UnexpectedEof, true),
            (here, io::ErrorKind::TimedOut, false),
            (here, io::ErrorKind::StaleNetworkFileHandle, false),
            (gone, io::ErrorKind::NotFound, false),
        ] {
            // Nobody waits for the disk.
            let lost = Lost { data, kind };
            let found = Worker::with_image_at_last(&lost, 0, &Limits::default(), || true, |_, _| ());
            match found {
                Ok(Err(skipped)) => assert!(is_broken, "{skipped}"),
                Err(Error::OutOfReach { image, .. }) => assert!(!is_broken, "{image}"),
                found => panic!("{kind}: {found:?}"),
            }
        }
    }

    #[test]
    fn the_name_of_an_image_is_not_said_twice() {
        for (reason, name, rest) in [
            ("photos/cat/a.jpg: cannot read: gone", "cat/a.jpg", "cannot read: gone"),
            ("a.jpg: expected at most 3 bytes", "a.jpg", "expected at most 3 bytes"),
            ("shard.tar: images are lost: cut", "shard.tar/x.jpg", "shard.tar: images are lost: cut"),
            ("malformed PNG data: a.jpg", "a.jpg", "malformed PNG data: a.jpg"),
            ("the file is empty", "a.jpg", "the file is empty"),
        ] {
            assert_eq!(without_name(reason, name), rest);
        }
    }
}
