//! One batch: its images, their views, its masks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use rayon::ThreadPool;
use rayon::prelude::*;

use super::{BatchViews, LoaderConfig, Position, Skipped, ViewBatch, Worker, order, pool};
use crate::rng::Rng;
use crate::{Dataset, Error, MaskMode, ViewKind, kept_patches, random_mask, render};

/// Everything that determines batches.
pub(super) struct Plan {
    pub(super) dataset: Arc<dyn Dataset>,
    pub(super) config: LoaderConfig,
    /// Set when no one wants batches any more.
    pub(super) stop: AtomicBool,
    pool: ThreadPool,
    /// Broken images of a batch from which on it need not be filled: with more of them the run ends in any case.
    most_broken: usize,
    /// Images ahead that the dataset is told of: more than a batch if it fetches them from afar.
    ahead: usize,
    /// The orders of the epochs that are in the making. Builders share them: that of 10^9 images has 4 GB.
    orders: Mutex<Vec<(u64, Weak<Vec<u32>>)>>,
}

/// A finished batch with the broken images met on the way.
pub(super) struct Built {
    /// `None` if all images that are not in `broken` are too few to fill it.
    pub(super) content: Option<BatchViews>,
    pub(super) broken: Vec<Skipped>,
}

/// One image of the batch in the making: its index, and the place of each of its views in the batch.
struct Slot<'a> {
    image: usize,
    views: Vec<&'a mut [f32]>,
}

impl Plan {
    pub(super) fn new(
        dataset: Arc<dyn Dataset>,
        config: LoaderConfig,
        most_broken: usize,
    ) -> Result<Self, Error> {
        order::check_length(&*dataset)?;
        let pool = pool(config.workers)?;
        let ahead = dataset.reading().ahead().max(config.batch_size);
        let (stop, orders) = (AtomicBool::new(false), Mutex::default());
        Ok(Self { dataset, config, stop, pool, most_broken, ahead, orders })
    }

    pub(super) fn batches_per_epoch(&self) -> u64 {
        (self.dataset.len() / self.config.batch_size) as u64
    }

    /// The images of an epoch in their order.
    pub(super) fn order(&self, epoch: u64) -> Arc<Vec<u32>> {
        // Held meanwhile, so that whoever asks for the same epoch waits rather than shuffles.
        let mut orders = self.orders.lock().expect("an order is made without a panic");
        orders.retain(|(_, order)| order.strong_count() > 0);
        let known = orders.iter().find(|(known, _)| *known == epoch);
        known.and_then(|(_, order)| order.upgrade()).unwrap_or_else(|| {
            let order = Arc::new(order::of_epoch(&*self.dataset, self.config.seed, epoch));
            orders.push((epoch, Arc::downgrade(&order)));
            order
        })
    }

    /// Tells the dataset what is read from `position` on. Where the epoch ends soon that goes on with the next one, whose
    /// order is put into `next`: its first shards shall be there when it begins.
    pub(super) fn announce(&self, position: Position, order: &[u32], next: &mut Option<Arc<Vec<u32>>>) {
        let rest = &order[position.step as usize * self.config.batch_size..];
        let after: &[u32] = if rest.len() < self.ahead {
            next.get_or_insert_with(|| self.order(position.epoch + 1))
        } else {
            &[]
        };
        let images = rest.iter().chain(after).take(self.ahead).map(|&image| image as usize);
        self.dataset.will_read(&images.collect::<Vec<_>>());
    }

    /// Makes a batch of the epoch whose order is given; [`Error::OutOfReach`] if a disk or a server fails, since another
    /// image in the place of that one would make another batch of it.
    pub(super) fn build(&self, position: Position, order: &[u32]) -> Result<Built, Error> {
        let LoaderConfig { views, batch_size, .. } = &self.config;
        let mut batches: Vec<ViewBatch> = (0..views.count())
            .map(|view| {
                let size = views.size(views.kind(view));
                ViewBatch { pixels: vec![0.0; batch_size * 3 * size * size], size, keep: None }
            })
            .collect();
        let (images, broken) = match self.fill(position, order, &mut batches)? {
            (Some(images), broken) => (images, broken),
            (None, broken) => return Ok(Built { content: None, broken }),
        };
        for (view, batch) in batches.iter_mut().enumerate() {
            if views.kind(view) == ViewKind::Random {
                batch.keep = self.masks(position, view as u32, batch.size, &images);
            }
        }
        let focal = batches.split_off(1 + views.random_views);
        let random = batches.split_off(1);
        let target = batches.pop().expect("the target is always there");
        Ok(Built { content: Some(BatchViews { images, target, random, focal }), broken })
    }

