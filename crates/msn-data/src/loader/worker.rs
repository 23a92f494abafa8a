//! A thread that turns one image after the other into views.

use std::cell::RefCell;
use std::path::Path;

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::Skipped;
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

impl Worker {
    /// Reads and decodes an image and hands it to `use_image` with this thread's working space.
    pub(crate) fn with_image<T>(
        dataset: &dyn Dataset,
        index: usize,
        limits: &Limits,
        use_image: impl FnOnce(&Image, &mut Scratch) -> T,
    ) -> Result<T, Skipped> {
        Self::with_file(dataset, index, limits, |_, image, scratch| use_image(image, scratch))
            .map_err(|fault| fault.skipped)
    }

    /// As [`with_image`](Self::with_image), with the encoded bytes that the image was decoded from.
    pub(crate) fn with_file<T>(
        dataset: &dyn Dataset,
        index: usize,
        limits: &Limits,
        use_file: impl FnOnce(&[u8], &Image, &mut Scratch) -> T,
    ) -> Result<T, Fault> {
        WORKER.with_borrow_mut(|Worker { bytes, image, scratch }| {
            let name = dataset.name(index);
            let fault = |reason: String, is_passing| {
                let reason = without_name(&reason, name).to_owned();
                Fault { skipped: Skipped { image: index, path: name.to_owned(), reason }, is_passing }
            };
            dataset
                .read_into(index, limits.max_bytes, bytes)
                .map_err(|e| fault(e.to_string(), e.is_passing()))?;
            decode_into(bytes, limits, image).map_err(|e| fault(e.to_string(), false))?;
            Ok(use_file(bytes, image, scratch))
        })
    }
}

/// An image that cannot be used.
pub(crate) struct Fault {
    pub(crate) skipped: Skipped,
    /// The image may be as it should be, and a disk or a server at fault: another time it may be read.
    pub(crate) is_passing: bool,
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

#[cfg(test)]
mod tests {
    use super::*;

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
