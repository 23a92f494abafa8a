//! Images on their way into shards.

use std::collections::{HashMap, VecDeque};

use rayon::ThreadPool;
use serde::Serialize;

use super::PackConfig;
use super::content::Content;
use crate::error::Cause;
use crate::loader::{Fault, Skipped, Worker, check_length, in_pool, order_of_all, pool};
use crate::{Dataset, Error, Image, Limits, Scratch};

/// Images that each thread reads before they are written.
const PER_WORKER: usize = 4;

/// The entries of one sample.
pub(super) struct Sample {
    pub(super) key: String,
    image: Content,
    json: Vec<u8>,
}

/// `KEY.json`. A source reads `label` before `cls`.
#[derive(Serialize)]
struct Description<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cls: Option<usize>,
    name: &'a str,
}

impl Sample {
    /// Endings and contents.
    pub(super) fn entries(&self) -> [(&str, &[u8]); 2] {
        [(self.image.ending, &self.image.bytes), ("json", &self.json)]
    }

    /// Whether the image was made smaller.
    pub(super) fn is_shrunk(&self) -> bool {
        self.image.is_shrunk
    }

    /// Bytes that the sample takes in an archive: a block of 512 for each header, and whole blocks of content.
    pub(super) fn archived_bytes(&self) -> u64 {
        self.entries().iter().map(|(_, bytes)| 512 + bytes.len().next_multiple_of(512) as u64).sum()
    }
}

/// The samples of a source in the order of packing, read ahead by worker threads.
pub(super) struct Samples<'a> {
    dataset: &'a dyn Dataset,
    limits: Limits,
    skip_unreadable: bool,
    shorter_side: Option<u32>,
    pool: ThreadPool,
    /// Samples that are read at a time.
    at_a_time: usize,
    /// Images ahead that the source is told of.
    ahead: usize,
    classes: HashMap<String, usize>,
    order: Vec<u32>,
    /// Place in the order of the first of `ready`.
    position: usize,
    ready: VecDeque<Result<Sample, Fault>>,
}

impl<'a> Samples<'a> {
    /// Those from the place `position` on; the number of a class is its place in `classes`, which has all of them.
    pub(super) fn new(
        dataset: &'a dyn Dataset,
        config: &PackConfig,
        classes: &[String],
        position: usize,
    ) -> Result<Self, Error> {
        check_length(dataset)?;
        let order = match config.shuffle {
            Some(seed) => order_of_all(dataset, seed),
            None => (0..dataset.len() as u32).collect(),
        };
        let at_a_time = PER_WORKER * config.workers;
        Ok(Self {
            dataset,
            limits: config.limits,
            skip_unreadable: config.skip_unreadable,
            shorter_side: config.shorter_side,
            pool: pool(config.workers)?,
            at_a_time,
            ahead: dataset.reading().ahead().max(at_a_time),
            classes: classes.iter().cloned().zip(0..).collect(),
            order,
            position,
            ready: VecDeque::new(),
        })
    }

    /// Samples before the next one, in the order.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// The next sample; broken images before it are moved to `skipped`.
    ///
    /// # Errors
    /// [`Error::Unreadable`] for an image that is too large or not there, which a person may change;
    /// [`Error::OutOfReach`] if a disk or a server fails.
    pub(super) fn peek(&mut self, skipped: &mut Vec<Skipped>) -> Result<Option<&Sample>, Error> {
        loop {
            if self.ready.is_empty() {
                self.read_ahead()?;
            }
            match self.ready.pop_front() {
                None => return Ok(None),
                Some(Ok(sample)) => {
                    self.ready.push_front(Ok(sample));
                    return Ok(self.ready.front().and_then(|sample| sample.as_ref().ok()));
                }
                Some(Err(fault)) if fault.cause != Cause::Content && !self.skip_unreadable => {
                    return Err(Error::Unreadable { skipped: fault.skipped });
                }
                Some(Err(fault)) => {
                    skipped.push(fault.skipped);
                    self.position += 1;
                }
            }
        }
    }

    /// Goes on to the sample after the next.
    pub(super) fn advance(&mut self) {
        if self.ready.pop_front().is_some() {
            self.position += 1;
        }
    }

    fn read_ahead(&mut self) -> Result<(), Error> {
        let rest = self.order[self.position..].iter().take(self.ahead);
        let rest: Vec<usize> = rest.map(|&image| image as usize).collect();
        self.dataset.will_read(&rest);
        let part: Vec<(usize, usize)> = rest.into_iter().enumerate().take(self.at_a_time).collect();
        let samples = in_pool(&self.pool, &part, |&(place, index), stop| {
            self.read(self.position + place, index, stop)
        })?;
        self.ready.extend(samples);
        Ok(())
    }

    fn read(
        &self,
        place: usize,
        index: usize,
        stop: impl Fn() -> bool,
    ) -> Result<Result<Sample, Fault>, Error> {
        let content =
            |bytes: &[u8], image: &Image, _: &mut Scratch| Content::of(bytes, image, self.shorter_side);
        let found = Worker::with_file_at_last(self.dataset, index, &self.limits, stop, content)?;
        Ok(found.map(|image| self.sample(place, index, image)))
    }

    fn sample(&self, place: usize, index: usize, image: Content) -> Sample {
        let label = self.dataset.label(index);
        let cls = label.map(|label| self.classes[label]);
        let description = Description { label, cls, name: self.dataset.name(index) };
        let json = serde_json::to_vec(&description).expect("texts and a number");
        Sample { key: format!("{place:09}"), image, json }
    }
}
