//! Views for people to look at.

use std::sync::Arc;

use super::build::Plan;
use super::{BatchViews, LoaderConfig, Position, Skipped};
use crate::{Dataset, Error};

/// The views of some images as a run with these settings makes them in `epoch`, by the code that makes its batches:
/// those of the images `chosen`, or of the first `config.batch_size` of the epoch. A mask that a batch shares is that of
/// the epoch's first batch. The images that had to be left out, since they are broken, come second.
///
/// # Errors
/// If a field is out of its range, if too few images work, or if a disk or a server fails.
///
/// # Panics
/// If `chosen` names an image that there is not.
pub fn preview(
    dataset: &Arc<dyn Dataset>,
    config: &LoaderConfig,
    epoch: u64,
    chosen: Option<&[usize]>,
) -> Result<(BatchViews, Vec<Skipped>), Error> {
    let batch_size = chosen.map_or(config.batch_size, <[usize]>::len);
    let config = LoaderConfig { batch_size, ..config.clone() };
    config.validate()?;
    let (data, images) = (dataset.path().to_owned(), dataset.len());
    if batch_size > images {
        return Err(Error::BatchLargerThanData { data, batch_size, images });
    }
    let plan = Plan::new(Arc::clone(dataset), config)?;
    let order = match chosen {
        Some(chosen) => Arc::new(chosen.iter().map(|&image| image as u32).collect()),
        None => plan.order(epoch),
    };
    let built = plan.build(Position { epoch, step: 0 }, &order)?;
    built.content.map(|views| (views, built.broken.clone())).ok_or_else(|| {
        let (tried, usable) = (order.len(), order.len() - built.broken.len());
        let last = built.broken.last().map(ToString::to_string).unwrap_or_default();
        Error::TooFewUsable { data, usable, images: tried, batch_size, last, new: built.broken }
    })
}
