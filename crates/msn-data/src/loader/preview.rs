//! Views for people to look at.

use std::sync::Arc;

use super::build::{Built, Plan};
use super::{BatchViews, LoaderConfig, Position, Skipped};
use crate::{Dataset, Error};

/// The views of some images as a run with these settings makes them in `epoch`, by the code that makes its batches:
/// those of the images `chosen`, or of the first `config.batch_size` of the epoch. A mask that a batch shares is that of
/// the epoch's first batch. The images that had to be left out, since they are broken, come second.
///
/// # Errors
/// If a field is out of its range, a chosen image is broken ([`Error::Unreadable`]) or too few others work, or if a disk or a
/// server fails.
///
/// # Panics
/// If `chosen` is empty or names an image that there is not.
pub fn preview(
    dataset: &Arc<dyn Dataset>,
    config: &LoaderConfig,
    epoch: u64,
    chosen: Option<&[usize]>,
) -> Result<(BatchViews, Vec<Skipped>), Error> {
    config.validate()?;
    let (data, images) = (dataset.path().to_owned(), dataset.len());
    let batch_size = chosen.map_or(config.batch_size, <[usize]>::len);
    assert!(batch_size > 0, "at least 1 image is chosen");
    // One may be chosen twice.
    if chosen.is_none() && batch_size > images {
        return Err(Error::BatchLargerThanData { data, batch_size, images });
    }
    let config = LoaderConfig { batch_size, ..config.clone() };
    let plan = Plan::new(Arc::clone(dataset), config, usize::MAX)?;
    let order = match chosen {
        Some(chosen) => Arc::new(chosen.iter().map(|&image| image as u32).collect()),
        None => plan.order(epoch),
    };
    let Built { content, mut broken } = plan.build(Position { epoch, step: 0 }, &order)?;
    match content {
        Some(views) => Ok((views, broken)),
        None if chosen.is_some() => Err(Error::Unreadable { skipped: broken.swap_remove(0) }),
        None => {
            let usable = images - broken.len();
            let last = broken.last().map(ToString::to_string).unwrap_or_default();
            Err(Error::TooFewUsable { data, usable, images, batch_size, last, new: broken })
        }
    }
}
