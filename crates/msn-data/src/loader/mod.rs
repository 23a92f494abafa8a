//! Batches of views, endlessly, made ahead of the training step by worker threads.
//!
//! The order of the images of an epoch derives from (seed, epoch), a view from (seed, epoch, image, view), and broken
//! images are replaced by a rule that looks at nothing else than which images are broken: so the batches are the same
//! bits for any number of threads and any queue, and a [`Cursor`] continues exactly where it was taken. A disk or a server
//! that fails makes no image broken: it is waited for, and ends the loader if it does not come back.

mod batch;
mod build;
mod config;
mod order;
mod preview;
mod reported;
mod worker;

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use batch::{Batch, BatchViews, Cursor, Skipped, ViewBatch};
pub use config::LoaderConfig;
pub use preview::preview;
pub use reported::Reported;

pub(crate) use order::{check_length, order_of_all};
pub(crate) use worker::{Fault, Seen, Worker, in_pool, pool};

use crate::{Dataset, Error};
use build::{Built, Plan};

/// Batches in the making at a time: while the last images of one are worked on, idle threads start on the next.
const BUILDERS: usize = 2;

/// How often a wait, for a batch or for a disk, looks up whether to go on.
const LOOK_UP: Duration = Duration::from_millis(50);

/// How long a loader that is dropped waits for its builders. One that waits for a server may need minutes, in which a
/// person has asked the program to end.
const LEFT_BEHIND: Duration = Duration::from_secs(2);

/// Makes the batches of a run.
pub struct Loader {
    plan: Arc<Plan>,
    /// Builder i makes every `builders.len()`-th batch from the i-th on.
    builders: Vec<Builder>,
    turn: usize,
    position: Position,
    /// Broken images found so far in this run.
    skipped: Reported,
    /// What ended the loader: the batch that failed would be missing among those after it.
    failure: Option<String>,
}

struct Builder {
    batches: Option<Receiver<Result<Built, Error>>>,
    thread: Option<JoinHandle<()>>,
}

/// A batch by its place in the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    epoch: u64,
    step: u64,
}

impl Position {
    fn after(self, steps: u64, batches_per_epoch: u64) -> Self {
        let step = self.step + steps;
        Self { epoch: self.epoch + step / batches_per_epoch, step: step % batches_per_epoch }
    }
}

impl Loader {
    /// Starts making batches from `cursor` on (`Cursor::default()` is the start of a run).
    ///
    /// # Errors
    /// If a field is out of its range, a batch is larger than the data, or the cursor is of other data.
    pub fn start(dataset: Arc<dyn Dataset>, config: LoaderConfig, cursor: Cursor) -> Result<Self, Error> {
        config.validate()?;
        let batch_size = config.batch_size;
        let images = dataset.len();
        if batch_size > images {
            return Err(Error::BatchLargerThanData { data: dataset.path().to_owned(), batch_size, images });
        }
        let batches = (images / batch_size) as u64;
        let skipped = cursor.skipped.to_vec();
        let image = skipped.last().copied().unwrap_or(0);
        if cursor.step_in_epoch >= batches || image >= images {
            return Err(Error::CursorOutOfRange { batches, images, step: cursor.step_in_epoch, image });
        }
        let position = Position { epoch: cursor.epoch, step: cursor.step_in_epoch };
        let queue = config.queue;
        // One batch with more of them has a new one, and the run too many.
        let most_broken = config.allowed_broken(images).max(skipped.len());
        let plan = Arc::new(Plan::new(dataset, config, most_broken)?);
        let count = BUILDERS.min(queue);
        let builders = (0..count).map(|i| {
            // A builder holds a finished batch until there is room, so that many are ahead besides the queues.
            let (sender, receiver) = sync_channel((queue - 1 - i) / count);
            let plan = Arc::clone(&plan);
            let first = position.after(i as u64, batches);
            let thread = thread::Builder::new()
                .name(format!("msn-batches-{i}"))
                .spawn(move || make_batches(&plan, first, count as u64, &sender))
                .map_err(|e| Error::Workers { workers: count, reason: e.to_string() })?;
            Ok(Builder { batches: Some(receiver), thread: Some(thread) })
        });
        let builders = builders.collect::<Result<_, Error>>()?;
        // Of its own: the loader that gave the cursor may go on, too.
        let skipped = Reported::from(skipped);
        Ok(Self { plan, builders, turn: 0, position, skipped, failure: None })
    }

    /// Batches of an epoch: those that the images fill; what is left over is dropped.
    pub fn batches_per_epoch(&self) -> u64 {
        self.plan.batches_per_epoch()
    }

    /// The next batch, waiting for it if need be. There is always one: epoch follows epoch.
    ///
    /// # Errors
    /// If more images than allowed are broken, too few work to fill a batch, or a disk or a server fails
    /// ([`Error::OutOfReach`]): then nothing is lost, and the cursor of the batch before goes on with the same bits, in a
    /// new loader. This one gives [`Error::LoaderEnded`] from then on.
    #[expect(clippy::should_implement_trait, reason = "an endless, fallible stream is no Iterator")]
    pub fn next(&mut self) -> Result<Batch, Error> {
        Ok(self.next_unless(|| false)?.expect("nothing stops it"))
    }

