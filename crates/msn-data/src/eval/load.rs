//! Images in the order asked for, batch by batch, prepared by worker threads.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

use rayon::prelude::*;

use super::{EvalTransform, RandomCrops};
use crate::loader::{Seen, Skipped, Worker, pool};
use crate::{Corruption, Dataset, Error, Image, Limits, Scratch};

/// How to load images for feature extraction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EvalConfig {
    /// What is done to each image.
    pub transform: EvalTransform,
    /// What spoils each image after it is cut out, if anything.
    pub corruption: Option<Corruption>,
    /// Images in a batch, 1 or more; the last one may be smaller.
    pub batch_size: usize,
    /// Worker threads, 1 or more.
    pub workers: usize,
    /// Guards against huge images.
    pub limits: Limits,
}

/// Transformed images, in the order asked for, without the broken ones.
#[derive(Clone, Debug, PartialEq)]
pub struct EvalBatch<R = Infallible, K = ()> {
    /// The images, by their index in the dataset: `[B]`.
    pub images: Vec<usize>,
    /// `[B, 3, crop, crop]`, normalised.
    pub pixels: Vec<f32>,
    /// What each of these images will be known by: `[B]`.
    pub keys: Vec<K>,
    /// The images that were recalled instead, which are not among the others.
    pub recalled: Vec<Recalled<R>>,
    /// The broken images since the batch before: a consumer that stops early gets no other account of them.
    pub skipped: Vec<Skipped>,
}

/// An image that was known by its encoded bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Recalled<R> {
    /// Its place among all images of the batch, recalled or not, in the order asked for.
    pub place: usize,
    /// Its index in the dataset.
    pub image: usize,
    /// What is known of it.
    pub known: R,
}

/// Hands the images of `indices` to `each`, batch by batch in that order, while worker threads prepare the next one.
/// Returns all broken images, which are left out. A batch of broken images alone is not handed over.
///
/// # Errors
/// The first error of `each`; [`Error::OutOfReach`] if a disk or a server fails; or that the threads could not be started.
///
/// # Panics
/// If the batch size or the number of workers is 0, or an index is not below the length of the dataset.
pub fn load_eval<E: From<Error>>(
    dataset: &dyn Dataset,
    indices: &[usize],
    config: &EvalConfig,
    each: impl FnMut(EvalBatch) -> Result<(), E>,
) -> Result<Vec<Skipped>, E> {
    load_unknown(dataset, indices, config, |_| Err(()), each)
}

/// As [`load_eval`], but for the images that `recall` knows, given their encoded bytes: these are not decoded, and a batch
/// has what is known of them. For others it gives the key that they will be known by. It is called by the worker threads. A
/// batch of known images alone is handed over like any other.
///
/// # Errors
/// As [`load_eval`].
///
/// # Panics
/// As [`load_eval`].
pub fn load_unknown<R: Send, K: Send, E: From<Error>>(
    dataset: &dyn Dataset,
    indices: &[usize],
    config: &EvalConfig,
    recall: impl Fn(&[u8]) -> Result<R, K> + Sync,
    each: impl FnMut(EvalBatch<R, K>) -> Result<(), E>,
) -> Result<Vec<Skipped>, E> {
    let EvalConfig { transform, corruption, .. } = config;
    let prepare = |index: usize, image: &Image, scratch: &mut Scratch, out: &mut [f32]| {
        let spoil = |rgb: &mut [u8]| {
            if let Some(corruption) = corruption {
                corruption.apply(rgb, transform.crop, index);
            }
        };
        transform.apply_with(image, scratch, spoil, out);
    };
    load(dataset, indices, config, recall, prepare, each)
}

/// As [`load_eval`], of random crops instead of the centre, augmented as they say, and without a corruption.
///
/// # Errors
/// As [`load_eval`].
///
/// # Panics
/// As [`load_eval`].
pub fn load_crops<E: From<Error>>(
    dataset: &dyn Dataset,
    indices: &[usize],
    config: &EvalConfig,
    crops: &RandomCrops,
    each: impl FnMut(EvalBatch) -> Result<(), E>,
) -> Result<Vec<Skipped>, E> {
    let prepare = |index: usize, image: &Image, scratch: &mut Scratch, out: &mut [f32]| {
        crops.apply(index, image, &config.transform, scratch, out);
    };
    load(dataset, indices, config, |_| Err(()), prepare, each)
}