    /// Renders the views of the batch; returns its images, if enough of them work and not too many are broken, and the broken
    /// ones.
    ///
    /// Broken images are replaced, in the order of their places, by the next ones of the epoch after this batch
    /// (from its end on to its beginning) that work.
    fn fill(
        &self,
        position: Position,
        order: &[u32],
        batches: &mut [ViewBatch],
    ) -> Result<(Option<Vec<usize>>, Vec<Skipped>), Error> {
        let batch_size = self.config.batch_size;
        let start = position.step as usize * batch_size;
        let mut places: Vec<_> =
            batches.iter_mut().map(|b| b.pixels.chunks_exact_mut(3 * b.size * b.size)).collect();
        let mut slots: Vec<Slot<'_>> = order[start..start + batch_size]
            .iter()
            .map(|&image| Slot {
                image: image as usize,
                views: places.iter_mut().filter_map(Iterator::next).collect(),
            })
            .collect();
        // Set by the first image that is out of reach: the others need not wait for a disk.
        let failed = AtomicBool::new(false);
        let results: Result<Vec<Result<(), Skipped>>, Error> = self.pool.install(|| {
            // One image at a time: large photographs differ much in cost.
            let slots = slots.par_iter_mut().with_max_len(1);
            slots.map(|slot| self.render(position.epoch, slot, &failed)).collect()
        });
        let mut broken = Vec::new();
        let after = start + batch_size;
        let mut spares = order.iter().cycle().skip(after).take(order.len() - batch_size);
        let mut rest = slots.iter_mut().zip(results?);
        while let Some((slot, mut result)) = rest.next() {
            while let Err(skipped) = result {
                broken.push(skipped);
                let spare = spares.next().filter(|_| broken.len() <= self.most_broken);
                let Some(&image) = spare else {
                    broken.extend(rest.filter_map(|(_, result)| result.err()));
                    return Ok((None, broken));
                };
                slot.image = image as usize;
                result = self.render(position.epoch, slot, &failed)?;
            }
        }
        Ok((Some(slots.iter().map(|slot| slot.image).collect()), broken))
    }

    fn render(
        &self,
        epoch: u64,
        slot: &mut Slot<'_>,
        failed: &AtomicBool,
    ) -> Result<Result<(), Skipped>, Error> {
        let stop = || self.stop.load(Ordering::Relaxed) || failed.load(Ordering::Relaxed);
        if stop() {
            return Ok(Ok(()));
        }
        let LoaderConfig { views, normalization, limits, .. } = &self.config;
        let Slot { image: index, views: places } = slot;
        let rendered = Worker::with_image_at_last(&*self.dataset, *index, limits, stop, |image, scratch| {
            for (view, place) in places.iter_mut().enumerate() {
                let params = self.config.draw(epoch, *index, view, image);
                render(image, &params, views.size(views.kind(view)), normalization, scratch, place);
            }
        });
        rendered.inspect_err(|_| failed.store(true, Ordering::Relaxed))
    }

    fn masks(&self, position: Position, view: u32, size: usize, images: &[usize]) -> Option<Vec<Vec<u32>>> {
        let LoaderConfig { masking, patch_size, seed, .. } = &self.config;
        let total = (size / patch_size).pow(2);
        let kept = kept_patches(total, masking.patch_drop);
        let Position { epoch, step } = position;
        let mask = |mut rng: Rng| random_mask(total, kept, &mut rng);
        (kept < total).then(|| match masking.mask {
            MaskMode::PerBatch => vec![mask(Rng::for_batch_mask(*seed, epoch, step, view))],
            MaskMode::PerImage => {
                images.iter().map(|&image| mask(Rng::for_image_mask(*seed, epoch, image, view))).collect()
            }
        })
    }
}
