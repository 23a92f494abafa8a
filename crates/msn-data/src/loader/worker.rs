//! A thread that turns one image after the other into views.

use std::cell::RefCell;

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
    pub(crate) fn with_image(
        dataset: &dyn Dataset,
        index: usize,
        limits: &Limits,
        use_image: impl FnOnce(&Image, &mut Scratch),
    ) -> Result<(), Skipped> {
        WORKER.with_borrow_mut(|Worker { bytes, image, scratch }| {
            let skipped =
                |reason: String| Skipped { image: index, path: dataset.name(index).to_owned(), reason };
            dataset.read_into(index, limits.max_bytes, bytes).map_err(|e| skipped(e.to_string()))?;
            decode_into(bytes, limits, image).map_err(|e| skipped(e.to_string()))?;
            use_image(image, scratch);
            Ok(())
        })
    }
}

/// A pool of worker threads of its own, so that the training step's threads are not in its queue.
pub(crate) fn pool(workers: usize) -> Result<ThreadPool, Error> {
    let named = ThreadPoolBuilder::new().num_threads(workers).thread_name(|i| format!("msn-data-{i}"));
    named.build().map_err(|e| Error::Workers { workers, reason: e.to_string() })
}