/// `prepare` turns an image, given with its index, into `[3, crop, crop]`, unless `recall` knows it.
fn load<R: Send, K: Send, E: From<Error>>(
    dataset: &dyn Dataset,
    indices: &[usize],
    config: &EvalConfig,
    recall: impl Fn(&[u8]) -> Result<R, K> + Sync,
    prepare: impl Fn(usize, &Image, &mut Scratch, &mut [f32]) + Sync,
    mut each: impl FnMut(EvalBatch<R, K>) -> Result<(), E>,
) -> Result<Vec<Skipped>, E> {
    assert!(config.batch_size > 0 && config.workers > 0, "at least 1 image a batch and 1 worker: {config:?}");
    let pool = pool(config.workers)?;
    let mut skipped = Vec::new();
    // Set when no one wants batches any more.
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(1);
        let (recall, prepare, stop) = (&recall, &prepare, &stop);
        scope.spawn(move || {
            for (number, part) in indices.chunks(config.batch_size).enumerate() {
                dataset.will_read(&indices[number * config.batch_size..]);
                let loaded = pool.install(|| load_batch(dataset, part, config, stop, recall, prepare));
                let failed = loaded.is_err();
                if sender.send(loaded).is_err() || failed {
                    return;
                }
            }
        });
        let mut told = 0;
        for batch in receiver {
            let mut batch = batch?;
            skipped.append(&mut batch.skipped);
            if !batch.images.is_empty() || !batch.recalled.is_empty() {
                batch.skipped = skipped[told..].to_vec();
                told = skipped.len();
                each(batch).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
            }
        }
        Ok(skipped)
    })
}

/// Reads and decodes an image and hands it to `look`; gives what that found, or the reason why the image cannot be used.
///
/// # Errors
/// [`Error::OutOfReach`] if a disk or a server fails, so that it cannot be told.
///
/// # Panics
/// If `index` is not below the length of the dataset.
pub fn look_at<T>(
    dataset: &dyn Dataset,
    index: usize,
    limits: &Limits,
    look: impl FnOnce(&Image) -> T,
) -> Result<Result<T, Skipped>, Error> {
    Worker::with_image_at_last(dataset, index, limits, || false, |image, _| look(image))
}

/// The reason why an image cannot be used, if so.
///
/// # Errors
/// As [`look_at`].
///
/// # Panics
/// As [`look_at`].
pub fn check_image(dataset: &dyn Dataset, index: usize, limits: &Limits) -> Result<Option<Skipped>, Error> {
    Ok(look_at(dataset, index, limits, |_| ())?.err())
}

fn load_batch<R: Send, K: Send>(
    dataset: &dyn Dataset,
    indices: &[usize],
    config: &EvalConfig,
    stop: &AtomicBool,
    recall: &(impl Fn(&[u8]) -> Result<R, K> + Sync),
    prepare: &(impl Fn(usize, &Image, &mut Scratch, &mut [f32]) + Sync),
) -> Result<EvalBatch<R, K>, Error> {
    let values = 3 * config.transform.crop.pow(2);
    let mut pixels = vec![0.0; indices.len() * values];
    let places = pixels.par_chunks_exact_mut(values).with_max_len(1);
    // Set by the first image that is out of reach: the others need not wait for a disk.
    let failed = AtomicBool::new(false);
    let stop = || stop.load(Ordering::Relaxed) || failed.load(Ordering::Relaxed);
    let load = |(place, &index): (&mut [f32], &usize)| {
        let prepare = |image: &Image, scratch: &mut Scratch| prepare(index, image, scratch, place);
        let loaded = Worker::recall_at_last(dataset, index, &config.limits, stop, recall, prepare);
        loaded.inspect_err(|_| failed.store(true, Ordering::Relaxed))
    };
    let results: Vec<_> = places.zip(indices).map(load).collect::<Result<_, Error>>()?;
    let mut images = Vec::with_capacity(indices.len());
    let (mut keys, mut recalled, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
    for (place, (&index, result)) in indices.iter().zip(results).enumerate() {
        match result {
            Ok(Seen::Recalled(known)) => {
                recalled.push(Recalled { place: images.len() + recalled.len(), image: index, known });
            }
            Ok(Seen::Image(key, ())) => {
                keys.push(key);
                pixels.copy_within(place * values..(place + 1) * values, images.len() * values);
                images.push(index);
            }
            Err(broken) => skipped.push(broken),
        }
    }
    pixels.truncate(images.len() * values);
    Ok(EvalBatch { images, pixels, keys, recalled, skipped })
}
