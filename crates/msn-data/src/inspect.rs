//! What a source holds: numbers of images, sizes, formats, classes, broken files, mean and deviation of the channels.

mod facts;
mod spread;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::loader::{Skipped, Worker, check_length, in_pool, pool};
use crate::rng::Rng;
use crate::{Dataset, Error, Limits, Normalization};
use facts::{Channels, ImageFacts};
pub use spread::Spread;

/// Broken images that are listed; of more only the number is known, so that a hostile source cannot fill the memory.
const MAX_LISTED: usize = 10_000;

/// Images that a thread works on before what was found is added up.
const PER_WORKER: usize = 64;

/// What to look at.
#[derive(Clone, Copy, Debug)]
pub struct InspectConfig {
    /// Images to look at, drawn at random; `None` for all.
    pub sample: Option<usize>,
    /// Seed of that draw.
    pub seed: u64,
    /// Worker threads, 1 or more. Does not change the result.
    pub workers: usize,
    /// Guards against huge images.
    pub limits: Limits,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// Images in the source.
    pub images: usize,
    /// Images that were read and decoded, or that could not be.
    pub looked_at: usize,
    /// Images that cannot be used, of those looked at.
    pub broken: usize,
    /// The first of them, at most 10,000, in the order of the source.
    pub broken_images: Vec<Skipped>,
    /// Widths in pixels; `None` if no image can be used.
    pub width: Option<Spread<u32>>,
    /// Heights in pixels.
    pub height: Option<Spread<u32>>,
    /// Lengths of the encoded images in bytes.
    pub bytes: Option<Spread<u64>>,
    /// All lengths together, of those looked at.
    pub total_bytes: u64,
    /// Usable images by the format of their content.
    pub formats: BTreeMap<&'static str, usize>,
    /// Images of each class, of all images of the source.
    pub classes: BTreeMap<String, usize>,
    /// Images without a class.
    pub unlabelled: usize,
    /// Usable images whose samples have 16 bits.
    pub of_16_bits: usize,
    /// The largest value of any channel of any pixel of these, of 255.
    pub brightest_of_16_bits: Option<u8>,
    /// Usable images that have more pages than the one that is read: stacks in TIFF.
    pub with_more_pages: usize,
    /// Mean and deviation of the channels over all pixels, every image with the same weight; `None` if no image can be
    /// used.
    pub channels: Option<Normalization>,
    /// The images that can be used, ascending, by their index in the source.
    #[serde(skip)]
    pub usable: Vec<usize>,
}

/// Reads and decodes the images of a source; `progress` is told how many are done. Needs some 32 bytes of memory an image.
///
/// # Errors
/// If the worker threads cannot be started, there are too many images to draw a sample of ([`Error::TooManyImages`]), or a
/// disk or a server fails ([`Error::OutOfReach`]), so that what is broken cannot be told. Broken images are no error.
///
/// # Panics
/// If there is no worker.
pub fn inspect(
    dataset: &dyn Dataset,
    config: &InspectConfig,
    mut progress: impl FnMut(usize),
) -> Result<Inspection, Error> {
    assert!(config.workers > 0, "at least 1 worker");
    if config.sample.is_some() {
        check_length(dataset)?;
    }
    let pool = pool(config.workers)?;
    let indices = sample(dataset.len(), config);
    let whole = indices.len() == dataset.len();
    let mut sums = Sums::default();
    for (number, part) in indices.chunks(PER_WORKER * config.workers).enumerate() {
        let done = number * PER_WORKER * config.workers;
        if whole {
            // Of a sample, single images are fetched from a server, where it can be, not the shards that they lie in.
            dataset.will_read(&indices[done..]);
        }
        let found = in_pool(&pool, part, |&index, stop| {
            Worker::with_file_at_last(dataset, index, &config.limits, stop, ImageFacts::of)
        })?;
        // One after the other, so that sums do not depend on the threads.
        for (&index, facts) in part.iter().zip(found) {
            sums.add(index, facts.map_err(|fault| fault.skipped));
        }
        progress(done + part.len());
    }
    Ok(sums.finish(dataset, indices.len()))
}

/// The images to look at, ascending.
fn sample(images: usize, config: &InspectConfig) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..images).collect();
    if let Some(wanted) = config.sample.filter(|&wanted| wanted < images) {
        Rng::for_order(config.seed, 0).shuffle_front(&mut indices, wanted);
        indices.truncate(wanted);
        indices.sort_unstable();
    }
    indices
}

/// What is added up image by image.
#[derive(Default)]
struct Sums {
    widths: Vec<u32>,
    heights: Vec<u32>,
    bytes: Vec<u64>,
    formats: BTreeMap<&'static str, usize>,
    of_16_bits: usize,
    brightest_of_16_bits: Option<u8>,
    with_more_pages: usize,
    channels: Channels,
    usable: Vec<usize>,
    broken: usize,
    broken_images: Vec<Skipped>,
}

impl Sums {
    fn add(&mut self, index: usize, facts: Result<ImageFacts, Skipped>) {
        match facts {
            Ok(facts) => {
                self.widths.push(facts.width);
                self.heights.push(facts.height);
                self.bytes.push(facts.bytes);
                *self.formats.entry(facts.format.name()).or_default() += 1;
                if facts.details.has_16_bits {
                    self.of_16_bits += 1;
                    self.brightest_of_16_bits = self.brightest_of_16_bits.max(Some(facts.brightest));
                }
                self.with_more_pages += usize::from(facts.details.has_more_pages);
                self.channels.add(&facts);
                self.usable.push(index);
            }
            Err(skipped) => {
                self.broken += 1;
                if self.broken_images.len() < MAX_LISTED {
                    self.broken_images.push(skipped);
                }
            }
        }
    }

    fn finish(self, dataset: &dyn Dataset, looked_at: usize) -> Inspection {
        let (mut classes, mut unlabelled) = (BTreeMap::new(), 0);
        for index in 0..dataset.len() {
            match dataset.label(index) {
                None => unlabelled += 1,
                Some(label) => match classes.get_mut(label) {
                    Some(count) => *count += 1,
                    None => drop(classes.insert(label.to_owned(), 1)),
                },
            }
        }
        Inspection {
            images: dataset.len(),
            looked_at,
            broken: self.broken,
            broken_images: self.broken_images,
            width: Spread::of(self.widths),
            height: Spread::of(self.heights),
            total_bytes: self.bytes.iter().sum(),
            bytes: Spread::of(self.bytes),
            formats: self.formats,
            classes,
            unlabelled,
            of_16_bits: self.of_16_bits,
            brightest_of_16_bits: self.brightest_of_16_bits,
            with_more_pages: self.with_more_pages,
            channels: self.channels.finish(),
            usable: self.usable,
        }
    }
}