    /// As [`next`](Self::next), or `None` once `stop` says so, which is asked some times a second while there is no batch.
    /// The batch that was waited for is the next one still.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn next_unless(&mut self, stop: impl FnMut() -> bool) -> Result<Option<Batch>, Error> {
        if let Some(reason) = self.failure.clone() {
            return Err(Error::LoaderEnded { data: self.plan.dataset.path().to_owned(), reason });
        }
        let batch = self.batch_unless(stop);
        if let Err(error) = &batch {
            self.failure = Some(error.to_string());
            self.plan.stop.store(true, Ordering::Relaxed);
        }
        batch
    }

    fn batch_unless(&mut self, stop: impl FnMut() -> bool) -> Result<Option<Batch>, Error> {
        let started = Instant::now();
        let Some(built) = self.receive(stop) else { return Ok(None) };
        let (wait, built) = (started.elapsed(), built?);
        let (broken, last) = (built.broken.len(), built.broken.last().map(ToString::to_string));
        let new = self.report(built.broken)?;
        let Some(content) = built.content else {
            let data = self.plan.dataset.path().to_owned();
            let images = self.plan.dataset.len();
            let (usable, batch_size) = (images - broken, self.plan.config.batch_size);
            let last = last.expect("a batch is short of images only because of broken ones");
            return Err(Error::TooFewUsable { data, usable, images, batch_size, last, new });
        };
        let Position { epoch, step } = self.position;
        self.position = self.position.after(1, self.batches_per_epoch());
        let next = Cursor {
            epoch: self.position.epoch,
            step_in_epoch: self.position.step,
            skipped: self.skipped.clone(),
        };
        let BatchViews { images, target, random, focal } = content;
        Ok(Some(Batch {
            epoch,
            step_in_epoch: step,
            images,
            target,
            random,
            focal,
            skipped: new,
            next,
            wait,
        }))
    }

    fn receive(&mut self, mut stop: impl FnMut() -> bool) -> Option<Result<Built, Error>> {
        let builder = &mut self.builders[self.turn];
        let batches = builder.batches.as_ref().expect("taken only when the loader is dropped");
        let built = loop {
            match batches.recv_timeout(LOOK_UP) {
                Ok(built) => break built,
                Err(RecvTimeoutError::Timeout) if stop() => return None,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    // A builder ends by itself only by a panic, which belongs to the caller.
                    let thread = builder.thread.take().expect("a builder is joined once");
                    resume_unwind(thread.join().expect_err("a builder ended without a panic"))
                }
            }
        };
        self.turn = (self.turn + 1) % self.builders.len();
        Some(built)
    }

    /// Those of `broken` that this run has not met before.
    fn report(&mut self, broken: Vec<Skipped>) -> Result<Vec<Skipped>, Error> {
        let new: Vec<Skipped> = broken.into_iter().filter(|s| self.skipped.insert(s.image)).collect();
        let (skipped, images) = (self.skipped.len(), self.plan.dataset.len());
        let (max_skipped, allowed) = (self.plan.config.max_skipped, self.plan.config.allowed_broken(images));
        match new.last() {
            Some(last) if skipped > allowed => {
                let (data, last) = (self.plan.dataset.path().to_owned(), last.to_string());
                Err(Error::TooManySkipped { data, skipped, images, allowed, max_skipped, last, new })
            }
            _ => Ok(new),
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.plan.stop.store(true, Ordering::Relaxed);
        for builder in &mut self.builders {
            builder.batches = None;
        }
        let threads: Vec<_> = self.builders.iter_mut().filter_map(|builder| builder.thread.take()).collect();
        let dropped = Instant::now();
        while threads.iter().any(|thread| !thread.is_finished()) && dropped.elapsed() < LEFT_BEHIND {
            thread::sleep(Duration::from_millis(1));
        }
        for thread in threads.into_iter().filter(JoinHandle::is_finished) {
            // A panic of a builder that no one waits for has been printed already.
            let _ = thread.join();
        }
    }
}

/// Makes every `stride`-th batch from `position` on until the loader is dropped.
fn make_batches(plan: &Plan, mut position: Position, stride: u64, sender: &SyncSender<Result<Built, Error>>) {
    let (mut order, mut order_after) = (plan.order(position.epoch), None);
    loop {
        plan.announce(position, &order, &mut order_after);
        let built = plan.build(position, &order);
        if plan.stop.load(Ordering::Relaxed) || sender.send(built).is_err() {
            return;
        }
        let next = position.after(stride, plan.batches_per_epoch());
        if next.epoch != position.epoch {
            let known = order_after.take().filter(|_| next.epoch == position.epoch + 1);
            order = known.unwrap_or_else(|| plan.order(next.epoch));
        }
        position = next;
    }
}
