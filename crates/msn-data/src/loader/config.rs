//! What a loader needs to know.

use std::thread::available_parallelism;

use crate::rng::Rng;
use crate::{Error, Image, Limits, Masking, Normalization, ViewKind, ViewParams, Views};

/// Broken images that are borne however few images there are.
const FEW_BROKEN: usize = 3;

/// Workers that are allowed: thousands of threads take minutes to start, and none can be told to stop meanwhile.
const MOST_WORKERS: usize = 1024;

/// How to make batches.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderConfig {
    /// The recipe for views.
    pub views: Views,
    /// The recipe for masks.
    pub masking: Masking,
    /// Mean and deviation of the channels.
    pub normalization: Normalization,
    /// Side of a patch in pixels; divides the sizes of all views.
    pub patch_size: usize,
    /// Images in a batch, 1 or more.
    pub batch_size: usize,
    /// The run's seed.
    pub seed: u64,
    /// Worker threads, 1 to 1024. Does not change the batches.
    pub workers: usize,
    /// Batches that may be ahead of the training step, finished or in the making, 1 or more. Does not change the
    /// batches; each holds all its views in memory.
    pub queue: usize,
    /// Largest fraction of the images that may be broken, [0, 1]; a few may be in any case, unless it is 0.
    pub max_skipped: f64,
    /// Guards against huge images.
    pub limits: Limits,
}

impl LoaderConfig {
    /// The defaults of everything that has one: as many workers as the machine has cores, two batches ahead, up to
    /// 1% of broken images (of few images, up to three).
    pub fn new(batch_size: usize, patch_size: usize, seed: u64) -> Self {
        Self {
            views: Views::default(),
            masking: Masking::default(),
            normalization: Normalization::default(),
            patch_size,
            batch_size,
            seed,
            workers: available_parallelism().map_or(1, usize::from),
            queue: 2,
            max_skipped: 0.01,
            limits: Limits::default(),
        }
    }

    /// Broken images that a run on so many images bears: the fraction `max_skipped` of them, and a few in small sets,
    /// where one would be more than that. A fraction of 0 allows none.
    pub fn allowed_broken(&self, images: usize) -> usize {
        let share = (self.max_skipped * images as f64) as usize;
        if self.max_skipped > 0.0 { share.max(FEW_BROKEN) } else { 0 }
    }

    /// Draws the view of that number (see [`Views::kind`]) of the image of that index in the dataset.
    pub(crate) fn draw(&self, epoch: u64, index: usize, view: usize, image: &Image) -> ViewParams {
        let mut rng = Rng::for_view(self.seed, epoch, index, view as u32);
        ViewParams::sample(&self.views, self.views.kind(view), image.width(), image.height(), &mut rng)
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] names the first field out of its range, the range and the value.
    pub fn validate(&self) -> Result<(), Error> {
        self.views.validate()?;
        self.masking.validate()?;
        self.normalization.validate()?;
        let error = |field, expected: String, found: String| Err(Error::Config { field, expected, found });
        let at_least_1 = [
            ("encoder.patch_size", self.patch_size),
            ("train.batch_size", self.batch_size),
            ("data.workers", self.workers),
            ("data.queue", self.queue),
        ];
        if let Some(&(field, value)) = at_least_1.iter().find(|(_, value)| *value == 0) {
            return error(field, "1 or more".to_owned(), value.to_string());
        }
        if self.workers > MOST_WORKERS {
            return error("data.workers", format!("{MOST_WORKERS} at most"), self.workers.to_string());
        }
        for (field, kind) in [("views.random_size", ViewKind::Random), ("views.focal_size", ViewKind::Focal)]
        {
            let size = self.views.size(kind);
            let unused = kind == ViewKind::Focal && self.views.focal_views == 0;
            if !unused && !size.is_multiple_of(self.patch_size) {
                return error(
                    field,
                    format!("a multiple of the patch size {}", self.patch_size),
                    size.to_string(),
                );
            }
        }
        if !(0.0..=1.0).contains(&self.max_skipped) {
            return error(
                "data.max_skipped",
                "a number from 0 to 1".to_owned(),
                self.max_skipped.to_string(),
            );
        }
        Ok(())
    }
}
