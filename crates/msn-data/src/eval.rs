//! Images for feature extraction: no augmentation, in order.

use std::sync::mpsc::sync_channel;
use std::thread;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions};
use rayon::prelude::*;

use crate::loader::{Skipped, Worker, pool};
use crate::views::planes::{Planes, unpack};
use crate::{Corruption, Dataset, Error, Image, Limits, Normalization, Scratch};

/// Resizes the shorter side, cuts out the centre, normalises.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EvalTransform {
    /// Length in pixels to which the shorter side is resized (bilinear, antialiased); `None` leaves the size.
    pub resize: Option<usize>,
    /// Side in pixels of the square cut out of the centre; smaller images are padded with black.
    pub crop: usize,
    /// Mean and deviation of the channels.
    pub normalization: Normalization,
}

impl EvalTransform {
    /// Transforms an image into `out`, `[3, crop, crop]`.
    ///
    /// # Panics
    /// If `out` has not `3 * crop * crop` values, or a size is 0.
    pub fn apply(&self, image: &Image, scratch: &mut Scratch, out: &mut [f32]) {
        self.apply_with(image, scratch, |_| {}, out);
    }

    /// As [`apply`](Self::apply), with `change` made to the crop, `[crop, crop, 3]`, before it is normalised.
    fn apply_with(
        &self,
        image: &Image,
        scratch: &mut Scratch,
        change: impl FnOnce(&mut [u8]),
        out: &mut [f32],
    ) {
        assert!(self.crop > 0 && self.resize != Some(0), "sizes are at least 1: {self:?}");
        assert_eq!(out.len(), 3 * self.crop * self.crop, "values of a crop of {0} x {0} pixels", self.crop);
        scratch.rgb.clear();
        scratch.rgb.resize(self.crop * self.crop * 3, 0);
        let (width, height) = self.resized(image);
        let columns = Overlap::centred(width, self.crop);
        let rows = Overlap::centred(height, self.crop);
        let part = [columns.length * 3, rows.length];
        let mut resized = vec![0; part[0] * part[1]];
        // The part of the image that becomes the crop, in one pass: a strip of a very long image stays small.
        let (x, y) = (f64::from(image.width()) / width as f64, f64::from(image.height()) / height as f64);
        let bilinear = ResizeAlg::Convolution(FilterType::Bilinear);
        let options = ResizeOptions::new().resize_alg(bilinear).crop(
            columns.source as f64 * x,
            rows.source as f64 * y,
            columns.length as f64 * x,
            rows.length as f64 * y,
        );
        let source = TypedImageRef::<U8x3>::from_buffer(image.width(), image.height(), image.pixels())
            .expect("an Image has the bytes of its size");
        let mut target =
            TypedImage::<U8x3>::from_buffer(columns.length as u32, rows.length as u32, &mut resized)
                .expect("just made of this length");
        scratch
            .resizer
            .resize_typed(&source, &mut target, &options)
            .expect("the part lies in the image, and both have the same pixel type");
        for (row, pixels) in resized.chunks_exact(part[0]).enumerate() {
            let start = ((rows.target + row) * self.crop + columns.target) * 3;
            scratch.rgb[start..start + part[0]].copy_from_slice(pixels);
        }
        change(&mut scratch.rgb);
        let mut planes = Planes::of(out);
        unpack(&scratch.rgb, &mut planes);
        self.normalization.apply(&mut planes);
    }

    /// Size after the shorter side is resized; the longer one is rounded down, as by torchvision.
    fn resized(&self, image: &Image) -> (u64, u64) {
        let (width, height) = (u64::from(image.width()), u64::from(image.height()));
        let Some(shorter) = self.resize.map(|s| s as u64) else { return (width, height) };
        if width <= height {
            (shorter, shorter * height / width)
        } else {
            (shorter * width / height, shorter)
        }
    }
}

/// What a centre crop takes along one axis: `length` pixels from `source` on, put at `target`.
struct Overlap {
    source: u64,
    target: usize,
    length: usize,
}

impl Overlap {
    fn centred(available: u64, wanted: usize) -> Self {
        let room = available as i64 - wanted as i64;
        if room >= 0 {
            // Half pixels go to the even side, as Python's `round` does in torchvision.
            let source = (room as f64 / 2.0).round_ties_even() as u64;
            return Self { source, target: 0, length: wanted };
        }
        Self { source: 0, target: (-room / 2) as usize, length: available as usize }
    }
}

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
pub struct EvalBatch {
    /// The images, by their index in the dataset: `[B]`.
    pub images: Vec<usize>,
    /// `[B, 3, crop, crop]`, normalised.
    pub pixels: Vec<f32>,
}

/// Hands the images of `indices` to `each`, batch by batch in that order, while worker threads prepare the next one.
/// Returns the broken images, which are left out. A batch of broken images alone is not handed over.
///
/// # Errors
/// The first error of `each`, or that the threads could not be started.
///
/// # Panics
/// If the batch size or the number of workers is 0, or an index is not below the length of the dataset.
pub fn load_eval<E: From<Error>>(
    dataset: &dyn Dataset,
    indices: &[usize],
    config: &EvalConfig,
    mut each: impl FnMut(EvalBatch) -> Result<(), E>,
) -> Result<Vec<Skipped>, E> {
    assert!(config.batch_size > 0 && config.workers > 0, "at least 1 image a batch and 1 worker: {config:?}");
    let pool = pool(config.workers)?;
    let mut skipped = Vec::new();
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(1);
        scope.spawn(move || {
            for (number, part) in indices.chunks(config.batch_size).enumerate() {
                dataset.will_read(&indices[number * config.batch_size..]);
                let loaded = pool.install(|| load_batch(dataset, part, config));
                if sender.send(loaded).is_err() {
                    return;
                }
            }
        });
        for (batch, broken) in receiver {
            skipped.extend(broken);
            if !batch.images.is_empty() {
                each(batch)?;
            }
        }
        Ok(skipped)
    })
}

/// Reads and decodes an image to see whether it can be used.
///
/// # Errors
/// The reason why not.
///
/// # Panics
/// If `index` is not below the length of the dataset.
pub fn check_image(dataset: &dyn Dataset, index: usize, limits: &Limits) -> Result<(), Skipped> {
    Worker::with_image(dataset, index, limits, |_, _| ())
}

fn load_batch(dataset: &dyn Dataset, indices: &[usize], config: &EvalConfig) -> (EvalBatch, Vec<Skipped>) {
    let EvalConfig { transform, corruption, limits, .. } = config;
    let values = 3 * transform.crop * transform.crop;
    let mut pixels = vec![0.0; indices.len() * values];
    let places = pixels.par_chunks_exact_mut(values).with_max_len(1);
    let results: Vec<Result<(), Skipped>> = places
        .zip(indices)
        .map(|(place, &index)| {
            Worker::with_image(dataset, index, limits, |image, scratch| {
                let spoil = |rgb: &mut [u8]| {
                    if let Some(corruption) = corruption {
                        corruption.apply(rgb, transform.crop, index);
                    }
                };
                transform.apply_with(image, scratch, spoil, place)
            })
        })
        .collect();
    let mut images = Vec::with_capacity(indices.len());
    let mut skipped = Vec::new();
    for (place, (&index, result)) in indices.iter().zip(results).enumerate() {
        match result {
            Ok(()) => {
                pixels.copy_within(place * values..(place + 1) * values, images.len() * values);
                images.push(index);
            }
            Err(broken) => skipped.push(broken),
        }
    }
    pixels.truncate(images.len() * values);
    (EvalBatch { images, pixels }, skipped)
}
