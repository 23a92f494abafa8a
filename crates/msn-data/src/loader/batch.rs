//! What a loader gives.

use std::fmt;
use std::time::Duration;

use super::Reported;

/// The views and masks of some images.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Epoch of the run, from 0.
    pub epoch: u64,
    /// Number of the batch in its epoch, from 0.
    pub step_in_epoch: u64,
    /// The images, by their index in the dataset: `[B]`.
    pub images: Vec<usize>,
    /// The target view of each image.
    pub target: ViewBatch,
    /// The large anchor views, `random_views` of them.
    pub random: Vec<ViewBatch>,
    /// The small anchor views, `focal_views` of them.
    pub focal: Vec<ViewBatch>,
    /// Broken images met for the first time in this run, replaced by others.
    pub skipped: Vec<Skipped>,
    /// Where to continue after this batch.
    pub next: Cursor,
    /// How long the caller waited for it.
    pub wait: Duration,
}

/// The views of some images.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchViews {
    /// The images, by their index in the dataset: `[B]`.
    pub images: Vec<usize>,
    /// The target view of each image.
    pub target: ViewBatch,
    /// The large anchor views, `random_views` of them.
    pub random: Vec<ViewBatch>,
    /// The small anchor views, `focal_views` of them.
    pub focal: Vec<ViewBatch>,
}

/// One view of each image of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewBatch {
    /// `[B, 3, size, size]`, normalised.
    pub pixels: Vec<f32>,
    /// Side in pixels.
    pub size: usize,
    /// Indices of the patches that stay, in ascending order, row-major over the grid of patches: one list for all
    /// images or one an image. `None` where all stay.
    pub keep: Option<Vec<Vec<u32>>>,
}

impl ViewBatch {
    /// The view of the image at `place` in the batch: its pixels, `[3, size, size]`, and the patches that stay, if not
    /// all do.
    pub(crate) fn of(&self, place: usize) -> (&[f32], Option<&[u32]>) {
        let values = 3 * self.size * self.size;
        let keep = self.keep.as_ref().map(|lists| &*lists[if lists.len() == 1 { 0 } else { place }]);
        (&self.pixels[place * values..][..values], keep)
    }
}

/// A place in a run, to be saved with a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// Epoch of the next batch.
    pub epoch: u64,
    /// Number of the next batch in its epoch.
    pub step_in_epoch: u64,
    /// Broken images reported so far, so that each is reported once a run.
    pub skipped: Reported,
}

/// A broken image.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Skipped {
    /// Index in the dataset.
    pub image: usize,
    /// Name in the dataset.
    pub path: String,
    /// Why it cannot be used.
    pub reason: String,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.reason)
    }
}
